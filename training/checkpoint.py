"""Checkpoints that are whole or not there, each a sealed folder (model/sealed.py).

    attempt-NNN/checkpoints/step-00000042/

A checkpoint is built under a name that begins with a dot, forced to disk and renamed.
"""

import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from configs.errors import BadInput, StopRequested
from configs.load import build
from model.sealed import read_sealed, require_plain, sync_folder, write_sealed
from training.attempt import RECORD, Attempt, attempts


class CannotSave(Exception):
    """The disk refused a checkpoint; those before it are intact. The message says why."""


@dataclass(frozen=True)
class Meta:
    """What a checkpoint continues.

    step         finished updates
    id           the trial's; `config` is its mapping without `runtime`
    data         the manifest's mapping
    environment  where the run was so far, and whether it was all in one kind of place
    """

    step: int
    id: str
    config: dict[str, Any]
    data: dict[str, Any]
    environment: dict[str, Any]
    bitwise: bool


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read whole; `state` lies on the CPU."""

    path: Path
    meta: Meta
    state: dict[str, Any]


def save(attempt: Attempt, meta: Meta, state: dict[str, Any], keep: int = 2) -> Path:
    """Write a checkpoint, then remove all but the newest `keep` of the trial.

    Raises CannotSave when the disk refuses, StopRequested when the attempt was taken over, and
    TypeError for a state that could not be loaded again safely.
    """
    require_plain(state)
    final = attempt.checkpoints / f"step-{meta.step:08d}"
    building: Path | None = None
    try:
        attempt.checkpoints.mkdir(exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=f".{final.name}.", dir=attempt.checkpoints))
        write_sealed(building, asdict(meta), state)
        if attempt.fenced():
            raise StopRequested(f"{attempt.folder} was taken over by a later attempt")
        building.chmod(0o755)
        building.rename(final)
        sync_folder(attempt.checkpoints)
    except (OSError, RuntimeError) as error:
        # torch reports a full disk as a RuntimeError about positions in its archive.
        if building is not None:
            shutil.rmtree(building, ignore_errors=True)  # what it filled is free again
        free = shutil.disk_usage(attempt.trial).free if attempt.trial.exists() else 0
        sizes = f"needs {tensor_bytes(state):,} bytes, {free:,} are free"
        raise CannotSave(f"{final}: {error}; {sizes}") from error
    finally:
        if building is not None:
            shutil.rmtree(building, ignore_errors=True)
    _prune(attempt, meta.step, keep)
    return final


def newest(trial: Path, warn: Callable[[str], None]) -> Checkpoint | None:
    """The newest checkpoint of all attempts that is whole; None if there never was one.

    `warn` gets a line for each that is passed over, naming it and what is used in its place.
    BadInput when there are checkpoints and none can be read: to start again is the user's choice.
    """
    refused: list[str] = []
    for path in reversed(_all(trial)):
        try:
            checkpoint = read(path)
        except BadInput as error:
            refused.append(str(error))
            continue
        for reason in refused:
            warn(f"{reason}; using {path}")
        return checkpoint
    if refused:
        raise BadInput(f"{refused[0]}; no other checkpoint is left: remove it to start from step 0")
    return None


def read(path: Path) -> Checkpoint:
    """Read a checkpoint; BadInput if it is damaged or holds what the safe loader refuses."""
    meta, state = read_sealed(path)
    return Checkpoint(path, build(Meta, meta), state)


def remove_leftovers(attempt: Attempt) -> None:
    """Remove what killed owners left half-written, now that the trial is this attempt's."""
    left = list(attempt.trial.glob(f".{RECORD}.*"))
    for folder in attempts(attempt.trial):
        if folder != attempt.folder:
            left += [*folder.glob(".*.tmp"), *(folder / "checkpoints").glob(".*")]
    for path in left:
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def tensor_bytes(state: Any) -> int:
    """Bytes of the tensors in a state, one that stands in it twice counted once."""
    found: dict[tuple[int, torch.Size], int] = {}

    def collect(value: Any) -> None:
        if isinstance(value, torch.Tensor):
            found[value.data_ptr(), value.shape] = value.numel() * value.element_size()
        elif isinstance(value, dict | list | tuple):
            for item in value.values() if isinstance(value, dict) else value:
                collect(item)

    collect(state)
    return sum(found.values())


def _all(trial: Path) -> list[Path]:
    """Every checkpoint of the trial by step, those of later attempts after those of earlier."""
    found = [path for folder in attempts(trial) for path in (folder / "checkpoints").glob("step-*")]
    return sorted(found, key=lambda path: path.name)


def _prune(attempt: Attempt, step: int, keep: int) -> None:
    """Keep the newest `keep` steps up to `step`, of each the latest attempt's.

    What lies beyond `step`, or was written again, was passed over as unreadable.
    """
    last = f"step-{step:08d}"
    there = _all(attempt.trial)
    by_step = {path.name: path for path in there if path.name <= last}
    kept = list(by_step.values())[-keep:]
    for path in there:
        if path not in kept:
            _remove(path)


def _remove(path: Path) -> None:
    """Take the name away first, so that a removal cut short leaves no half checkpoint."""
    doomed = path.parent / f".{path.name}.removed"
    shutil.rmtree(doomed, ignore_errors=True)
    with suppress(OSError):
        path.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)
