"""A folder that holds a state and says what it is, believed only after its digest is checked.

    state.pt   tensors and plain values, by torch.save
    meta.json  what the state is; size and SHA-256 of state.pt; sealed by a digest of its own

torch.load itself would accept a flipped bit, and with pickles enabled run code: here it is called
with weights_only, after the digest.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch

from common.errors import BadInput
from common.files import read_bytes, read_json, require_file, sync_folder, to_json

SCHEMA = 1

_PLAIN = (type(None), bool, int, float, str)
_OF_THE_SEAL = ("schema", "size", "sha256")


def write_sealed(folder: Path, meta: dict[str, Any], state: dict[str, Any]) -> None:
    """Write both files into an empty folder and force them to disk.

    Raises OSError, or torch's RuntimeError, when the disk refuses.
    """
    size, sha256 = _write(folder / "state.pt", lambda file: torch.save(state, file))
    values = {"schema": SCHEMA, "size": size, "sha256": sha256, **meta}
    _write(folder / "meta.json", lambda file: file.write(_sealed(values)))
    sync_folder(folder)


def read_sealed(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Its meta and its state, on the CPU; BadInput if damaged, or refused by the safe loader."""
    meta = _check(folder)
    try:
        state = torch.load(folder / "state.pt", map_location="cpu", weights_only=True)
    except Exception as error:  # the digest is right, so this is what somebody wrote, not a fault
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise BadInput(f"{folder}: refused by the safe loader: {reason}") from error
    if not isinstance(state, dict) or state.get("step") != meta.get("step"):
        raise BadInput(f"{folder}: found another state than meta.json describes")
    return meta, state


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


def _check(folder: Path) -> dict[str, Any]:
    """The meta of a folder whose files are what was written; BadInput if they are not."""
    content = read_json(folder / "meta.json")
    values = content.get("values") if isinstance(content, dict) else None
    if not isinstance(values, dict) or read_bytes(folder / "meta.json") != _sealed(values):
        raise BadInput(f"{folder}: damaged: meta.json does not match its own digest")
    if values["schema"] != SCHEMA:
        raise BadInput(f"{folder}: found schema {values['schema']}, expected {SCHEMA}")
    sha = hashlib.sha256()
    require_file(folder / "state.pt")
    try:
        with (folder / "state.pt").open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size != values["size"]:
                raise BadInput(
                    f"{folder}: damaged: found {size} bytes in state.pt, expected {values['size']}"
                )
            while chunk := file.read(1 << 20):
                sha.update(chunk)
    except OSError as error:
        raise BadInput(f"{folder}: damaged: state.pt: {error.strerror}") from error
    if sha.hexdigest() != values["sha256"]:
        raise BadInput(f"{folder}: damaged: the SHA-256 of state.pt is not the one written with it")
    return {key: value for key, value in values.items() if key not in _OF_THE_SEAL}


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
