"""How files and folders are written: whole or not at all; JSON that any reader accepts; digests.

rename and link are atomic on a local and on a network file system, so a reader never sees half of
a file and a file that must appear once cannot be replaced.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from configs.errors import BadInput


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write `content` to `path` so that the old or the new file is there at any moment."""
    _place(path, content, os.replace)


def write_once(path: Path, content: str | bytes) -> bool:
    """Write `path` unless it exists; True if this call made it."""
    try:
        _place(path, content, os.link)
    except FileExistsError:
        return False
    return True


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill, which becomes `folder` at the end of the block, or is removed if it raises.

    Raises OSError, as for a `folder` that is there and not empty.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=building_prefix(folder), dir=folder.parent))
    try:
        yield building
        place_folder(building, folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def building_prefix(folder: Path) -> str:
    """How the names begin under which `folder` is built, beside its place and out of sight."""
    return f".{folder.name[:100]}."  # what is added must not make the name too long


def place_folder(building: Path, folder: Path) -> None:
    """Give a complete folder its name, which is on disk when this returns."""
    building.chmod(0o755)  # other users of a shared folder read it too
    building.rename(folder)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Force the names in a folder to disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def to_json(value: Any) -> str:
    """Strict JSON (no NaN, no Infinity), two spaces deep, ending in a newline."""
    return json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def parse_json(text: str | bytes) -> Any:
    """The value of strict JSON; ValueError for anything else, NaN and Infinity included."""
    return json.loads(text, parse_constant=_refuse_constant)


def digest(value: Any) -> str:
    """The first 16 hex digits of SHA-256 over canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_json(path: Path) -> Any:
    """Parse strict JSON; BadInput names the file and the place where it is not."""
    try:
        return parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput(f"{path}: not found") from None
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path}: not strict JSON: {error}") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _place(path: Path, content: str | bytes, move: Any) -> None:
    data = content.encode("utf-8") if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        move(name, path)
    finally:
        if os.path.exists(name):
            os.unlink(name)
