"""What each rank tells the others of itself while it works: that it lives, and how far it is.

A thread of every rank says so once a second in the store by which the ranks found each other. It
needs no folder and no GPU, and none of the collectives that may themselves be what hangs.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import FrameType

from torch.distributed import Store

from configs.schema import build

BEAT_S = 1.0
FEW = 64  # other ranks, whose signs are read all the time: who keeps the store may be who hangs
LEAVE_S = 10.0  # who has not left by then is not waited for
GRACE_S = 4.0  # beyond the limit: what raises an error by itself comes first, and says more
_ROOT = str(Path(__file__).resolve().parent.parent.parent) + os.sep
_HERE = str(Path(__file__).resolve().parent) + os.sep


@dataclass(frozen=True)
class Sign:
    """What a rank last said of itself; the `count`-th time that it did.

    step       steps it has finished; None outside of them
    stalled_s  since it got on: began a wait, finished a step or a part of an evaluation
    waits_for  what it waits for by itself: other ranks, or the device; None while it works
    place      the line of this project that its main thread is at
    is_last    whether it leaves the others, and asks their store for nothing more
    """

    count: int
    step: int | None
    stalled_s: float
    waits_for: str | None
    place: str
    is_last: bool = False

    @property
    def text(self) -> str:
        """Where it was, in words."""
        waiting = f", waiting for {self.waits_for}" if self.waits_for else ""
        return f"last at {self.place}{waiting}"


class Heartbeat:
    """The signs of life of one rank, and what it knows of those of the others.

    Among many ranks one reads the others' signs only when it stood still for half of `timeout_s`.
    """

    def __init__(self, store: Store, rank: int, world_size: int, timeout_s: float) -> None:
        self.rank, self.timeout_s = rank, timeout_s
        self._store, self._others = store, [r for r in range(world_size) if r != rank]
        self._main = threading.main_thread().ident
        self._lock = threading.Lock()
        self._finished_steps: Callable[[], int] | None = None
        self._waits_for: str | None = None
        self._marks = 0  # what the main thread did beside steps
        self._progress: tuple[int | None, int] = (None, 0)
        self._time_s, self._looked_at_s = 0.0, time.monotonic()
        self._progress_s = self._answered_s = 0.0
        self._looking_since_s: float | None = None
        self._signs: dict[int, tuple[Sign, float]] = {}  # and when its count last changed
        self._count = 0
        self._over = threading.Event()
        self._say()  # before the others may ask
        self._thread = threading.Thread(target=self._beat, daemon=True, name="ranks' heartbeat")
        self._thread.start()

    def close(self) -> None:
        """Say a last sign, outside of all steps, and fall silent."""
        self._over.set()
        self._thread.join(2 * BEAT_S)  # no longer: the store may be gone

    def leave(self) -> None:
        """Fall silent; rank 0, whose process may keep the store, once the others have.

        torch prints a page of C++ for one that asks a store which is gone.
        """
        self.close()
        until_s = time.monotonic() + LEAVE_S
        with suppress(RuntimeError):
            while self.rank == 0 and time.monotonic() < until_s:
                self._read()
                if all(sign.is_last for sign, _ in self._signs.values()):
                    return
                time.sleep(0.01)

    def mark(self) -> None:
        """Say that this rank got on though no step ended."""
        self._marks += 1

    @contextmanager
    def in_steps(self, finished: Callable[[], int]) -> Iterator[None]:
        """Around the steps of a run, of which `finished` gives the number: only here one hangs."""
        self._finished_steps = finished
        try:
            yield
        finally:
            self._finished_steps = None

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Around a wait of this rank, for others or for its device."""
        self._marks += 1
        self._waits_for = what
        try:
            yield
        finally:
            self._waits_for = None
            self._marks += 1

    @property
    def own(self) -> Sign:
        """This rank's sign now."""
        with self._lock:
            now, finished = self._now(), self._finished_steps
            progress = (finished() if finished else None, self._marks)
            if progress != self._progress:
                self._progress, self._progress_s = progress, now
            stalled_s = now - self._progress_s
            if stalled_s < self.timeout_s / 2:
                self._looking_since_s = None
            elif self._looking_since_s is None:
                self._looking_since_s = now
        place = _place(sys._current_frames().get(self._main or 0))
        return Sign(self._count, progress[0], stalled_s, self._waits_for, place)

    def sign_of(self, rank: int) -> Sign | None:
        """The last known sign of a rank; None if there was no reason to read it."""
        if rank == self.rank:
            return self.own
        return self._signs[rank][0] if rank in self._signs else None

    def silent(self) -> set[int]:
        """Ranks that were looked for and gave no sign for half of `timeout_s`.

        They are dead, stopped, or out of reach. If the store itself is silent, that is rank 0, by
        whom or by whose launcher it is kept.
        """
        _ = self.own  # looks at the clock: the other thread may be waiting for the store
        with self._lock:
            since_s, now, span_s = self._looking_since_s, self._now(), self._patience_s
        if since_s is None or now - since_s <= span_s:
            return set()
        if now - self._answered_s > span_s:
            return {0} - {self.rank}
        heard_s = {rank: self._signs[rank][1] for rank in self._others if rank in self._signs}
        return {r for r in self._others if now - max(heard_s.get(r, 0.0), since_s) > span_s}

    def hung(self) -> set[int]:
        """Ranks for which this one has stood still in its steps for longer than `timeout_s`.

        The silent ones; else those that neither get on nor wait for anything; else, where each
        waits for the others, all. None while any that this one may wait for gets on: in an
        evaluation, ranks end at different times. A rank may find itself.
        """
        own = self.own
        if own.step is None or own.stalled_s <= self.timeout_s + GRACE_S:
            return set()
        signs = {rank: sign for rank, (sign, _) in list(self._signs.items())} | {self.rank: own}
        inside = {rank: sign for rank, sign in signs.items() if sign.step is not None}
        if silent := self.silent() & ({0} | inside.keys()):
            return silent
        if len(inside) < 2:  # the others are done, and nobody waits for this one
            return set()
        late = {rank for rank, sign in inside.items() if sign.stalled_s > self.timeout_s}
        if idle := {rank for rank in late if inside[rank].waits_for is None}:
            return idle
        return late if late == inside.keys() else set()

    def lost(self) -> str:
        """Who of the others is silent, or hangs, and where it was; empty while none is."""
        silent = self.silent()
        says = "no sign of life" if silent else "no progress"
        return "; ".join(f"rank {r}: {says}, {self.text_of(r)}" for r in silent or self.hung())

    def text_of(self, rank: int) -> str:
        """Where a rank was last, in words."""
        sign = self.sign_of(rank)
        return sign.text if sign else "never heard of"

    def holdup(self) -> str:
        """Whom all wait for and where it is, for one of those that wait to tell."""
        signs = {rank: sign for rank, (sign, _) in list(self._signs.items())}
        busy = [rank for rank, sign in signs.items() if sign.waits_for is None]
        first = all(rank > self.rank for rank in signs if rank not in busy)
        return "; ".join(f"rank {r}: {signs[r].text}" for r in busy) if first else ""

    @property
    def _patience_s(self) -> float:
        return max(self.timeout_s / 2, 3 * BEAT_S)

    def _now(self) -> float:
        """Seconds in which this process ran: where all were stopped for a while, none has hung."""
        now = time.monotonic()
        self._time_s += min(now - self._looked_at_s, 3 * BEAT_S)  # threads look each second
        self._looked_at_s = now
        return self._time_s

    def _beat(self) -> None:
        while True:
            is_over = self._over.is_set()
            with suppress(RuntimeError):  # the store is gone: who asks finds it silent
                self._say(is_last=is_over)
                if not is_over:
                    self._look()  # at once, too: who stops in its first second has been heard of
            if is_over:
                return
            self._over.wait(min(BEAT_S, self.timeout_s / 10))

    def _say(self, is_last: bool = False) -> None:
        self._count += 1
        sign = replace(self.own, is_last=is_last)
        self._store.set(_key(self.rank), json.dumps(asdict(sign)))

    def _look(self) -> None:
        if self._looking_since_s is not None or len(self._others) <= FEW:
            self._read()

    def _read(self) -> None:
        values = self._store.multi_get([_key(rank) for rank in self._others])
        with self._lock:
            now = self._answered_s = self._now()
        for rank, value in zip(self._others, values, strict=True):
            sign = build(Sign, json.loads(value))
            known = self._signs.get(rank)
            if known is None or known[0].count != sign.count:
                self._signs[rank] = sign, now


def _key(rank: int) -> str:
    return f"sign-of-rank/{rank}"


def _place(frame: FrameType | None) -> str:
    """The innermost line of this project, outside of this room, of a thread's stack."""
    while frame is not None:
        path = frame.f_code.co_filename
        if path.startswith(_ROOT) and not path.startswith((_HERE, f"{_ROOT}.venv")):
            return f"{path.removeprefix(_ROOT)}:{frame.f_lineno} ({frame.f_code.co_name})"
        frame = frame.f_back
    return "no line of this project"
