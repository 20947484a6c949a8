"""The ranks of one run: joining them, agreeing among them, and letting no one wait for ever.

Only plain numbers and JSON travel between ranks: a peer can never make another run code.
"""

import json
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import _set_pg_timeout
from torch.distributed.rendezvous import rendezvous

from common.errors import BadInput, StopRequested
from common.text import one_line
from training.config import RuntimeConfig
from training.device.choose import choose_device
from training.device.memory import Kind
from training.device.process import end_with_parent
from training.ranks.heartbeat import GRACE_S, Heartbeat
from training.trial.identity import differing_fields

NCCL_MARGIN_S = 60.0  # by which NCCL's own limit, which kills without a word, is beyond ours
JOIN_S = 60.0  # at least, for ranks to find each other: their processes start at different times
NO_LIMIT = timedelta(days=365)
_SLICE = timedelta(seconds=0.25)  # of a wait, between which signals are heard
_left: list[dist.ProcessGroup | None] = []  # by _leave


class RanksLost(RuntimeError):
    """Other ranks are gone or did not answer in time."""


@dataclass(frozen=True)
class Ranks:
    """This process among the `world_size` that train one model; `local_*`: on this machine.

    channel    the group by which they agree: of CPUs, so that no GPU waits and errors are Python's
    heartbeat  their signs of life; both None for a rank that has not joined others
    """

    rank: int
    world_size: int
    local_world_size: int
    device: torch.device
    timeout_s: float
    channel: dist.ProcessGroup | None = field(default=None, repr=False, compare=False)
    heartbeat: Heartbeat | None = field(default=None, repr=False, compare=False)

    @property
    def is_main(self) -> bool:
        """Rank 0: the one that claims, writes and prints."""
        return self.rank == 0

    @property
    def kind(self) -> Kind:
        """The kind of the device."""
        return "cuda" if self.device.type == "cuda" else "cpu"

    def sum(self, *values: float) -> list[float]:
        """The sums of `values` over all ranks, in float64; one reduction for all of them."""
        numbers = torch.tensor(values, dtype=torch.float64)
        if self.world_size > 1:
            self._meet("all", lambda group: dist.all_reduce(numbers, group=group, async_op=True))
        return numbers.tolist()

    def sum_in_place(self, numbers: torch.Tensor) -> None:
        """Replace a tensor on `device` by its sum over all ranks; a GPU does so in its own time.

        For what belongs to a step: the wait is limited by `timeout_s`.
        """
        if self.world_size > 1:
            with self.waiting("a sum"), self._naming_loss("a sum"):
                dist.all_reduce(numbers)

    def waiting(self, what: str) -> AbstractContextManager[None]:
        """Around a wait of this rank: it is not the one that hangs."""
        return self.heartbeat.waiting(what) if self.heartbeat else nullcontext()

    def mark_progress(self) -> None:
        """Say that this rank got on though no step ended, as in a long evaluation."""
        if self.heartbeat:
            self.heartbeat.mark()

    def broadcast_from_rank0(self, function: Callable[[], Any]) -> Any:
        """What `function` returns on rank 0 (JSON), on every rank; the others only wait.

        If it fails there it fails everywhere: BadInput with the same text, or RuntimeError.
        """
        if self.world_size == 1:
            return function()
        answer: dict[str, Any] = {}
        if self.is_main:
            try:
                answer = {"value": function()}
            except BadInput as error:
                answer = {"bad_input": str(error)}
            except BaseException as error:
                self._broadcast({"failed": repr(error)})
                raise
        answer = self._broadcast(answer)
        if "bad_input" in answer:
            raise BadInput(answer["bad_input"])
        if "failed" in answer:
            raise RuntimeError(f"rank 0 failed: {answer['failed']}")
        return answer["value"]

    def on_all_ranks(self, function: Callable[[], Any]) -> Any:
        """Call `function` on every rank; if any raises BadInput, all raise the first rank's."""
        if self.world_size == 1:
            return function()
        value, error = None, None
        try:
            value = function()
        except BadInput as caught:
            error = str(caught)
        failed = self.sum(*(float(error is not None and r == self.rank) for r in self._all()))
        if not any(failed):
            return value
        first = failed.index(1.0)
        text = self._broadcast(error, source=first)
        raise BadInput(text if first == 0 else f"rank {first}: {text}")

    def require_same(self, what: str, value: str | dict[str, Any]) -> None:
        """Refuse to train where ranks differ in `what`: their config, their code or their data.

        `value`: text, or a mapping in JSON, of which the fields that differ are told.
        """
        expected = self.broadcast_from_rank0(lambda: value)

        def compare() -> None:
            if isinstance(value, dict):
                if fields := differing_fields(expected, value):
                    raise BadInput(f"{what}: on rank 0 {'; '.join(fields)}")
            elif value != expected:
                raise BadInput(f"{what}: found {value}, expected {expected} as on rank 0")

        self.on_all_ranks(compare)

    def _all(self) -> range:
        return range(self.world_size)

    def _broadcast(self, value: Any, source: int = 0) -> Any:
        """`value` of rank `source` as JSON bytes, on every rank."""
        data = json.dumps(value).encode() if self.rank == source else b""
        size, who = torch.tensor([len(data)]), f"rank {source}"
        self._meet(who, lambda group: dist.broadcast(size, source, group, True))
        content = torch.zeros(int(size), dtype=torch.uint8)
        if self.rank == source:
            content.copy_(torch.frombuffer(bytearray(data), dtype=torch.uint8))
        self._meet(who, lambda group: dist.broadcast(content, source, group, True))
        return json.loads(bytes(content.tolist()))

    def _meet(self, whom: str, start: Callable[[dist.ProcessGroup], Any]) -> None:
        """Wait in a collective of the channel for as long as the others show signs of life.

        One that prepares data may take hours, which is told once. Who is silent for `timeout_s`, or
        hangs in its steps, is lost.
        """
        assert self.channel is not None and self.heartbeat is not None
        tell_s = time.monotonic() + self.timeout_s
        with self._naming_loss(whom), self.heartbeat.waiting(whom):
            work = start(self.channel)
            while not work.is_completed():
                with suppress(RuntimeError):  # the slice is over; or it failed: seen below
                    work.wait(_SLICE)
                if not work.is_completed() and (lost := self.heartbeat.lost()):
                    raise RuntimeError(lost)
                if time.monotonic() > tell_s and (holdup := self.heartbeat.holdup()):
                    tell_s = math.inf
                    print(f"waiting longer than {self.timeout_s:g} s; {holdup}", file=sys.stderr)
            work.wait()

    @contextmanager
    def _naming_loss(self, whom: str) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise RanksLost(
                f"rank {self.rank} of {self.world_size} lost the others while it waited for "
                f"{whom} (limit: runtime.timeout_s={self.timeout_s:g}): {error}"
            ) from error


