"""Prediction: images from files and arrays, the model's detections, and their plots."""

from yolofast.class_numbers import class_numbers
from yolofast.predict.files import images_of, predict_images, predict_run
from yolofast.predict.sources import Source, open_source
from yolofast.predict.stream import predict

__all__ = [
    "Source",
    "class_numbers",
    "images_of",
    "open_source",
    "predict",
    "predict_images",
    "predict_run",
]
