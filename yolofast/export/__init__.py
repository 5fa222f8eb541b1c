"""Export of a trained detector to a file for deployment: ONNX and TorchScript."""

from yolofast.export.exporter import SUFFIXES, ExportableModel, export_all_formats, export_model
from yolofast.export.verify import verify_export

__all__ = ["SUFFIXES", "ExportableModel", "export_all_formats", "export_model", "verify_export"]
