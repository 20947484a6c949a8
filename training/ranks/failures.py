"""The ranks of one run to each other: who they are, and which of them ended it.

Each has a file in the attempt's folder, which a rank that is killed or hangs cannot take along:

    attempt-NNN/ranks/1.json   host and pid of rank 1, and in the end its failure report
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch.distributed as dist

from common.errors import BadInput
from common.files import read_json, to_json, write_atomic
from configs.schema import build
from training.ranks.distributed import Ranks, RanksLost
from training.trial.attempt import Attempt, is_alive, is_local, process_identity
from training.trial.metrics import read_tail

PATIENCE_S = 3.0  # for the failure reports of the others
GONE = "process exited without an error report (killed?)"


@dataclass(frozen=True)
class RankFile:
    """What a rank's file says: its process, and its failure report.

    report  None in the steps; "" after them, or when the rank only lost the others
    """

    process: dict[str, Any]
    report: str | None

    @property
    def is_alive(self) -> bool | None:
        """Whether its process lives; None on another machine, or without a file."""
        return is_alive(self.process) if self.process and is_local(self.process) else None


@contextmanager
def failure_report(attempt: Attempt, ranks: Ranks, step: Callable[[], int]) -> Iterator[None]:
    """Around the steps of a run: what ends them early can be had from `cause` on every rank left.

    A rank that only lost the others finds out which of them failed, ends it if it hangs on this
    machine, and raises RanksLost with that. `step` gives the finished steps.
    """
    if ranks.world_size == 1:
        yield
        return
    heartbeat = ranks.heartbeat
    _write(attempt, ranks.rank, None)
    try:
        with heartbeat.in_steps(step) if heartbeat else nullcontext():
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
        _end(hung)
        raise RanksLost(text) from None


@contextmanager
def watchdog(attempt: Attempt, ranks: Ranks, tell: Callable[[str], object]) -> Iterator[None]:
    """End this process soon after another rank died, failed or hung, whatever it waits for.

    Who waits for a GPU, which waits for others, hears no signal and gets no error. A thread looks
    each second, leaves time to find out in the usual way, says what it saw to `tell`, and exits.
    """
    if ranks.world_size == 1:
        yield
        return
    over = threading.Event()

    def watch() -> None:
        while not over.wait(1.0):
            text, hung = _of_hung(attempt, ranks)
            if not text and _of_ended(attempt, ranks) and not over.wait(2 * PATIENCE_S):
                text = _of_ended(attempt, ranks)
            if text and cause(attempt, ranks) is None:  # else it heard, and may save a checkpoint
                _write(attempt, ranks.rank, text)
                tell(text)
                print(text, file=sys.stderr, flush=True)
                _end(hung)
                os._exit(1)

    threading.Thread(target=watch, daemon=True, name="watchdog").start()
    try:
        yield
    finally:
        over.set()


def _of_ended(attempt: Attempt, ranks: Ranks) -> str:
    """Of the ranks on this machine: which is gone, or what one said for which this one waits."""
    if gone := _gone(attempt, ranks):
        step = next((row["step"] for row in reversed(read_tail(attempt.folder))), 0)
        return _sentence(gone, step, GONE)
    if ranks.heartbeat is None or ranks.heartbeat.own.waits_for is None:
        return ""  # it works, perhaps at a checkpoint, and is to hear of it by itself
    files = {rank: read_rank(attempt, rank) for rank in _here(ranks) if rank != ranks.rank}
    return next((file.report for file in files.values() if file.report), "")


def _of_hung(attempt: Attempt, ranks: Ranks) -> tuple[str, list[int]]:
    """Which ranks hang by the signs of life, as `_of_others` tells it; empty while none does."""
    hung = ranks.heartbeat.hung() if ranks.heartbeat else set()
    if not hung:
        return "", []
    assert ranks.heartbeat is not None
    files = {rank: read_rank(attempt, rank) for rank in sorted(hung)}
    text = _sentence(files, ranks.heartbeat.own.step or 0, _no_answer(ranks, files))
    others = [file for rank, file in files.items() if rank != ranks.rank]
    return text, [file.process["pid"] for file in others if file.is_alive]


def _no_answer(ranks: Ranks, guilty: Iterable[int]) -> str:
    """The reason of ranks that hang, and where each was."""
    heartbeat = ranks.heartbeat
    places = [heartbeat.text_of(rank) for rank in guilty] if heartbeat else []
    return ", ".join([f"no answer (runtime.timeout_s={ranks.timeout_s:g})", *dict.fromkeys(places)])


def _end(processes: list[int]) -> None:
    """Kill processes that hang on this machine; torchrun would wait half a minute for each."""
    for pid in processes:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def cause(attempt: Attempt, ranks: Ranks) -> str | None:
    """What ended the steps early as this rank tells it: rank, step, reason; None if nothing did."""
    return read_rank(attempt, ranks.rank).report


def _of_others(
    attempt: Attempt, ranks: Ranks, step: int, error: BaseException
) -> tuple[str, list[int]]:
    """Another rank's failure report; else which ranks are unresponsive, and their processes here.

    Several may be named: who began to wait later than this rank may still wait for the guilty one.
    """
    deadline = time.monotonic() + PATIENCE_S
    while True:
        gone = _gone(attempt, ranks)
        files = {rank: read_rank(attempt, rank) for rank in range(ranks.world_size)}
        reporting = [file for file in files.values() if file.report]
        late = time.monotonic() > deadline
        for file in reporting:
            if late or not file.is_alive:  # its record is the better one
                return file.report or "", []
        if late or gone and not reporting:
            break
        time.sleep(0.05)
    if gone:
        return _sentence(gone, step, GONE), []
    if unresponsive := {rank: file for rank, file in files.items() if file.report is None}:
        text = _sentence(unresponsive, step, _no_answer(ranks, unresponsive))
        return text, [file.process["pid"] for file in unresponsive.values() if file.is_alive]
    return f"rank {ranks.rank}, after step {step}: the ranks lost each other: {error}", []


def _gone(attempt: Attempt, ranks: Ranks) -> dict[int, RankFile]:
    """The ranks of this machine whose process ended without a report.

    Reports are read last: a process that was just alive may have written one before it ended.
    """
    files = {rank: read_rank(attempt, rank) for rank in _here(ranks)}
    ended = [rank for rank, file in files.items() if file.is_alive is False]
    return {rank: files[rank] for rank in ended if read_rank(attempt, rank).report is None}


def _here(ranks: Ranks) -> range:
    """The ranks of this machine: files of all would be asked for each second."""
    first = ranks.rank - ranks.rank % ranks.local_world_size
    return range(first, first + ranks.local_world_size)


def _sentence(guilty: dict[int, RankFile], step: int, reason: str) -> str:
    processes = {rank: file.process for rank, file in guilty.items()}
    names = (
        f"rank {rank} ({process['host']}:{process['pid']})" if process else f"rank {rank}"
        for rank, process in processes.items()
    )
    return f"{' or '.join(names)}, after step {step}: {reason}"


def _is_loss(error: BaseException) -> bool:
    """Whether an error only says that others are gone: ours, NCCL's, or gloo's bare one."""
    return isinstance(error, RanksLost | dist.DistError) or "/gloo/" in str(error)


def _path(attempt: Attempt, rank: int) -> Path:
    return attempt.folder / "ranks" / f"{rank}.json"


def _write(attempt: Attempt, rank: int, report: str | None) -> None:
    path = _path(attempt, rank)
    with suppress(OSError):  # a full disk, or a folder that this node does not see
        path.parent.mkdir(exist_ok=True)  # but not the attempt's folder, if that has vanished
        content = to_json({"process": process_identity(), "report": report})
        write_atomic(path, content, make_folder=False)


def read_rank(attempt: Attempt, rank: int) -> RankFile:
    """What the file of a rank says now; nothing where it cannot be read."""
    try:
        return build(RankFile, read_json(_path(attempt, rank)))
    except BadInput:
        return RankFile({}, None)
