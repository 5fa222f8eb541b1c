"""Stage 1: brings a dataset into a local folder: downloads, archives, Roboflow."""

from yolofast.ingest.download import download_dataset_from_url
from yolofast.ingest.extract import extract_archive
from yolofast.ingest.fetch import fetch_dataset
from yolofast.ingest.local import ingest_local
from yolofast.ingest.roboflow_export import export_dataset_for_yolo

__all__ = [
    "download_dataset_from_url",
    "export_dataset_for_yolo",
    "extract_archive",
    "fetch_dataset",
    "ingest_local",
]
