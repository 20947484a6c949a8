"""Checkpoints that are whole or not there, each a sealed folder (model/checkpoint_io.py).

    attempt-NNN/checkpoints/step-00000042/    with a file `for-good` in it if it is never removed

A checkpoint is built under a name that begins with a dot, forced to disk and renamed.
"""

import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils._pytree import tree_leaves, tree_map_only

from common.errors import BadInput, StopRequested
from common.files import remove
from common.folders import temporary_folder
from configs.schema import build
from model.checkpoint_io import read_sealed, require_plain, sync_folder, write_sealed
from training.trial.attempt import FOR_GOOD, Attempt, attempts, remove_half_written


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


def save(
    attempt: Attempt, meta: Meta, state: dict[str, Any], keep: int = 2, for_good: bool = False
) -> Path:
    """Write a checkpoint, then remove all but the newest `keep` of the trial and those `for_good`.

    Raises CannotSave when the disk refuses, StopRequested when the attempt was taken over, and
    TypeError for a state that could not be loaded again safely.
    """
    require_plain(state)
    final = attempt.checkpoints / f"step-{meta.step:08d}"
    building: Path | None = None
    try:
        attempt.checkpoints.mkdir(exist_ok=True)
        building = temporary_folder(attempt.checkpoints, f".{final.name}.")
        write_sealed(building, asdict(meta), state)
        if for_good:
            (building / FOR_GOOD).touch()
        if attempt.is_superseded():
            raise StopRequested(f"{attempt.folder} was taken over by a later attempt")
        building.rename(final)
        sync_folder(attempt.checkpoints)
    except (OSError, RuntimeError) as error:
        # torch may report a full disk as a RuntimeError about positions in its archive.
        what = str(error)
        if "unexpected pos" in what or "inline_container" in what:
            what = f"less was written than given, as on a full disk ({what})"
        if building is not None:
            shutil.rmtree(building, ignore_errors=True)  # what it filled is free again
        free = shutil.disk_usage(attempt.trial).free if attempt.trial.exists() else 0
        sizes = f"needs over {tensor_bytes(state):,} bytes, {free:,} are free"
        raise CannotSave(f"{final}: {what}; {sizes}") from error
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
    remove_half_written(attempt.trial)
    for folder in attempts(attempt.trial):
        if folder != attempt.folder:
            for path in (folder / "checkpoints").glob(".*"):
                remove(path)


def tensor_bytes(state: Any) -> int:
    """Bytes of the tensors in a state, one that stands in it twice counted once."""
    tensors = [leaf for leaf in tree_leaves(state) if isinstance(leaf, torch.Tensor)]
    return sum({(t.data_ptr(), t.shape): t.nbytes for t in tensors}.values())


def copied(state: Any) -> Any:
    """The same with every tensor copied to the CPU, one that stands in it twice once."""
    copies: dict[tuple[int, torch.Size], torch.Tensor] = {}

    def copy(tensor: torch.Tensor) -> torch.Tensor:
        key = tensor.data_ptr(), tensor.shape
        if key not in copies:
            copies[key] = tensor.detach().to("cpu", copy=True)
        return copies[key]

    return tree_map_only(torch.Tensor, copy, state)


def _all(trial: Path) -> list[Path]:
    """Every checkpoint of the trial by step, those of later attempts after those of earlier."""
    found = [path for folder in attempts(trial) for path in (folder / "checkpoints").glob("step-*")]
    return sorted(found, key=lambda path: path.name)


def _prune(attempt: Attempt, step: int, keep: int) -> None:
    """Keep the newest `keep` steps up to `step` and those kept for good, of each the latest one.

    What lies beyond `step`, or was written again, was passed over as unreadable.
    """
    last = f"step-{step:08d}"
    there = _all(attempt.trial)
    by_step = {path.name: path for path in there if path.name <= last}
    kept = list(by_step.values())[-keep:]
    kept += [path for path in by_step.values() if (path / FOR_GOOD).exists()]
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
