"""Keeps the torch exporters' output off the terminal without losing relevant warnings."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

log = logging.getLogger(__name__)

OPTIMIZERS = ("onnx_ir", "onnxscript")
FOR_DEVELOPERS = (DeprecationWarning, PendingDeprecationWarning, FutureWarning)


def _is_relevant(record: logging.LogRecord) -> bool:
    """False for the note, logged at every export, that torchvision is not installed."""
    return not record.getMessage().startswith("torchvision is not installed")


@contextlib.contextmanager
def quiet_exporter() -> Iterator[None]:
    """Redirect prints and warnings inside the block to this module's log.

    Printed text and deprecations of torch's own calls go to DEBUG, every other warning to WARNING.
    The ONNX optimizer's messages about each node (INFO) are dropped.
    """
    registration = logging.getLogger("torch.onnx._internal.exporter._registration")
    registration.addFilter(_is_relevant)
    levels = {name: logging.getLogger(name).level for name in OPTIMIZERS}
    for name in OPTIMIZERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    printed = io.StringIO()
    try:
        with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stdout(printed):
            warnings.simplefilter("always")
            yield
    finally:
        registration.removeFilter(_is_relevant)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
    for line in printed.getvalue().splitlines():
        log.debug("exporter: %s", line)
    for warning in caught:
        level = logging.DEBUG if issubclass(warning.category, FOR_DEVELOPERS) else logging.WARNING
        log.log(level, "exporter: %s: %s", warning.category.__name__, warning.message)
