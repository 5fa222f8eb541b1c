"""The detector, its loss, and its weights files."""

from yolofast.models.detector import Detector, build_model, fused_copy
from yolofast.models.foreign import ForeignCheckpoint, read_checkpoint
from yolofast.models.freeze import backbone_layers, freezable_layers, freeze_layers
from yolofast.models.loss import LossGains, inverse_frequency_weights
from yolofast.models.profile import ModelProfile, model_profile
from yolofast.models.spec import MODEL_SPECS, STRIDES, ModelSpec
from yolofast.models.weights import (
    TransferReport,
    import_metadata,
    load_weights,
    read_metadata,
    save_weights,
    transfer_weights,
)

__all__ = [
    "MODEL_SPECS",
    "STRIDES",
    "Detector",
    "ForeignCheckpoint",
    "LossGains",
    "ModelProfile",
    "ModelSpec",
    "TransferReport",
    "backbone_layers",
    "build_model",
    "freezable_layers",
    "freeze_layers",
    "fused_copy",
    "import_metadata",
    "inverse_frequency_weights",
    "load_weights",
    "model_profile",
    "read_checkpoint",
    "read_metadata",
    "save_weights",
    "transfer_weights",
]
