"""Checkpoints that are whole or not there, and are believed only after their digest is checked.

    attempt-NNN/checkpoints/step-00000042/state.pt   tensors and plain values, by torch.save
                                          meta.json  what it continues, size and SHA-256 of state.pt

A checkpoint is built under a name that begins with a dot, forced to disk and renamed. torch.load
itself would accept a flipped bit, and with pickles enabled run code: here it is called with
weights_only, after the digest.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch

from configs.errors import BadInput, StopRequested
from configs.files import read_json, to_json
from configs.load import build
from training.attempt import RECORD, Attempt, attempts

SCHEMA = 1
KEEP = 2

_PLAIN = (type(None), bool, int, float, str)


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


def save(attempt: Attempt, meta: Meta, state: dict[str, Any]) -> Path:
    """Write a checkpoint, then remove all but the newest KEEP of the trial.

    Raises CannotSave when the disk refuses, StopRequested when the attempt was taken over, and
    TypeError for a state that could not be loaded again safely.
    """
    require_plain(state)
    final = attempt.checkpoints / f"step-{meta.step:08d}"
    building: Path | None = None
    try:
        attempt.checkpoints.mkdir(exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=f".{final.name}.", dir=attempt.checkpoints))
        size, sha256 = _write(building / "state.pt", lambda file: torch.save(state, file))
        values = {"schema": SCHEMA, "size": size, "sha256": sha256, **asdict(meta)}
        _write(building / "meta.json", lambda file: file.write(_sealed(values)))
        _sync(building)
        if attempt.fenced():
            raise StopRequested(f"{attempt.folder} was taken over by a later attempt")
        building.chmod(0o755)
        building.rename(final)
        _sync(attempt.checkpoints)
    except (OSError, RuntimeError) as error:
        # torch reports a full disk as a RuntimeError about positions in its archive.
        free = shutil.disk_usage(attempt.trial).free if attempt.trial.exists() else 0
        sizes = f"needs {tensor_bytes(state):,} bytes, {free:,} are free"
        raise CannotSave(f"{final}: {error}; {sizes}") from error
    finally:
        if building is not None:
            shutil.rmtree(building, ignore_errors=True)
    _prune(attempt, meta.step)
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
    meta = _check(path)
    try:
        state = torch.load(path / "state.pt", map_location="cpu", weights_only=True)
    except Exception as error:  # the digest is right, so this is what somebody wrote, not a fault
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise BadInput(f"{path}: refused by the safe loader: {reason}") from error
    if not isinstance(state, dict) or state.get("step") != meta.step:
        raise BadInput(f"{path}: found another state than meta.json describes")
    return Checkpoint(path, meta, state)


def remove_leftovers(attempt: Attempt) -> None:
    """Remove what killed owners left half-written, now that the trial is this attempt's."""
    left = list(attempt.trial.glob(f".{RECORD}.*"))
    for folder in attempts(attempt.trial):
        if folder != attempt.folder:
            left += [*folder.glob(".*.tmp"), *(folder / "checkpoints").glob(".*")]
    for path in left:
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def require_plain(value: Any, where: str = "state") -> None:
    """Refuse what the safe loader would refuse, while the value is still in memory.

    Exact types: numpy.float64 is a float, saves without complaint and can never be loaded.
    """
    if type(value) in (dict, list, tuple):
        items = value.items() if type(value) is dict else enumerate(value)
        for key, item in items:
            require_plain(key, f"a key of {where}")
            require_plain(item, f"{where}[{key!r}]")
    elif type(value) is not torch.Tensor and type(value) not in _PLAIN:
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        raise TypeError(f"{where}: found {kind}, expected tensors and plain values")


def tensor_bytes(value: Any) -> int:
    """Bytes of the tensors in a state; one that stands in it twice counts twice."""
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    items = value.values() if isinstance(value, dict) else value
    return sum(map(tensor_bytes, items)) if isinstance(value, dict | list | tuple) else 0


def _all(trial: Path) -> list[Path]:
    """Every checkpoint of the trial by step, those of later attempts after those of earlier."""
    found = [path for folder in attempts(trial) for path in (folder / "checkpoints").glob("step-*")]
    return sorted(found, key=lambda path: path.name)


def _prune(attempt: Attempt, step: int) -> None:
    """Keep the newest KEEP steps up to `step`, of each the latest attempt's.

    What lies beyond `step`, or was written again, was passed over as unreadable.
    """
    last = f"step-{step:08d}"
    there = _all(attempt.trial)
    by_step = {path.name: path for path in there if path.name <= last}
    kept = list(by_step.values())[-KEEP:]
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


def _check(path: Path) -> Meta:
    """The meta of a checkpoint whose files are what was written; BadInput if they are not."""
    content = read_json(path / "meta.json")
    values = content.get("values") if isinstance(content, dict) else None
    if not isinstance(values, dict) or (path / "meta.json").read_bytes() != _sealed(values):
        raise BadInput(f"{path}: damaged: meta.json does not match its own digest")
    if values["schema"] != SCHEMA:
        raise BadInput(f"{path}: found schema {values['schema']}, expected {SCHEMA}")
    sha = hashlib.sha256()
    try:
        with (path / "state.pt").open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size != values["size"]:
                raise BadInput(
                    f"{path}: damaged: found {size} bytes in state.pt, expected {values['size']}"
                )
            while chunk := file.read(1 << 20):
                sha.update(chunk)
    except OSError as error:
        raise BadInput(f"{path}: damaged: state.pt: {error.strerror}") from error
    if sha.hexdigest() != values["sha256"]:
        raise BadInput(f"{path}: damaged: the SHA-256 of state.pt is not the one written with it")
    return build(Meta, {k: v for k, v in values.items() if k not in ("schema", "size", "sha256")})


def _sealed(values: Any) -> bytes:
    """meta.json: the values and their digest."""
    seal = hashlib.sha256(to_json(values).encode()).hexdigest()
    return to_json({"values": values, "digest": seal}).encode()


@dataclass
class _Digesting:
    """A file that digests what is written through it, so that nothing is read back."""

    file: BinaryIO
    sha256: Any
    size: int = 0

    def write(self, data: Any) -> int:
        self.sha256.update(data)
        self.size += len(data)
        return self.file.write(data)

    def flush(self) -> None:
        self.file.flush()


def _write(path: Path, fill: Callable[[Any], Any]) -> tuple[int, str]:
    """Create `path`, let `fill` write to it, force it to disk; its size and SHA-256."""
    with path.open("xb") as file:
        digesting = _Digesting(file, hashlib.sha256())
        fill(digesting)
        file.flush()
        os.fsync(file.fileno())
    return digesting.size, digesting.sha256.hexdigest()


def _sync(folder: Path) -> None:
    """Force the names in a folder to disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
