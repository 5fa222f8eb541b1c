"""Stops before training on a dataset whose labels are wrong in large part."""

from __future__ import annotations

from collections.abc import Iterable

from yolofast.errors import DataError
from yolofast.formats.data_yaml import DataYaml
from yolofast.load import YOLODataset
from yolofast.prepare import rejected_labels


def check_labels(data: DataYaml, datasets: Iterable[YOLODataset], max_rejected: float) -> None:
    """Raise `DataError` when more than the share `max_rejected` of label rows is wrong.

    In the label files of one of `datasets`, or in the source from which their folder was prepared: objects
    without a label are taught as background.
    """
    counts = [(len(dataset.rejected_rows), dataset.label_rows) for dataset in datasets]
    source = rejected_labels(data.path.parent)
    for rejected, rows in [*counts, *([source] if source is not None else [])]:
        if rejected > max_rejected * rows:
            raise DataError(
                f"{data.path}: {rejected} of {rows} label rows ({rejected / rows:.0%}) cannot be used, more "
                f"than {max_rejected:.0%}: their objects would be taught as background. `yolofast check` "
                "lists them. Correct them, or allow more (--max-rejected-labels)."
            )
