"""One worker: the process that owns some devices of a machine and trains trial after trial on them.

The worker claims trials from the sweep's folder, executes each in a process of its own
(`processes.py`), keeps its claims alive and judges how each ended. It needs nothing but the folder,
so any number of workers, on any number of machines, may serve one sweep; losing one costs its
running trials their time since the last checkpoint and nothing else.
"""

import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from common.errors import MAKE_ROOM, BadInput, StopRequested, is_disk_full
from scaling.plan.plan import Trial
from scaling.run import cleanup, failures, trial_states
from scaling.run.config import LauncherConfig
from scaling.run.progress import Ended, Progress, Running, tags_of
from scaling.run.trial_states import read_or_set_aside
from scaling.run.workers.packing import Packing, room_left
from scaling.run.workers.processes import DISK_FULL, STOP_SIGNALS, STOPPED, Task, TrialProcess
from scaling.run.workers.trunks import Trunks
from training.config import RuntimeConfig, TrainConfig, as_mapping
from training.device.compilation import graph_key
from training.device.process import counted
from training.trial.attempt import Attempt, Claimed, Watch, attempts, claim, latest_heartbeat
from training.trial.folder import write_config
from training.trial.record import RunRecord, blank_record, publish, read_record

SHAPE_ON_A_CPU = partial(graph_key, kind="cpu", memory_bytes=None, ranks=1)
POLL_S = 0.02
RECHECK_S = 0.5
MAX_CRASHES_WITHOUT_PROGRESS = 3


