"""The detector, its loss, and its weights files."""

from yolofast.models.detector import Detector, build_model, fused_copy
from yolofast.models.freeze import backbone_layers, freezable_layers, freeze_layers
from yolofast.models.loss import LossGains
from yolofast.models.profile import ModelProfile, model_profile
from yolofast.models.spec import MODEL_SPECS, STRIDES, ModelSpec
from yolofast.models.weights import (
    TransferReport,
    load_weights,
    read_metadata,
    save_weights,
    transfer_weights,
)

__all__ = [
    "MODEL_SPECS",
    "STRIDES",
    "Detector",
    "LossGains",
    "ModelProfile",
    "ModelSpec",
    "TransferReport",
    "backbone_layers",
    "build_model",
    "freezable_layers",
    "freeze_layers",
    "fused_copy",
    "load_weights",
    "model_profile",
    "read_metadata",
    "save_weights",
    "transfer_weights",
]
