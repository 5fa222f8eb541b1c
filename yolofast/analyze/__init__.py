"""Stage 2: what a dataset folder contains and what is wrong with it. Reads only."""

from yolofast.analyze.dataset_info import analyze_dataset, validate_dataset_input
from yolofast.analyze.quality import check_data_quality
from yolofast.analyze.report import write_html_report

__all__ = ["analyze_dataset", "check_data_quality", "validate_dataset_input", "write_html_report"]
