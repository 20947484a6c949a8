"""A copy of prepared shards on a disk of this node, made once and read by every trial after."""

import fcntl
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.errors import BadInput
from data.manifest import MANIFEST_NAME, Manifest, read_manifest
from data.tokenizer import TOKENIZER_FILE
from data.verification import check_shards

_POLL_S = 0.2


class _NoCopy(Exception):
    """Why no copy can be made; the shards can be read where they are."""


def local_copy(
    folder: Path, manifest: Manifest, disk: str | None, limit_s: float, full: bool = False
) -> Path:
    """The copy of `folder` in the folder `disk`, made if it is not there; `folder` without a disk.

    Processes of one node may ask at once: one copies, the others wait for it, at most `limit_s`.
    The copy is complete when it has its name, and was compared with the manifest's digests before;
    one that is there is checked as `check_shards` does (`full`: all of it).
    A disk that is full or cannot be written costs a line and the copy, not the run: `folder` then.
    """
    if disk is None:
        return folder
    local = Path(disk)
    target = local / f"{folder.name}-{manifest.digest}"
    try:
        local.mkdir(parents=True, exist_ok=True)
        if not _is_there(target, manifest, full):
            with _alone(local / f".{target.name}.lock", limit_s):
                if not _is_there(target, manifest, full):
                    _copy(folder, manifest, target)
    except _NoCopy as error:
        reason = str(error)
    except OSError as error:
        reason = f"{error.filename or local}: {error.strerror}"
    else:
        return target
    print(f"runtime.stage: {reason}; reading {folder} instead", file=sys.stderr)
    return folder


def _is_there(target: Path, manifest: Manifest, full: bool) -> bool:
    """Whether the copy is whole and still what was copied: a damaged one is made again."""
    try:
        if read_manifest(target).digest != manifest.digest:
            return False
        check_shards(target, manifest, full)
    except BadInput:
        return False
    return True


def _copy(folder: Path, manifest: Manifest, target: Path) -> None:
    """Copy, compare, and give the copy its name; what a killed process left of one is removed."""
    names = [entry.name for split in (manifest.train, manifest.val) for entry in split.shards]
    names += [TOKENIZER_FILE] if manifest.tokenizer_sha256 else []
    needed = sum((folder / name).stat().st_size for name in names)
    partial = target.parent / f".{target.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(target, ignore_errors=True)  # without a manifest that fits it is no copy
    free = shutil.disk_usage(target.parent).free
    if free < needed:
        raise _NoCopy(f"{target.parent} has {free:,} bytes free, the shards need {needed:,}")
    try:
        partial.mkdir()
        for name in (*names, MANIFEST_NAME):
            shutil.copyfile(folder / name, partial / name)
        check_shards(partial, manifest)
        partial.rename(target)
    except BadInput as error:
        raise _NoCopy(f"the copy is not the original: {error}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def _alone(lock: Path, limit_s: float) -> Iterator[None]:
    """Hold a lock that its owner's death gives back; the disk is this node's own, so it works."""
    until = time.monotonic() + limit_s
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise _NoCopy(
                        f"another process has copied for {limit_s:g} s (runtime.timeout_s)"
                    ) from None
                time.sleep(_POLL_S)
        yield
    finally:
        os.close(descriptor)
