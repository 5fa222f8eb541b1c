"""PyTorch files for tests: real ones by `torch.save` with networks that look like Ultralytics', and hand-made
ones of any pickle.

The modules are made here under the names of that package (`named_modules` puts them into `sys.modules` while
the file is written), so that neither the package nor its code is needed.
"""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import sys
import types
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

CONV, BLOCK, HEAD, TASKS = (
    "ultralytics.nn.modules.conv",
    "ultralytics.nn.modules.block",
    "ultralytics.nn.modules.head",
    "ultralytics.nn.tasks",
)
MODULE_OF = {
    "Conv": CONV,
    "DWConv": CONV,
    "Concat": CONV,
    **dict.fromkeys(
        ["C2f", "C3k2", "C3k", "Bottleneck", "SPPF", "C2PSA", "PSABlock", "Attention", "DFL"], BLOCK
    ),
    "Detect": HEAD,
    "Segment": HEAD,
    "DetectionModel": TASKS,
    "Odd": "somebody.layers",
}
V8 = [
    "Conv",
    "Conv",
    "C2f",
    "Conv",
    "C2f",
    "Conv",
    "C2f",
    "Conv",
    "C2f",
    "SPPF",
    "Upsample",
    "Concat",
    "C2f",
    "Upsample",
    "Concat",
    "C2f",
    "Conv",
    "Concat",
    "C2f",
    "Conv",
    "Concat",
    "C2f",
    "Detect",
]
WIDTHS = [16, 32, 32, 64, 64, 128, 128, 256, 256, 256, 0, 0, 128, 0, 0, 64, 64, 0, 128, 128, 0, 256]
INPUTS = {11: [-1, 6], 14: [-1, 4], 17: [-1, 12], 20: [-1, 9], 22: [15, 18, 21]}


@contextlib.contextmanager
def named_modules() -> Iterator[dict[str, type[nn.Module]]]:
    """Empty classes of modules by name, importable under the names of the package for the moment."""
    classes: dict[str, type[nn.Module]] = {}
    added: list[str] = []
    try:
        for name, module in MODULE_OF.items():
            classes[name] = type(name, (nn.Module,), {"__module__": module})
            parts = module.split(".")
            for end in range(1, len(parts) + 1):
                dotted = ".".join(parts[:end])
                if dotted not in sys.modules:
                    sys.modules[dotted] = types.ModuleType(dotted)
                    added.append(dotted)
            setattr(sys.modules[module], name, classes[name])
        yield classes
    finally:
        for dotted in added:
            del sys.modules[dotted]


