"""Temporary folders that carry their owner's name: what a killed one leaves, the next removes."""

import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from common.files import digest, remove
from training.trial.attempt import is_alive, machine, process_identity


@contextmanager
def scratch_folder(
    kind: str, place: Path | None = None, end: Callable[[Path], None] | None = None
) -> Iterator[Path]:
    """A folder for the block, in `place`, or among the temporary files of this machine.

    First those of its kind are removed whose owner, a process of this machine, is dead; `end` is
    called before, for what may still be at work in one.
    """
    place, here = place or Path(tempfile.gettempdir()), digest(machine())[:8]
    for folder in place.glob(f"{kind}-{here}-*"):
        owner = re.fullmatch(rf"{kind}-{here}-(\d+)-(\w+)-.*", folder.name)
        if owner and not is_alive({"pid": int(owner[1]), "pid_start": owner[2]}):
            if end:
                end(folder)
            remove(folder)
    name = f"{kind}-{here}-{os.getpid()}-{process_identity()['pid_start']}-"
    with tempfile.TemporaryDirectory(prefix=name, dir=place, ignore_cleanup_errors=True) as path:
        yield Path(path)
