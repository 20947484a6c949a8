"""The process of a part: started in a group of its own, which ends with it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gpu_check.context import Context
from benchmarks.timing import ROOT

GRACE_S = 1.5  # from the request to end until the kill


@dataclass(frozen=True)
class Part:
    """Something that is checked, by a process of its own.

    words      what follows the interpreter's name
    measure_s  how long it is measured alone, at most, after it has prepared; 0: it only prepares
    is_first   it runs to its end before all others
    """

    name: str
    words: Sequence[str]
    measure_s: float = 0.0
    is_first: bool = False


class Running:
    """A part at work. It leaves NAME.ready, waits for NAME.go, and writes NAME.log on its way."""

    def __init__(self, part: Part, context: Context) -> None:
        self.part = part
        self._ready = context.path(f"{part.name}.ready")
        self._go = context.path(f"{part.name}.go")
        self.log = context.path(f"{part.name}.log")
        paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(path for path in paths if path),
            "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "TORCHINDUCTOR_CACHE_DIR": str(context.path("inductor")),
        }
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, *part.words],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def has_ended(self) -> bool:
        """Whether the process is gone."""
        return self._process.poll() is not None

    @property
    def is_ready(self) -> bool:
        """Whether it waits to be measured."""
        return self._ready.exists()

    def go(self) -> None:
        """Let it measure."""
        self._go.touch()

    def wait(self, end_s: float, ready_suffices: bool = False) -> None:
        """Until it has ended, or is ready, or the clock says `end_s`."""
        while not self.has_ended and time.time() < end_s:
            if ready_suffices and self.is_ready:
                return
            time.sleep(0.05)

    def outcome(self) -> str:
        """How it ended, in a few words: done, or its status and the end of its log."""
        status = self._process.poll()
        if status == 0:
            return "done"
        lines = self.log.read_text(errors="replace").strip().splitlines()
        last = lines[-1][:200] if lines else "no output"
        return f"failed with status {status}: {last}"

    def stop(self) -> None:
        """Ask the whole group to end, then kill it; never waits long."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(GRACE_S)


def log_of(path: Path, most: int = 20_000) -> str:
    """The end of a log."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - most))
        return file.read().decode(errors="replace")
