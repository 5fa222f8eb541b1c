"""MuSGD against torch.optim.Muon and torch.optim.SGD, which it is a blend of, and its state."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from yolofast.config import TrainingConfig
from yolofast.train import build_optimizer
from yolofast.train.checkpoint import load_optimizer, optimizer_tensors
from yolofast.train.muon import MuSGD, orthogonalised

SHAPES = [(6, 6), (4, 9), (12, 3), (1, 5), (7, 1)]


def gradients(shape: tuple[int, ...], steps: int = 4) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(sum(shape))
    return [torch.randn(shape, generator=generator) for _ in range(steps)]


def trained(
    optimizer: torch.optim.Optimizer, weight: nn.Parameter, steps: list[torch.Tensor]
) -> torch.Tensor:
    for gradient in steps:
        weight.grad = gradient.reshape(weight.shape).clone()
        optimizer.step()
    return weight.detach()


def start(shape: tuple[int, ...]) -> nn.Parameter:
    return nn.Parameter(torch.linspace(-1, 1, torch.Size(shape).numel()).reshape(shape))


@pytest.mark.parametrize("shape", [(6, 6), (4, 9), (12, 3), (3, 8, 8), (2, 5, 3)])
def test_singular_values_become_nearly_1(shape: tuple[int, ...]) -> None:
    found = orthogonalised(gradients(shape)[0] * 1e-3, torch.float32)
    assert found.shape == shape
    values = torch.linalg.svdvals(found)
    assert values.min() > 0.3
    assert values.max() < 1.3


def test_directions_are_those_of_the_matrix() -> None:
    """X = U S V^T and its orthogonal factor: U^T Y V is diagonal and positive."""
    matrix = gradients((5, 8))[0].double()
    u, _, vh = torch.linalg.svd(matrix, full_matrices=False)
    inner = u.mT @ orthogonalised(matrix, torch.float64) @ vh.mT
    torch.testing.assert_close(inner, inner.diagonal().diag(), rtol=0, atol=1e-9)
    assert (inner.diagonal() > 0).all()


def test_a_matrix_of_zeros_stays_one() -> None:
    assert (orthogonalised(torch.zeros(2, 3, 4), torch.float32) == 0).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_muon_alone_is_torchs(shape: tuple[int, ...]) -> None:
    """torch iterates in bfloat16, so the steps agree to its precision."""
    ours, theirs = start(shape), start(shape)
    settings = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.05}
    got = trained(MuSGD([ours], muon_share=1.0, **settings), ours, gradients(shape))
    wanted = trained(torch.optim.Muon([theirs], **settings), theirs, gradients(shape))
    moved = wanted - start(shape)
    assert (got - wanted).norm() < 0.03 * moved.norm()


@pytest.mark.parametrize("shape", [*SHAPES, (5,), (2, 3, 3, 3)])
def test_without_muon_it_is_nesterov_sgd(shape: tuple[int, ...]) -> None:
    ours, theirs = start(shape), start(shape)
    got = trained(MuSGD([ours], lr=0.1, momentum=0.9, muon_share=0.0), ours, gradients(shape))
    sgd = torch.optim.SGD([theirs], lr=0.1, momentum=0.9, nesterov=True)
    torch.testing.assert_close(got, trained(sgd, theirs, gradients(shape)))


def test_a_step_is_the_blend_of_both() -> None:
    """Steps are compared, as weights without decay move from the same place."""
    moves = {}
    for share in (0.0, 0.25, 1.0):
        weight = start((4, 9))
        moves[share] = trained(MuSGD([weight], lr=0.1, muon_share=share), weight, gradients((4, 9), 1))
    torch.testing.assert_close(moves[0.25], 0.75 * moves[0.0] + 0.25 * moves[1.0])


def test_biases_and_norms_take_plain_steps() -> None:
    muon, sgd = start((5,)), start((5,))
    got = trained(MuSGD([muon], lr=0.1, momentum=0.9, muon_share=1.0), muon, gradients((5,)))
    theirs = torch.optim.SGD([sgd], lr=0.1, momentum=0.9, nesterov=True)
    torch.testing.assert_close(got, trained(theirs, sgd, gradients((5,))))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_convolutions_are_matrices_of_their_outputs(layout: torch.memory_format) -> None:
    """In both memory formats, and with others of their shape, a convolution moves as its matrix alone."""
    flat = start((6, 27))
    convolutions = [nn.Parameter(start((6, 3, 3, 3)).detach().to(memory_format=layout)) for _ in range(2)]
    steps = gradients((6, 27))
    wanted = trained(MuSGD([flat], lr=0.1), flat, steps)
    optimizer = MuSGD(convolutions, lr=0.1)
    for gradient in steps:
        for weight, sign in zip(convolutions, (1, -1), strict=True):
            weight.grad = (sign * gradient.reshape(weight.shape)).to(memory_format=layout)
        optimizer.step()
    torch.testing.assert_close(convolutions[0].detach().flatten(1), wanted)
    assert convolutions[0].is_contiguous(memory_format=layout)
    assert optimizer.state[convolutions[0]]["momentum_buffer"].is_contiguous(memory_format=layout)


def test_weights_without_a_gradient_are_left_alone() -> None:
    weight = start((3, 3))
    MuSGD([weight], lr=0.1, weight_decay=0.5).step()
    assert torch.equal(weight, start((3, 3)))


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.SiLU(), nn.Conv2d(4, 2, 1)).to(
        memory_format=torch.channels_last  # type: ignore[call-overload]
    )


def test_state_round_trip_is_exact() -> None:
    """As a run that is resumed: the model's and the optimizer's tensors, contiguous as they are in a file."""
    config = TrainingConfig(optimizer="musgd", lr0=0.01)
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))

    def steps(model: nn.Module, optimizer: torch.optim.Optimizer, count: int) -> None:
        for _ in range(count):
            optimizer.zero_grad()
            model(images).square().sum().backward()
            optimizer.step()

    model = network()
    optimizer = build_optimizer(model, config)
    steps(model, optimizer, 3)
    again = network()
    again.load_state_dict({k: v.clone().contiguous() for k, v in model.state_dict().items()})
    resumed = build_optimizer(again, config)
    load_optimizer(resumed, {k: v.clone().contiguous() for k, v in optimizer_tensors(optimizer).items()})
    steps(model, optimizer, 3)
    steps(again, resumed, 3)
    for name, tensor in again.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name]), name


def test_a_copied_state_dict_loads() -> None:
    weight = start((3, 4))
    optimizer = MuSGD([weight], lr=0.1)
    trained(optimizer, weight, gradients((3, 4)))
    other = MuSGD([start((3, 4))], lr=0.5)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert other.param_groups[0]["lr"] == 0.1
    assert torch.equal(*(next(iter(o.state.values()))["momentum_buffer"] for o in (optimizer, other)))
