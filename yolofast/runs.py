"""Run folders: PROJECT/NAME with config.yaml, weights/, results.csv and pictures.

A run holds the lock of its folder while it trains, so that no two runs write into one; the lock file says
which process that is. A new run takes the first of NAME, NAME-2, NAME-3, ... that is free; the folder of a
run that stopped before its first epoch was over is free, too. Weights and results are never overwritten, not
even those of a run that was killed between its first `best` and `last`: --resume begins it again.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from yolofast.config import YOLOConfig
from yolofast.errors import CheckpointError, YolofastError
from yolofast.file_lock import clear_holder, file_lock, holder_of, is_at, names_living, write_holder
from yolofast.files import is_temporary, remove_leftovers
from yolofast.output_folder import cannot_create, missing_folders, numbered_folders, remove_empty
from yolofast.printable import command_line
from yolofast.seal import is_intact

CONFIG_NAME, WEIGHTS_FOLDER, LOCK_NAME = "config.yaml", "weights", ".lock"
LABELS_NAME, BATCH_NAME = "labels.png", "train_batch{}.png"
DATA_FLOW_NAME = "dataflow.json"
_PICTURES = (LABELS_NAME, BATCH_NAME.format("*"), Path(DATA_FLOW_NAME).stem + ".*")
_BEFORE_THE_FIRST_EPOCH = (CONFIG_NAME, LOCK_NAME, WEIGHTS_FOLDER, *_PICTURES)
"""All that a run has written before its first epoch is over."""

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def open_run(config: YOLOConfig) -> Iterator[YOLOConfig]:
    """Hold the folder of a run: a new one, or with `config.training.resume` that of the config.

    Yields the config with the name of the folder, which exists. A new folder in which nothing was written is
    removed again. Raises `CheckpointError` when another process, which it names, trains the run that is to be
    resumed, `ConfigError` when no folder can be made.
    """
    resume, project = config.training.resume, config.logging.project
    for folder in numbered_folders(project, config.logging.name):
        missing = missing_folders(folder)
        with contextlib.ExitStack() as stack:
            if _claim(folder, stack, resume=resume):
                stack.callback(_remove_if_empty, folder, missing)  # while the lock is still held
                for written in (folder, folder / WEIGHTS_FOLDER):
                    remove_leftovers(written)
                if not resume:
                    _remove_pictures(folder)
                yield config.replace(name=str(folder.relative_to(project)))
                return
        if resume:
            raise CheckpointError(
                f"{folder}: no run to resume here: it is no folder, or was removed meanwhile."
            )


def _claim(folder: Path, stack: contextlib.ExitStack, *, resume: bool) -> bool:
    """Make `folder` and hold its lock until `stack` ends, if it is free.

    Any folder is, to `resume`, unless it is being trained: raises `CheckpointError`.
    """
    try:
        made = not folder.is_dir()
        folder.mkdir(parents=True, exist_ok=not made)
        if not resume and not made and not _is_free(folder):
            return False
        lock = stack.enter_context((folder / LOCK_NAME).open("a+"))
    except (FileExistsError, FileNotFoundError):  # another run was quicker to make it, or to remove it
        return False
    except OSError as error:
        raise cannot_create(folder, error) from None
    advice = "Wait for it, or stop it first."
    try:
        held = stack.enter_context(file_lock(lock))
    except OSError:  # a file system without locks: whoever makes the folder has it
        held = made or (resume and not names_living(lock))
        advice += f" This file system has no locks: if that run is gone, remove {folder / LOCK_NAME}."
    if resume and not held:
        raise CheckpointError(f"{folder}: another process is training this run, {holder_of(lock)}. {advice}")
    # The run before may have removed its folder with the lock.
    if not (held and is_at(lock, folder / LOCK_NAME) and (resume or _is_free(folder))):
        return False
    write_holder(lock)
    stack.callback(clear_holder, lock)
    return True


def _is_free(folder: Path) -> bool:
    """Whether a folder holds nothing, or only what a run writes before its first epoch is over.

    A lock is among that: without it the files, such as a config.yaml, are not those of a run.
    """
    found = [path for path in folder.iterdir() if not is_temporary(path.name)]
    if found and not (folder / LOCK_NAME).exists():
        return False
    if any(not any(path.match(name) for name in _BEFORE_THE_FIRST_EPOCH) for path in found):
        return False
    weights = folder / WEIGHTS_FOLDER
    return not weights.exists() or all(is_temporary(path.name) for path in weights.iterdir())


def _remove_pictures(folder: Path) -> None:
    """Remove those of a run that stopped before its first checkpoint: the next one may draw fewer."""
    for pattern in _PICTURES:
        for path in folder.glob(pattern):
            path.unlink()


def _remove_if_empty(folder: Path, missing: list[Path]) -> None:
    """Remove what was `missing` before, unless something was written into it."""
    if not folder.is_dir() or [path.name for path in folder.iterdir()] != [LOCK_NAME]:
        return
    (folder / LOCK_NAME).unlink()
    remove_empty(missing)


# ---------------------------------------------------------------- resume


def run_folder(path: Path) -> Path:
    """The run that `path` means: its folder, or a file in its `weights`. Raises `CheckpointError`."""
    folder = path.parent.parent if path.is_file() and path.parent.name == WEIGHTS_FOLDER else path
    if (folder / CONFIG_NAME).is_file():
        return folder
    known = [str(run) for run in _runs_in(folder.parent)][:5]
    advice = f" Runs here: {', '.join(known)}." if known else " Drop --resume to start a new run."
    raise CheckpointError(f"{path}: no run to resume here: it has no {CONFIG_NAME}.{advice}")


def newest_unfinished(
    project: Path, *, epochs: int | None = None, patience: int | None = None, time: float | None = None
) -> Path:
    """The folder of the run in `project` that was trained last and is not over.

    `epochs`, `patience` and `time`, if given, count instead of the run's own. Raises `CheckpointError` when
    there is no such run.
    """
    newest = sorted(_runs_in(project), key=_last_change, reverse=True)
    for folder in newest:
        if not _is_over(folder, epochs, patience, time):
            return folder
    if not newest:
        raise CheckpointError(f"{project}: no run to resume here. Give its folder: --resume PATH.")
    raise CheckpointError(
        f"{project}: every run here is finished ({len(newest)}). To continue the latest one: "
        f"{command_line('--resume', newest[0])} with more --epochs (or --time), or a larger --patience if "
        "it stopped early."
    )


def resumed_config(folder: str | Path) -> YOLOConfig:
    """The settings of the run in `folder` (see `run_folder`), with `resume` on.

        train_run(resumed_config("runs/train").replace(epochs=200))

    Raises `CheckpointError` when there is no run, `ConfigError` when its settings cannot be read.
    """
    folder = run_folder(Path(folder))
    saved = YOLOConfig.from_yaml(folder / CONFIG_NAME)
    if is_intact((folder / CONFIG_NAME).read_bytes()) is False:
        _log.warning("%s: changed since the run wrote it; used as it is now", folder / CONFIG_NAME)
    return saved.replace(resume=True, project=folder.parent, name=folder.name)


def _runs_in(project: Path) -> list[Path]:
    """The folders of runs in `project`, also one level down, where the demo has them."""
    patterns = (f"*/{CONFIG_NAME}", f"*/*/{CONFIG_NAME}")
    return sorted(path.parent for pattern in patterns for path in project.glob(pattern))


def _last_change(folder: Path) -> float:
    from yolofast.train import CheckpointManager

    files = (folder / CONFIG_NAME, CheckpointManager(folder / WEIGHTS_FOLDER).last)
    return max((path.stat().st_mtime for path in files if path.exists()), default=0.0)


def _is_over(folder: Path, epochs: int | None, patience: int | None, time: float | None) -> bool:
    """Whether a run is finished, or not one that can be resumed because its settings cannot be read."""
    from yolofast.train import CheckpointManager, is_finished

    try:
        saved = YOLOConfig.from_yaml(folder / CONFIG_NAME).training
    except YolofastError:
        return True
    return is_finished(
        CheckpointManager(folder / WEIGHTS_FOLDER).history(),
        epochs=epochs or saved.epochs,
        patience=saved.patience if patience is None else patience,
        hours=time or saved.time,
    )
