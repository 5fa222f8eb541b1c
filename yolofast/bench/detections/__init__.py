"""What happens to detections: NMS and postprocessing, and COCO evaluation."""
