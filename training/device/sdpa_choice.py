"""One attention kernel for all trials of a kind: chosen once in a process, and once in a sweep.

A clock chooses it on a GPU, so that each trial for itself might choose another. A sweep's worker
names a folder to its trial processes, in which the first of them leaves its choice for all. Of a
kind are runs on devices of one name, by one version of torch, in one precision, with heads and
sequences of one size. Torch-free.
"""

import os
import re
from collections.abc import Callable, Container
from contextlib import suppress
from pathlib import Path

from common.errors import BadInput
from common.files import read_json, to_json, write_once

CHOICES = "SDPA_CHOICES"  # the variable that names a sweep's folder
TIMED_ON: tuple[str, ...] = ("cuda",)  # elsewhere a rule chooses, and nothing need be kept

_chosen: dict[tuple[str | None, str], str] = {}


def choose_once(
    kind: str, device_type: str, names: Container[str], choose: Callable[[], str]
) -> str:
    """The kernel for runs of a kind, one of `names`; `choose` is called if none was chosen yet."""
    folder = os.environ.get(CHOICES) if device_type in TIMED_ON else None
    if (known := _chosen.get((folder, kind))) not in names:
        known = _kept(folder, kind, names, choose) if folder else choose()
        _chosen[folder, kind] = known
    assert known is not None
    return known


def _kept(folder: str, kind: str, names: Container[str], choose: Callable[[], str]) -> str:
    """The choice that lies in the folder: an earlier process's, or else this one's."""
    path = Path(folder) / f"{re.sub(r'[^A-Za-z0-9.]+', '-', kind)}.json"

    def found() -> str | None:
        with suppress(BadInput, KeyError, TypeError):  # not there, or not as it was written
            name = read_json(path)["sdpa"]
            return name if name in names else None
        return None

    if (known := found()) is not None:
        return known
    own = choose()
    with suppress(OSError):  # a full disk: then each process has its own
        write_once(path, to_json({"kind": kind, "sdpa": own}))
    return found() or own  # of two that chose at once the first wrote