class _Builder:
    """Makes the modules of a YOLOv8n with few weights changed from the defaults of torch."""

    def __init__(self, classes: Mapping[str, type[nn.Module]]) -> None:
        self.classes = classes

    def module(
        self, name: str, /, attributes: Mapping[str, Any] = types.MappingProxyType({}), **children: nn.Module
    ) -> nn.Module:
        made = self.classes[name]()
        for key, child in children.items():
            made.add_module(key, child)
        for key, value in attributes.items():
            setattr(made, key, value)
        return made

    def conv(
        self, wide: int, out: int, kernel: int = 1, stride: int = 1, act: nn.Module | None = None
    ) -> nn.Module:
        convolution = nn.Conv2d(wide, out, kernel, stride, kernel // 2, bias=False)
        norm = nn.BatchNorm2d(out, eps=1e-3, momentum=0.03)
        return self.module("Conv", conv=convolution, bn=norm, act=act or nn.SiLU())

    def c2f(self, wide: int, out: int, blocks: int, shortcut: bool) -> nn.Module:
        hidden = out // 2
        inner = [
            self.module(
                "Bottleneck",
                {"add": shortcut},
                cv1=self.conv(hidden, hidden, 3),
                cv2=self.conv(hidden, hidden, 3),
            )
            for _ in range(blocks)
        ]
        return self.module(
            "C2f",
            {"c": hidden},
            cv1=self.conv(wide, out),
            cv2=self.conv((2 + blocks) * hidden, out),
            m=nn.ModuleList(inner),
        )

    def detect(self, classes: int) -> nn.Module:
        boxes, scores = nn.ModuleList(), nn.ModuleList()
        middle = max(64, min(classes, 100))
        for wide in (64, 128, 256):
            boxes.append(nn.Sequential(self.conv(wide, 64, 3), self.conv(64, 64, 3), nn.Conv2d(64, 64, 1)))
            scores.append(
                nn.Sequential(
                    self.conv(wide, middle, 3), self.conv(middle, middle, 3), nn.Conv2d(middle, classes, 1)
                )
            )
        dfl = nn.Conv2d(16, 1, 1, bias=False).requires_grad_(False)
        dfl.weight.data[:] = torch.arange(16.0).view(1, 16, 1, 1)
        values = {"nc": classes, "nl": 3, "reg_max": 16, "stride": torch.tensor([8.0, 16.0, 32.0])}
        return self.module("Detect", values, cv2=boxes, cv3=scores, dfl=self.module("DFL", conv=dfl))

    def layers(self, classes: int, spp_act: nn.Module | None) -> list[nn.Module]:
        found: list[nn.Module] = []
        wide = 3
        incoming = {12: 384, 15: 192, 18: 192, 21: 384}
        for number, name in enumerate(V8[:-1]):
            out = WIDTHS[number]
            if name == "Conv":
                layer = self.conv(wide, out, 3, 2)
            elif name == "C2f":
                repeats = 2 if number in (4, 6) else 1
                layer = self.c2f(incoming.get(number, wide), out, repeats, number < 10)
            elif name == "SPPF":
                pool = nn.MaxPool2d(5, 1, 2)
                cv1 = self.conv(256, 128, act=spp_act)
                layer = self.module("SPPF", {"n": 3, "add": False}, cv1=cv1, cv2=self.conv(512, 256), m=pool)
            elif name == "Upsample":
                layer = nn.Upsample(scale_factor=2.0, mode="nearest")
            else:
                layer = self.module("Concat", {"d": 1})
            wide = out or wide
            found.append(layer)
        found.append(self.detect(classes))
        for number, layer in enumerate(found):
            layer.i, layer.f = number, INPUTS.get(number, -1)  # type: ignore[assignment]
        return found


def network(
    classes: Mapping[str, type[nn.Module]], names: tuple[str, ...], spp_act: nn.Module | None = None
) -> nn.Module:
    """A YOLOv8n for detection, as an object of torch."""
    builder = _Builder(classes)
    model = builder.module("DetectionModel", model=nn.Sequential(*builder.layers(len(names), spp_act)))
    model.names, model.task = dict(enumerate(names)), "detect"  # type: ignore[assignment]
    model.stride = torch.tensor([8.0, 16.0, 32.0])  # type: ignore[assignment]
    model.args = {"task": "detect", "imgsz": 320, "lr0": 0.01, "freeze": None}  # type: ignore[assignment]
    return model.eval()


def save_training(
    path: Path, names: tuple[str, ...] = ("cat", "dog"), *, change: Any = None
) -> dict[str, Tensor]:
    """Write a training file (averaged network in half precision); `change` may edit the network first.

    Returns the tensors of the averaged network.
    """
    torch.manual_seed(0)
    with named_modules() as classes:
        model = network(classes, names)
        if change is not None:
            change(model, classes)
        optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
        for parameter in list(model.parameters())[:3]:
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        averaged = model.half()
        whole = {
            "epoch": 3,
            "best_fitness": 0.5,
            "model": None,
            "ema": averaged,
            "updates": 7,
            "optimizer": optimizer.state_dict(),
            "train_args": {"imgsz": 320, "data": "pets.yaml", "save": True, "device": None},
            "version": "8.4.0",
        }
        torch.save(whole, path)
        return {name: tensor.clone() for name, tensor in averaged.state_dict().items()}


def torch_zip(
    pickled: bytes,
    storages: Mapping[str, bytes] | None = None,
    *,
    method: int = zipfile.ZIP_STORED,
    order: str = "little",
) -> bytes:
    """A file of any pickle, with the bytes of its storages."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as file:
        file.writestr("archive/data.pkl", pickled)
        file.writestr("archive/byteorder", order)
        for key, data in (storages or {}).items():
            file.writestr(f"archive/data/{key}", data)
        file.writestr("archive/version", "3\n")
    return out.getvalue()


def tensor_pickle(shape: tuple[int, ...], stride: tuple[int, ...], offset: int, count: int) -> bytes:
    """The pickle of one tensor of float32 in storage 0, which claims `count` numbers."""
    text = b"X\x07\x00\x00\x00storage"
    identity = (
        b"(" + text + b"ctorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu" + _number(count) + b"tQ"
    )
    sizes = b"(" + b"".join(map(_number, shape)) + b"t"
    steps = b"(" + b"".join(map(_number, stride)) + b"t"
    rest = b"\x89ccollections\nOrderedDict\n)R"
    return (
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n("
        + identity
        + _number(offset)
        + sizes
        + steps
        + rest
        + b"tR."
    )


def _number(value: int) -> bytes:
    size = value.bit_length() // 8 + 1
    return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)


class Calls:
    """An object whose pickle calls a function, as attacks do."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.function, self.arguments


def hostile_pickles() -> dict[str, bytes]:
    """Pickles that run code in Python's machine, ask for far more than they have, or never end."""
    dumped: dict[str, Any] = {
        "os.system": Calls(os.system, "touch /tmp/yolofast-was-here"),
        "eval": Calls(eval, "1 + 1"),
        "exec": Calls(exec, "import os"),
        "nested": {"model": [{"ema": (Calls(os.system, "true"),)}]},
        "getattr": Calls(getattr, "text", "upper"),
        "import": Calls(__import__, "subprocess"),
        "sum of bytes": Calls(bytes, 1 << 40),
        "big power": Calls(pow, 10, 10**9),
        "unpickle": Calls(pickle.loads, b"N."),
    }
    made = {name: pickle.dumps(value, 2) for name, value in dumped.items()}
    made["billion laughs as a key"] = (
        b"\x80\x02})q\x00" + b"".join(b"0h%ch%c\x86q%c" % (n, n, n + 1) for n in range(60)) + b"Ns."
    )
    made["marks without end"] = b"\x80\x02" + b"(" * 10_000_000
    made["sets without end"] = b"\x80\x04" + b"\x8f0" * 2_000_000 + b"N."
    made["copies of a list"] = (
        b"\x80\x02ccollections\nOrderedDict\nq\x00]q\x01("
        + b"NN\x86" * 10_000
        + b"e0"
        + b"h\x00h\x01\x85R0" * 10_000
        + b"N."
    )
    made["text of 4 GB"] = b"\x80\x02X\xff\xff\xff\xff"
    made["steps without end"] = b"\x80\x02" + b"N0" * 3_000_000 + b"N."
    made["huge storage"] = tensor_pickle((1 << 40,), (1,), 0, 1 << 40)
    made["extension"] = b"\x80\x02\x82\x01."
    made["instance"] = b"\x80\x02(ios\nsystem\n."
    made["marshalled"] = b"\x80\x02cmarshal\nloads\nU\x01N\x85R."
    return made