@contextmanager
def joined(runtime: RuntimeConfig) -> Iterator[Ranks]:
    """Join the ranks that torchrun or a worker started (RANK, WORLD_SIZE, ...), or run alone.

    What belongs to a step goes by gloo between CPUs and by nccl between GPUs; a wait there is
    limited by `runtime.timeout_s`, that of joining by JOIN_S at least. All else goes by gloo.
    """
    rank, world_size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    device = choose_device(runtime.device, int(os.environ.get("LOCAL_RANK", 0)))
    if device.type == "mps" and world_size > 1:
        raise BadInput(f"runtime.device: found mps for {world_size} ranks, expected one rank")
    local_world_size = int(os.environ.get("LOCAL_WORLD_SIZE", world_size))
    ranks = Ranks(rank, world_size, local_world_size, device, runtime.timeout_s)
    if world_size == 1:
        yield ranks
        return
    end_with_parent(signal.SIGTERM)
    limit = timedelta(seconds=max(runtime.timeout_s, JOIN_S))
    with _joining(ranks, limit, "a rendezvous"):
        store, _, _ = next(rendezvous("env://", rank, world_size, timeout=limit))
        store.set_timeout(limit)
        signs = store.clone()
        signs.set_timeout(timedelta(seconds=runtime.timeout_s))
        heartbeat = Heartbeat(signs, rank, world_size, runtime.timeout_s)
    with _joining(ranks, limit, "the group of the steps"):
        dist.init_process_group(
            "nccl" if device.type == "cuda" else "gloo",
            store=store,
            rank=rank,
            world_size=world_size,
            timeout=limit,
            device_id=device if device.type == "cuda" else None,
        )
        _set_pg_timeout(group_timeout(device, runtime.timeout_s))
    with _joining(ranks, limit, "the group of the agreements"):
        channel = dist.new_group(backend="gloo", timeout=limit)
        _set_pg_timeout(NO_LIMIT, channel)
    try:
        yield replace(ranks, channel=channel, heartbeat=heartbeat)
    except (BadInput, StopRequested):
        # By agreement of all: this process may join others for its next task, and gloo's threads
        # may else abort the process at its very end.
        _leave(heartbeat, channel)
        raise
    # Not after an error: the others may be waiting in a collective, and this would wait for them.
    _leave(heartbeat, channel)


@contextmanager
def _joining(ranks: Ranks, limit: timedelta, what: str) -> Iterator[None]:
    """Around a call in which ranks join: if it fails or outlasts its limit, a line and the end.

    torch's own limits do not end it where the process of its store is stopped: a question that is
    given up waits for that process to confirm it.
    """
    joined, limit_s = threading.Event(), limit.total_seconds()

    def end(reason: str) -> NoReturn:
        text = (
            f"error: rank {ranks.rank} of {ranks.world_size} did not join the others in {what} "
            f"(limit: {limit_s:g} s, of runtime.timeout_s and {JOIN_S:g} s the larger): {reason}; "
            "see that each has started, and with the same WORLD_SIZE, MASTER_ADDR and MASTER_PORT"
        )
        print(text, file=sys.stderr, flush=True)
        os._exit(1)

    def watch() -> None:
        if not joined.wait(limit_s + GRACE_S):
            end("no answer: one of them is stopped, or out of reach")

    threading.Thread(target=watch, daemon=True, name="limit of joining").start()
    try:
        yield
    except RuntimeError as error:
        end(one_line(str(error)))
    finally:
        joined.set()


def group_timeout(device: torch.device, timeout_s: float) -> timedelta:
    """The limit of a collective of the steps: an exception on CPUs, the process's end by NCCL.

    NCCL leaves no record and names nobody, so the heartbeat's watch shall come before it.
    """
    return timedelta(seconds=timeout_s + (NCCL_MARGIN_S if device.type == "cuda" else 0))


def _leave(heartbeat: Heartbeat, channel: dist.ProcessGroup) -> None:
    # A group's end waits for its thread and holds the interpreter's lock, which that thread may
    # want to let go of its last work. So it ends when the next is left: by then that is done.
    heartbeat.leave()
    _left[:] = [dist.group.WORLD, channel]
    dist.destroy_process_group()


def end_process(status: int) -> NoReturn:
    """End this process; one rank of several without the interpreter's own end.

    gloo's threads may outlive their group and then abort the process, seldom, while its libraries
    are unloaded: the work is done, and torchrun reports a failed rank.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        sys.exit(status)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