class Worker:
    """Trains those `trials` of the sweep in `out` that lack a record, by `processes`, in order.

    runtime  replaces that of every trial: where and how to run is this machine's affair
    shape_of  what a trial shares with those that one process may train after it
    data     folder of the prepared data, wherever their text lies
    keep     leave the checkpoints of done trials
    wait     stay until the trials that others own have ended too, and take over those whose owner
             dies; otherwise leave as soon as those owners are known to live
    packing  how trials share a device; None: each has its own
    trunks   which trials begin with others' states; None: none does
    """

    def __init__(
        self,
        out: Path,
        trials: Sequence[Trial],
        processes: Sequence[TrialProcess],
        runtime: RuntimeConfig,
        display: Progress | None,
        launcher: LauncherConfig,
        *,
        shape_of: Callable[[TrainConfig], str] = SHAPE_ON_A_CPU,
        data: Path | None = None,
        keep: bool = False,
        wait: bool = True,
        packing: Packing | None = None,
        trunks: Trunks | None = None,
    ):
        self._out = out
        self._pending = deque(trials)
        self._elsewhere: dict[str, tuple[Trial, Claimed]] = {}
        self._idle = list(processes)
        self._running: list[Running] = []
        self._runtime = runtime
        self._display = display
        self.ended: list[Ended] = []
        self._launcher = launcher
        self._shape_of = shape_of
        self._data = None if data is None else str(data.absolute())
        self._keep, self._wait, self._packing = keep, wait, packing
        self._trunks = trunks or Trunks(out, ())
        self._watch = Watch(launcher.lease_s)
        self._last_shape: dict[TrialProcess, str] = {}
        self._next_beat_s = self._next_look_s = 0.0
        self._signs_of_life: tuple[list[str], float] = ([], time.monotonic())
        self._refusals: Counter[str] = Counter()  # of the disk, by trial
        self._faults = failures.DeviceFaults()
        self._stops: list[int] = []
        self._stopping_since_s: float | None = None

    def run(self) -> None:
        """Work until nothing is left to do here.

        Raises StopRequested after SIGINT or SIGTERM, once what ran has saved and ended (or was
        killed after `grace_s`), and KeyboardInterrupt at once on the second; BadInput where the
        sweep's folder refuses to be read or written.
        """
        with counted(STOP_SIGNALS) as self._stops:
            try:
                while self._has_work():
                    time.sleep(POLL_S)
                    if self._display:
                        self._display.tick(self._running, self._pending, len(self._elsewhere))
            except OSError as error:
                remedy = f"; {MAKE_ROOM}" if is_disk_full(error) else ""
                where = error.filename or self._out
                raise BadInput(f"{where}: {error.strerror}{remedy}") from error
            finally:
                for running in self._running:
                    running.process.close()
                    with suppress(OSError):
                        running.attempt.release()
                for process in self._idle:
                    process.close()

    def _has_work(self) -> bool:
        """One turn of the loop: reap, obey, claim, beat; False when there is no more to do."""
        for running in list(self._running):
            status = running.process.poll()
            if status is not None:
                self._running.remove(running)
                self._idle.append(running.process)
                self._judge(running, status)
        for process in [p for p in self._idle if self._faults.is_out(p.place)]:
            self._idle.remove(process)
            process.close()
        is_full = MAX_CRASHES_WITHOUT_PROGRESS in self._refusals.values()
        if self._stops:
            self._drain()
        elif is_full and not self._running:
            raise BadInput(f"{self._out}: the disk is full; {MAKE_ROOM}")
        elif self._idle and not is_full:
            self._fill()
        self._beat()
        if not self._running and not self._idle:  # no device is left in service
            return False
        if self._running or any(self._trunks.is_ready(trial, True) for trial in self._pending):
            return True
        return bool(self._elsewhere) and self._may_wait()

    def _fill(self) -> None:
        """Start pending trials in the idle processes, and now and then look at those of others."""
        if self._elsewhere and time.monotonic() >= self._next_look_s:
            self._next_look_s = time.monotonic() + RECHECK_S
            self._pending.extend(trial for trial, _ in self._elsewhere.values())
            self._elsewhere.clear()
        while found := self._next_start():
            process, trial = found
            folder = trial_states.trial_folder(self._out, trial)
            outcome = claim(folder, self._watch)
            if isinstance(outcome, Claimed):
                self._elsewhere[trial.id] = trial, outcome
            elif isinstance(outcome, Attempt):
                self._idle.remove(process)
                self._running.append(Running(trial, outcome, process, time.monotonic()))
                shape = self._shape_of(trial.config)
                if process.compiles:
                    self._last_shape[process] = shape
                runtime, packing = self._runtime, self._packing
                runtime = packing.share(outcome, trial.config, runtime) if packing else runtime
                config = replace(trial.config, runtime=self._trunks.kept(trial, runtime))
                write_config(folder, config)
                labels = self._out.absolute().name, tags_of(trial)
                identity = str(folder), outcome.number, as_mapping(config), shape
                self._start(Task(*identity, *labels, self._data, self._trunks.start(trial)))
                self._look_ahead(process)
            else:
                record, note = read_or_set_aside(folder)
                if record is None:
                    self._pending.append(trial)
                self._end(Ended(trial, record, note=note))

    def _end(self, ended: Ended) -> None:
        self.ended.append(ended)
        if self._display:
            self._display.show(ended)

    def _start(self, task: Task) -> None:
        """Start what was added to `_running` last, so that all is given back if that fails."""
        try:
            self._running[-1].process.start(task)
        except OSError as error:  # the machine's refusal, and not the folder's
            raise BadInput(
                f"launcher.devices: no process for another trial beside {len(self._running) - 1}: "
                f"{error.strerror}; use fewer, or raise this machine's limit"
            ) from error

    def _next_start(self) -> tuple[TrialProcess, Trial] | None:
        """An idle process and its next trial, taken from those that wait; None where none fits."""
        ready = [at for at, one in enumerate(self._pending) if self._trunks.is_ready(one)]
        for process in reversed(self._idle if ready else []):
            on_it = (r.trial.config for r in self._running if r.process.place == process.place)
            if (room := room_left(self._packing, on_it)) < 1e-9:
                continue
            # The longest trial of the shape that this process compiled, else the longest of all.
            index = self._first_of(self._last_shape.get(process), ready)
            index = ready[0] if index is None else index
            trial = self._pending[index]
            if self._packing is None or 1 / self._packing.at_once(trial.config) < room + 1e-9:
                del self._pending[index]
                return process, trial
        return None

    def _first_of(self, shape: str | None, among: Iterable[int]) -> int | None:
        """Which of these waiting trials is the longest of a shape; None where none is of it."""
        waiting = ((at, self._pending[at].config) for at in (among if shape else ()))
        return next((at for at, config in waiting if self._shape_of(config) == shape), None)

    def _look_ahead(self, process: TrialProcess) -> None:
        """Have a process begin beside one whose next trial is of another shape than its own."""
        waiting = range(len(self._pending))
        if waiting and self._first_of(self._last_shape.get(process), waiting) is None:
            process.prepare()

    def _judge(self, running: Running, status: int) -> None:
        """Conclude from the end of a process what becomes of its trial."""
        trial, attempt = running.trial, running.attempt
        elapsed_s = time.monotonic() - running.started_s
        out_of_service = self._faults.count(running.process.place, running.started_s, status)
        record, note = read_or_set_aside(attempt.trial)
        if note:
            self._pending.append(trial)
        elif record is None:
            if attempt.is_superseded():
                note = "taken over by another worker"
                self._pending.append(trial)
            elif status == STOPPED or self._stops:
                attempt.release()
                note = "stopped; will resume"
                self._pending.append(trial)
            elif status == DISK_FULL:
                attempt.release()
                note = "the disk is full; trying again"
                self._refusals[trial.id] += 1
                self._pending.append(trial)
            else:
                record, note = self._record_crash(trial, attempt, status)
        if record and record.status == "done":
            cleanup.clean_trial(attempt.trial, self._keep)
            self._trunks.clean(trial)
        note = "; ".join(text for text in (note, out_of_service) if text)
        self._end(Ended(trial, record, elapsed_s, note))

    def _record_crash(
        self, trial: Trial, attempt: Attempt, status: int
    ) -> tuple[RunRecord | None, str]:
        """A crash without a record: another attempt, or after several without progress the end."""
        reason = failures.record_crash(attempt, status)
        if failures.crashes_without_progress(attempt.trial) >= MAX_CRASHES_WITHOUT_PROGRESS:
            count = len(attempts(attempt.trial))
            reason = f"crashed {MAX_CRASHES_WITHOUT_PROGRESS} times without a new step: {reason}"
            publish(attempt, blank_record(trial.config, count, "failed", reason))
            return read_record(attempt.trial), ""
        attempt.release()
        self._pending.appendleft(trial)
        return None, f"{reason}; trying again"

    def _drain(self) -> None:
        """Pass a stop request on and wait for what runs to save; raise when all has ended."""
        now = time.monotonic()
        if len(self._stops) > 1:
            raise KeyboardInterrupt
        if self._stopping_since_s is None:
            self._stopping_since_s = now
            for running in self._running:
                running.process.signal(signal.SIGTERM)
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
        elsewhere = (trial for trial, _ in self._elsewhere.values())
        signs = [
            latest_heartbeat(trial_states.trial_folder(self._out, trial)) for trial in elsewhere
        ]
        if signs != self._signs_of_life[0]:
            self._signs_of_life = (signs, now)
        return now - self._signs_of_life[1] < 2 * self._launcher.lease_s
