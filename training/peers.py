"""The ranks of one run to each other: who they are, and which of them ended it.

Each has a file in the attempt's folder, which a rank that is killed or hangs cannot take along:

    attempt-NNN/ranks/1.json   host and pid of rank 1, and in the end its last words
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch.distributed as dist

from configs.errors import BadInput
from configs.files import read_json, to_json, write_atomic
from training.attempt import Attempt, is_local, lives, myself
from training.distributed import Ranks, RanksLost
from training.metrics import read_tail

PATIENCE_S = 3.0  # for the last words of the others
GONE = "its process ended without a word, as when it is killed"


@contextmanager
def last_words(attempt: Attempt, ranks: Ranks, step: Callable[[], int]) -> Iterator[None]:
    """Around the steps of a run: what ends them early can be had from `cause` on every rank left.

    A rank that only lost the others finds out which of them failed, ends it if it hangs on this
    machine, and raises RanksLost with that. `step` tells the finished steps.
    """
    if ranks.world_size == 1:
        yield
        return
    _write(attempt, ranks.rank, None)
    try:
        yield
        _write(attempt, ranks.rank, "")
    except BaseException as error:
        if threading.current_thread() is threading.main_thread():
            # torchrun's, since another rank ended: here it would only cost the record.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if not _is_loss(error):
            kind = "" if isinstance(error, BadInput) else f"{type(error).__name__}: "
            text = f"rank {ranks.rank}, after step {step()}: {kind}{' '.join(str(error).split())}"
            _write(attempt, ranks.rank, text)
            raise
        _write(attempt, ranks.rank, "")
        text, hung = _of_others(attempt, ranks, step(), error)
        _write(attempt, ranks.rank, text)  # first: who finds them gone shall find why
        for pid in hung:  # torchrun would wait half a minute for it
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        raise RanksLost(text) from None


@contextmanager
def watched(attempt: Attempt, ranks: Ranks, tell: Callable[[str], object]) -> Iterator[None]:
    """End this process soon after a rank on this machine died in its steps, whatever it waits for.

    Who waits for a GPU, which waits for the dead, hears no signal and gets no error. A thread looks
    each second, leaves time to find out in the usual way, says what it saw to `tell`, and exits.
    """
    if ranks.world_size == 1:
        yield
        return
    over = threading.Event()

    def watch() -> None:
        while not over.wait(1.0):
            gone = _gone(attempt, ranks)
            if not gone or over.wait(2 * PATIENCE_S):
                continue
            if cause(attempt, ranks) is None:  # else it heard, and may end with a checkpoint
                step = next((row["step"] for row in reversed(read_tail(attempt.folder))), 0)
                text = _sentence(gone, step, GONE)
                _write(attempt, ranks.rank, text)
                tell(text)
                os._exit(1)

    threading.Thread(target=watch, daemon=True, name="peers").start()
    try:
        yield
    finally:
        over.set()


def cause(attempt: Attempt, ranks: Ranks) -> str | None:
    """What ended the steps early as this rank tells it: rank, step, reason; None if nothing did."""
    return _read(attempt, ranks.rank)["words"]


def _of_others(
    attempt: Attempt, ranks: Ranks, step: int, error: BaseException
) -> tuple[str, list[int]]:
    """What another rank says that it was; else which of them say nothing, though all should.

    And the processes here that do not answer. Several may be named: who began to wait later than
    this rank may still wait for the guilty one.
    """
    deadline = time.monotonic() + PATIENCE_S
    while True:
        gone = _gone(attempt, ranks)
        all_ranks = [_read(attempt, rank) for rank in range(ranks.world_size)]
        speakers = [there for there in all_ranks if there["words"]]
        late = time.monotonic() > deadline
        for there in speakers:
            if late or not _is_here(there):  # its record is the better one
                return there["words"], []
        silent = {r: there for r, there in enumerate(all_ranks) if there["words"] is None}
        if late or gone and not speakers:
            break
        time.sleep(0.05)
    if gone:
        return _sentence(gone, step, GONE), []
    if silent:
        text = _sentence(silent, step, f"no answer (runtime.timeout_s={ranks.timeout_s:g})")
        return text, [there["pid"] for there in silent.values() if _is_here(there)]
    return f"rank {ranks.rank}, after step {step}: the ranks lost each other: {error}", []


def _gone(attempt: Attempt, ranks: Ranks) -> dict[int, dict[str, Any]]:
    """The ranks of this machine whose process ended without a word.

    Words are read last: a process that was just there may have spoken before it ended.
    """
    first = ranks.rank - ranks.rank % ranks.local_world_size  # not all: it is asked each second
    there = {rank: _read(attempt, rank) for rank in range(first, first + ranks.local_world_size)}
    ended = [rank for rank in there if _is_gone(there[rank])]
    return {rank: there[rank] for rank in ended if _read(attempt, rank)["words"] is None}


def _sentence(guilty: dict[int, dict[str, Any]], step: int, reason: str) -> str:
    names = (
        f"rank {rank} ({there['host']}:{there['pid']})" if "pid" in there else f"rank {rank}"
        for rank, there in guilty.items()
    )
    return f"{' or '.join(names)}, after step {step}: {reason}"


def _is_loss(error: BaseException) -> bool:
    """Whether an error only says that others are gone: ours, NCCL's, or gloo's bare one."""
    return isinstance(error, RanksLost | dist.DistError) or "/gloo/" in str(error)


def _is_here(there: dict[str, Any]) -> bool:
    return "pid" in there and is_local(there) and lives(there)


def _is_gone(there: dict[str, Any]) -> bool:
    return "pid" in there and is_local(there) and not lives(there)


def _file(attempt: Attempt, rank: int) -> Path:
    return attempt.folder / "ranks" / f"{rank}.json"


def _write(attempt: Attempt, rank: int, words: str | None) -> None:
    """`words`: None in the steps, "" after them or when the others were lost."""
    with suppress(OSError):  # a full disk, or a folder that this node does not see
        os.stat(attempt.folder)  # else it would be made
        write_atomic(_file(attempt, rank), to_json({**myself(), "words": words}))


def _read(attempt: Attempt, rank: int) -> dict[str, Any]:
    try:
        return read_json(_file(attempt, rank))
    except BadInput:
        return {"words": None}
