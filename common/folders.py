"""How folders are written: whole or not at all, under a name of their own until complete."""

import fcntl
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from common.errors import BadInput
from common.files import remove, sync_folder

_YOUNG_S = 60.0  # between making and locking a folder there is a moment


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill, which becomes `folder` at the end of the block, or is removed if it raises.

    What a process that was killed over the same `folder` left is removed before. Raises OSError, as
    for a `folder` that is there and not empty.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    for left in folder.parent.iterdir():
        random = left.name.removeprefix(building_prefix(folder))
        if re.fullmatch("[0-9a-f]{8}", random) and left.name != random:
            _remove_dead(left)
    building = temporary_folder(folder.parent, building_prefix(folder))
    descriptor = os.open(building, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks: there nothing is taken for dead
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield building
        place_folder(building, folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)
        os.close(descriptor)


def _remove_dead(left: Path) -> None:
    """Remove a folder that no process holds, unless one may just be about to lock it."""
    with suppress(OSError):
        descriptor = os.open(left, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if time.time() - left.stat().st_mtime > _YOUNG_S:
                remove(left)
        finally:
            os.close(descriptor)


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """`whole_folder` for a command's `out`: BadInput where it exists or cannot be written."""
    if out.exists() or out.is_symlink():
        raise BadInput(f"out: {out}: found something there, expected a new folder; choose another")
    try:
        with whole_folder(out) as building:
            yield building
    except shutil.Error as error:  # of several files: source, target and reason of each
        raise BadInput(f"out: {out}: {error.args[0][0][-1]}") from None
    except OSError as error:
        reason = f"{error.filename or out}: {error.strerror or error}"
        raise BadInput(f"out: {reason}; choose a folder to write in") from None


def building_prefix(folder: Path) -> str:
    """How the names begin under which `folder` is built, beside its place and out of sight."""
    return f".{folder.name[:100]}."  # what is added must not make the name too long


def temporary_folder(parent: Path, prefix: str) -> Path:
    """A new folder of a name of its own; its mode follows the umask, which mkdtemp's does not."""
    while True:
        path = parent / f"{prefix}{secrets.token_hex(4)}"
        with suppress(FileExistsError):
            path.mkdir()
            return path


def place_folder(building: Path, folder: Path) -> None:
    """Give a complete folder its name, which is on disk when this returns.

    Its files get the folder's mode: a library that writes by way of a temporary file (safetensors
    does) leaves it readable by its owner alone.
    """
    mode = building.stat().st_mode & 0o666
    for path in building.rglob("*"):
        if path.is_file() and not path.is_symlink():
            path.chmod(mode)
    building.rename(folder)
    sync_folder(folder.parent)
