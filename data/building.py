"""The folder in which a data set is built, beside its final place, and how far it has come.

It is locked while its process lives. What a killed process left is taken over where it says how
far it had come, and removed where it does not.
"""

import fcntl
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from configs.errors import BadInput, StopRequested
from configs.files import building_prefix, place_folder, read_json, to_json, write_atomic

ABANDONED_S = 60.0
_LOCK, _PROGRESS = ".lock", ".progress.json"


class Interrupted(BadInput):
    """Bad input that may be had later: what is built is kept for then."""


@contextmanager
def building_folder(folder: Path) -> Iterator[Path]:
    """A folder beside `folder` to build it in, removed at the end unless renamed.

    It stays, with its progress, when the work is interrupted; the next call goes on with it.
    """
    prefix = f"{building_prefix(folder)}{socket.gethostname()}."
    building, descriptor = _take_over(folder.parent, prefix) or _make(folder.parent, prefix)
    kept = False
    try:
        yield building
    except (Interrupted, StopRequested, KeyboardInterrupt, OSError):
        kept = (building / _PROGRESS).exists()
        raise
    finally:
        if not kept:
            shutil.rmtree(building, ignore_errors=True)
        os.close(descriptor)


def save_progress(building: Path, progress: dict[str, Any]) -> None:
    """Note how far the work has come; the files it speaks of are on disk by then."""
    write_atomic(building / _PROGRESS, to_json(progress))


def read_progress(building: Path) -> dict[str, Any] | None:
    """What an earlier process noted last; None where there is nothing to go on from."""
    return read_json(building / _PROGRESS) if (building / _PROGRESS).exists() else None


def publish(building: Path, folder: Path) -> None:
    """Give a complete folder its name."""
    place_folder(building, folder)
    for name in (_LOCK, _PROGRESS):
        (folder / name).unlink(missing_ok=True)


def _make(parent: Path, prefix: str) -> tuple[Path, int]:
    building = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    descriptor = os.open(building / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    with suppress(OSError):  # a file system without locks: there nothing is ever taken over
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    return building, descriptor


def _take_over(parent: Path, prefix: str) -> tuple[Path, int] | None:
    """A folder that nobody holds and that says how far it came; others nobody holds are removed."""
    for left in sorted(parent.glob(f"{prefix}*")):
        descriptor = _hold(left)
        if descriptor is None:
            continue
        with suppress(OSError):
            if (left / _PROGRESS).exists():
                return left, descriptor
            # Between making and locking a folder there is a moment, which the age bridges.
            if time.time() - left.stat().st_mtime > ABANDONED_S:
                shutil.rmtree(left)
        os.close(descriptor)
    return None


def _hold(folder: Path) -> int | None:
    """The locked descriptor of a folder's lock; None if another process has it."""
    try:
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
