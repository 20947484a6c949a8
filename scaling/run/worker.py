"""One worker: the process that owns some devices of a machine and trains trial after trial on them.

The worker claims trials from the sweep's folder, executes each in a slot (`slots.py`), keeps its
claims alive and judges how each ended. It needs nothing but the folder, so any number of workers,
on any number of machines, may serve one sweep; losing one costs the trials it had in hand their
time since the last checkpoint and nothing else.
"""

import signal
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType

from configs.errors import BadInput, StopRequested
from scaling.plan.grid import Trial
from scaling.run import deaths, leftovers, store
from scaling.run.config import LauncherConfig
from scaling.run.progress import Display, Running
from scaling.run.slots import (
    STOP_SIGNALS,
    STOPPED,
    Slot,
    Task,
)
from training.attempt import Attempt, Busy, Watch, attempts, claim
from training.config import RuntimeConfig, as_mapping
from training.record import RunRecord, blank_record, publish, read_record
from training.trial import write_config

POLL_S = 0.02
RECHECK_S = 0.5
MAX_FRUITLESS_DEATHS = 3


class Worker:
    """Trains what `trials` of the sweep in `out` still lack a record, on `slots`, in their order.

    runtime  replaces that of every trial: where and how to run is this machine's affair
    keep     leave the checkpoints of done trials
    wait     stay until the trials that others own have ended too, and take over those whose owner
             dies; otherwise leave as soon as those owners are known to live
    """

    def __init__(
        self,
        out: Path,
        trials: Sequence[Trial],
        slots: Sequence[Slot],
        runtime: RuntimeConfig,
        display: Display,
        launcher: LauncherConfig,
        *,
        keep: bool = False,
        wait: bool = True,
    ):
        self._out = out
        self._pending = deque(trials)
        self._elsewhere: dict[str, tuple[Trial, Busy]] = {}
        self._free = list(slots)
        self._running: list[Running] = []
        self._runtime = runtime
        self._display = display
        self._launcher = launcher
        self._keep, self._wait = keep, wait
        self._watch = Watch(launcher.lease_s)
        self._last_shape: dict[Slot, str] = {}
        self._next_beat_s = self._next_look_s = 0.0
        self._signs_of_life: tuple[list[str], float] = ([], time.monotonic())
        self._stop_requests = 0
        self._stopping_since_s: float | None = None

    def run(self) -> None:
        """Work until nothing is left to do here.

        Raises StopRequested after SIGINT or SIGTERM, once what ran has saved and ended (or was
        killed after `grace_s`), and KeyboardInterrupt at once on the second; BadInput where the
        sweep's folder refuses to be read or written.
        """
        with self._counting_stop_signals():
            try:
                while self._has_work():
                    time.sleep(POLL_S)
                    self._display.tick(self._running, self._pending, len(self._elsewhere))
            except OSError as error:
                raise BadInput(f"{error.filename or self._out}: {error.strerror}") from error
            finally:
                for running in self._running:
                    running.slot.close()
                    with suppress(OSError):
                        running.attempt.release()
                for slot in self._free:
                    slot.close()

    def _has_work(self) -> bool:
        """One turn of the loop: reap, obey, claim, beat; False when there is no more to do."""
        for running in list(self._running):
            status = running.slot.poll()
            if status is not None:
                self._running.remove(running)
                self._free.append(running.slot)
                self._judge(running, status)
        if self._stop_requests:
            self._drain()
        elif self._free:
            self._fill()
        self._beat()
        if self._running or self._pending:
            return True
        return bool(self._elsewhere) and self._may_wait()

    def _fill(self) -> None:
        """Start pending trials in the free slots, and now and then look at those of others."""
        if self._elsewhere and time.monotonic() >= self._next_look_s:
            self._next_look_s = time.monotonic() + RECHECK_S
            self._pending.extend(trial for trial, _ in self._elsewhere.values())
            self._elsewhere.clear()
        while self._free and self._pending:
            slot = self._free[-1]
            trial = self._next_for(slot)
            folder = store.trial_folder(self._out, trial)
            claimed = claim(folder, self._watch)
            if isinstance(claimed, Busy):
                self._elsewhere[trial.id] = trial, claimed
            elif isinstance(claimed, Attempt):
                self._free.pop()
                self._running.append(Running(trial, claimed, slot, time.monotonic()))
                if slot.compiles:
                    self._last_shape[slot] = _shape(trial)
                config = replace(trial.config, runtime=self._runtime)
                write_config(folder, config)
                tags = (f"{trial.flops_budget:.3g} FLOP", trial.arm)
                group = self._out.absolute().name
                values = as_mapping(config)
                task = Task(str(folder), claimed.number, values, _shape(trial), group, tags)
                self._start(task)
            else:
                self._display.ended(trial, read_record(folder), None, "")

    def _start(self, task: Task) -> None:
        """Start what was added to `_running` last, so that all is given back if that fails."""
        try:
            self._running[-1].slot.start(task)
        except OSError as error:  # the machine's refusal, and not the folder's
            raise BadInput(
                f"launcher.devices: no process for another trial beside {len(self._running) - 1}: "
                f"{error.strerror}; use fewer, or raise this machine's limit"
            ) from error

    def _next_for(self, slot: Slot) -> Trial:
        """The longest trial of the shape that this slot has compiled, else the longest of all."""
        shape = self._last_shape.get(slot)
        same = (index for index, trial in enumerate(self._pending) if _shape(trial) == shape)
        index = next(same, 0) if shape else 0
        trial = self._pending[index]
        del self._pending[index]
        return trial

    def _judge(self, running: Running, status: int) -> None:
        """What the end of a process means for its trial."""
        trial, attempt = running.trial, running.attempt
        elapsed_s = time.monotonic() - running.started_s
        record = read_record(attempt.trial)
        note = ""
        if record is None:
            if attempt.fenced():
                note = "taken over by another worker"
                self._pending.append(trial)
            elif status == STOPPED or self._stop_requests:
                attempt.release()
                note = "stopped; will resume"
                self._pending.append(trial)
            else:
                record, note = self._bury(trial, attempt, status)
        if record and record.status == "done":
            leftovers.finish(attempt.trial, self._keep)
        self._display.ended(trial, record, elapsed_s, note)

    def _bury(self, trial: Trial, attempt: Attempt, status: int) -> tuple[RunRecord | None, str]:
        """A death without a record: another attempt, or after several in vain the end."""
        reason = deaths.note(attempt, status)
        if deaths.fruitless(attempt.trial) >= MAX_FRUITLESS_DEATHS:
            count = len(attempts(attempt.trial))
            reason = f"died {MAX_FRUITLESS_DEATHS} times without a new step: {reason}"
            publish(attempt, blank_record(trial.config, count, "failed", reason))
            return read_record(attempt.trial), ""
        attempt.release()
        self._pending.appendleft(trial)
        return None, f"{reason}; trying again"

    def _drain(self) -> None:
        """Pass a stop request on and wait for what runs to save; raise when all has ended."""
        now = time.monotonic()
        if self._stop_requests > 1:
            raise KeyboardInterrupt
        if self._stopping_since_s is None:
            self._stopping_since_s = now
            for running in self._running:
                running.slot.signal(signal.SIGTERM)
        late = now - self._stopping_since_s > self._launcher.grace_s
        if late or not self._running:
            raise StopRequested(
                f"{len(self._running)} trials were killed after {self._launcher.grace_s:g} s, "
                "and resume from their last checkpoint"
                if self._running
                else "the same command resumes the sweep"
            )

    def _beat(self) -> None:
        """Show that the claims of this worker are alive, at a sixth of the lease."""
        if time.monotonic() >= self._next_beat_s:
            self._next_beat_s = time.monotonic() + self._launcher.lease_s / 6
            for running in self._running:
                with suppress(OSError):  # a full or vanished disk is the checkpoint's to report
                    running.attempt.beat()

    def _may_wait(self) -> bool:
        """Whether to stay for trials that only others work on.

        A dead owner is found by `claim` within the lease. One that lives but whose heartbeat stands
        still (stopped, or hung on a disk) is waited for twice as long, and no longer.
        """
        if not self._wait and all(busy.certain for _, busy in self._elsewhere.values()):
            return False
        now = time.monotonic()
        signs = [store.sign_of_life(self._out, trial) for trial, _ in self._elsewhere.values()]
        if signs != self._signs_of_life[0]:
            self._signs_of_life = (signs, now)
        return now - self._signs_of_life[1] < 2 * self._launcher.lease_s

    @contextmanager
    def _counting_stop_signals(self) -> Iterator[None]:
        def count(number: int, frame: FrameType | None) -> None:
            self._stop_requests += 1

        before = {number: signal.signal(number, count) for number in STOP_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _shape(trial: Trial) -> str:
    """What a compiled step depends on."""
    model, config = trial.config.model, trial.config
    sizes = (model.n_layer, model.n_head, model.n_embd, model.block_size, model.vocab_size)
    return f"{sizes} {config.schedule.batch_tokens} {config.precision}"
