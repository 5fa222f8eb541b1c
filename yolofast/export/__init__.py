"""Export of a trained detector to a file for deployment: ONNX and TorchScript."""

from yolofast.export.exporter import SUFFIXES, ExportableModel, export_all_formats, export_model
from yolofast.export.verify import check_export, verify_export

__all__ = [
    "SUFFIXES",
    "ExportableModel",
    "check_export",
    "export_all_formats",
    "export_model",
    "verify_export",
]
