"""Prediction: images and frames from anything that holds them, and the model's detections in them."""

from yolofast.class_numbers import class_numbers
from yolofast.predict.files import predict_images, predict_run
from yolofast.predict.sources import Source, images_of, open_source
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
