"""The folder in which a data set is built, beside its final place, and how far it has come.

It is locked while its process lives. What a killed process left is taken over where it says how
far it had come, and removed where it does not, or where the data set has been completed since.
"""

import fcntl
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from common.errors import BadInput
from common.files import read_json, remove, remove_temporaries, to_json, write_atomic
from common.folders import building_prefix, place_folder, temporary_folder
from data.manifest import MANIFEST_NAME

# Between making and locking a folder there is a moment, which an age bridges where the folder
# around it cannot be locked (on NFS); locks of another machine may not be seen on this one.
YOUNG_S, FOREIGN_S = 60.0, 86_400.0
PATIENCE_S = 5.0
_LOCK, _PROGRESS = ".lock", ".progress.json"


class Interrupted(BadInput):
    """Input that may be readable later: what is built is kept for then."""


@contextmanager
def building_folder(folder: Path) -> Iterator[Path]:
    """A folder beside `folder` to build it in, removed at the end unless renamed.

    It stays, with its progress, when the work ends for any reason but input that cannot be used;
    the next call goes on with it.
    """
    with _alone(folder.parent) as alone:
        building, descriptor = _take_over(folder, alone) or _make(folder)
    kept = False
    try:
        yield building
    except BaseException as error:
        useless = isinstance(error, BadInput) and not isinstance(error, Interrupted)
        kept = (building / _PROGRESS).exists() and not useless
        raise
    finally:
        if not kept:
            shutil.rmtree(building, ignore_errors=True)
        os.close(descriptor)
        remove_leftovers(folder)


def save_progress(building: Path, progress: dict[str, Any]) -> None:
    """Note how far the work has come; the files it speaks of are on disk by then."""
    write_atomic(building / _PROGRESS, to_json(progress))


def read_progress(building: Path) -> dict[str, Any] | None:
    """What an earlier process noted last; None where there is nothing to go on from."""
    return read_json(building / _PROGRESS) if (building / _PROGRESS).exists() else None


def publish(building: Path, folder: Path) -> None:
    """Give a complete folder its name."""
    place_folder(building, folder)
    remove_leftovers(folder)


def remove_leftovers(folder: Path) -> None:
    """Remove what nobody works on any more beside and in a data set that is complete.

    What this user may not remove, another's in a shared folder, stays until that user comes by.
    """
    if not (folder / MANIFEST_NAME).is_file():
        return
    for name in (_LOCK, _PROGRESS):
        remove(folder / name)
    remove_temporaries(folder)
    if not any(_others(folder)):
        return
    with suppress(OSError), _alone(folder.parent) as alone:
        for left in _others(folder):
            _remove_dead(left, folder, alone)


def _others(folder: Path) -> Iterator[Path]:
    prefix = building_prefix(folder)
    return (path for path in sorted(folder.parent.iterdir()) if path.name.startswith(prefix))


def _own_prefix(folder: Path) -> str:
    return f"{building_prefix(folder)}{socket.gethostname()}."


def _make(folder: Path) -> tuple[Path, int]:
    building = temporary_folder(folder.parent, _own_prefix(folder))
    descriptor = os.open(building / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    with suppress(OSError):  # a file system without locks: there nothing is ever taken over
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    return building, descriptor


def _take_over(folder: Path, alone: bool) -> tuple[Path, int] | None:
    """A folder that nobody holds and that says how far it came; others nobody holds are removed."""
    for left in _others(folder):
        if not (left / _PROGRESS).exists():
            _remove_dead(left, folder, alone)
        elif left.name.startswith(_own_prefix(folder)):
            descriptor = _hold(left)
            if descriptor is not None:
                if all(os.access(path, os.W_OK) for path in (left, *left.iterdir())):
                    return left, descriptor
                os.close(descriptor)
    return None


def _remove_dead(left: Path, folder: Path, alone: bool) -> None:
    """Remove a folder that no living process holds."""
    with suppress(OSError):
        youngest = max(path.stat().st_mtime for path in (left, *left.iterdir()))
        is_own = left.name.startswith(_own_prefix(folder))
        patience_s = FOREIGN_S if not is_own else 0.0 if alone else YOUNG_S
        if time.time() - youngest < patience_s:
            return
        descriptor = _hold(left)
        if descriptor is not None:
            shutil.rmtree(left, ignore_errors=True)
            os.close(descriptor)


@contextmanager
def _alone(parent: Path) -> Iterator[bool]:
    """Hold a lock on a folder itself, for a moment, and say whether it is held.

    Folders are made and locked, looked at and removed by one process at a time. Not where the file
    system has no such locks, or a process was stopped that has it.
    """
    descriptor = os.open(parent, os.O_RDONLY)
    try:
        held = False
        deadline = time.monotonic() + PATIENCE_S
        while not held and time.monotonic() < deadline:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                held = True
            except BlockingIOError:
                time.sleep(0.05)
            except OSError:
                break
        yield held
    finally:
        os.close(descriptor)


def _hold(folder: Path) -> int | None:
    """The locked descriptor of a folder's lock; None if another process has it, or may have."""
    path = folder / _LOCK
    try:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except PermissionError:  # another user's, which can be locked all the same
            descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
