"""Who trains a trial: claims by folder, proof of life, and the fence against revived owners.

`mkdir attempt-NNN` is the exclusive act, on a local and on a network file system; a later folder
takes a trial over from a dead owner, and an owner that comes back sees it and publishes nothing.
There is no lock to be left behind and no clock to agree on: every span is measured on the
observer's own monotonic clock. Torch-free.
"""

import os
import re
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from common.errors import BadInput
from common.files import read_bytes, read_json, remove_temporaries, to_json, write_atomic

RECORD = "record.json"  # its existence marks the trial as ended
FOR_GOOD = "for-good"  # in a checkpoint of runtime.keep_steps
LEASE_S = 120.0  # as configs/launcher/local.yaml says, by which workers elsewhere judge
BEAT_S = 10.0
OWNERLESS_S = 5.0

_NAME = re.compile(r"attempt-(\d{3,})")


@dataclass(frozen=True)
class Attempt:
    """One claim of a trial: the only folder that its owner writes into, save for the record."""

    trial: Path
    number: int

    @property
    def folder(self) -> Path:
        """trial/attempt-NNN."""
        return self.trial / f"attempt-{self.number:03d}"

    @property
    def checkpoints(self) -> Path:
        """The folder of this attempt's checkpoints."""
        return self.folder / "checkpoints"

    def beat(self) -> None:
        """Count the heartbeat up by one; observers compare the counts, never a time.

        OSError if the folder is gone: a new one in its place would hold half of what a run leaves.
        """
        count = str(_heartbeat(self.folder) + 1)
        write_atomic(self.folder / "heartbeat", count, make_folder=False)

    def is_superseded(self) -> bool:
        """True when a later attempt has taken the trial over: nothing may be published."""
        return any(_number(folder) > self.number for folder in attempts(self.trial))

    def release(self) -> None:
        """Give the trial back though the owner lives on; anyone may claim it at once."""
        write_atomic(self.folder / "released", "")


@dataclass(frozen=True)
class Claimed:
    """The trial has another owner; `certain` is False while its life is not known either way."""

    owner: str
    certain: bool


@dataclass(frozen=True)
class Finished:
    """The trial has its record: there is nothing to claim."""


class Watch:
    """What one process has seen of other owners, so that silence can be timed by its own clock."""

    def __init__(self, lease_s: float = LEASE_S, clock: Callable[[], float] = time.monotonic):
        self.lease_s = lease_s
        self._clock = clock
        self._seen: dict[Path, tuple[int | None, float, bool]] = {}

    def owner(self, folder: Path) -> Claimed | None:
        """The live, or not yet certainly dead, owner of an attempt folder.

        An owner on this machine is looked up in the process table. One on another machine is dead
        when its heartbeat has not moved for `lease_s`, a folder without an owner after
        OWNERLESS_S: both counted from this object's first look.
        """
        if (folder / "released").exists():
            return None
        try:
            owner = read_json(folder / "owner.json")
            name = f"{owner['host']}:{int(owner['pid'])}"
        except (BadInput, KeyError, TypeError, ValueError):
            silent_s, _ = self._silence(folder, None)
            return Claimed("an unknown process", False) if silent_s < OWNERLESS_S else None
        if is_local(owner):
            return Claimed(name, True) if is_alive(owner) else None
        silent_s, has_moved = self._silence(folder, _heartbeat(folder))
        return Claimed(name, has_moved) if silent_s < self.lease_s else None

    def _silence(self, folder: Path, count: int | None) -> tuple[float, bool]:
        """Seconds for which `count` has stood still, and whether it ever moved."""
        now = self._clock()
        last, since, has_moved = self._seen.get(folder, (count, now, False))
        if count != last:
            since, has_moved = now, True
        self._seen[folder] = (count, since, has_moved)
        return now - since, has_moved


def claim(trial: Path, watch: Watch) -> Attempt | Claimed | Finished:
    """Claim a trial for this process (and its children), without waiting.

    The claim holds until the record is published, `release` is called or this process ends.
    An owner elsewhere proves dead only over several calls with the same `watch`.
    """
    if (trial / RECORD).exists():
        return Finished()
    trial.mkdir(parents=True, exist_ok=True)
    earlier = attempts(trial)
    if earlier and (busy := watch.owner(earlier[-1])):
        return busy
    attempt = Attempt(trial, _number(earlier[-1]) + 1 if earlier else 1)
    try:
        attempt.folder.mkdir()
    except FileExistsError:
        return Claimed("a process that claimed it just now", True)
    attempt.beat()
    write_atomic(attempt.folder / "owner.json", to_json(process_identity()))
    if (trial / RECORD).exists():  # published while this claim was made
        shutil.rmtree(attempt.folder)
        return Finished()
    if attempt.is_superseded():  # this process slept between mkdir and its owner file
        return Claimed("a process that took over", True)
    return attempt


def claim_patiently(
    trial: Path, watch: Watch, poll_s: float = 0.25
) -> Attempt | Claimed | Finished:
    """`claim`, waiting (at most `lease_s`) until an owner elsewhere has shown life or is dead."""
    while True:
        result = claim(trial, watch)
        if not isinstance(result, Claimed) or result.certain:
            return result
        time.sleep(poll_s)


def attempts(trial: Path) -> list[Path]:
    """The attempt folders of a trial, oldest first; none if there is no such trial."""
    try:
        names = os.listdir(trial)
    except FileNotFoundError:
        return []
    return sorted((trial / name for name in names if _NAME.fullmatch(name)), key=_number)


def newest_attempt(trial: Path) -> Attempt | None:
    """The last attempt at a trial, if there is any."""
    folders = attempts(trial)
    return Attempt(trial, _number(folders[-1])) if folders else None


def latest_heartbeat(trial: Path) -> str:
    """The newest attempt and its heartbeat, as text that changes while an owner lives."""
    newest = newest_attempt(trial)
    return f"{newest.number} {_heartbeat(newest.folder)}" if newest else ""


def remove_half_written(trial: Path) -> None:
    """Remove the files that killed writers left half-written in a trial's folder."""
    for folder in (trial, *attempts(trial)):
        remove_temporaries(folder)


def remove_checkpoints(trial: Path) -> None:
    """Remove every checkpoint of a trial, of whatever attempt, but those kept for good."""
    for folder in attempts(trial):
        checkpoints = folder / "checkpoints"
        for path in checkpoints.glob("*"):
            if not (path / FOR_GOOD).exists():
                shutil.rmtree(path, ignore_errors=True)
        with suppress(OSError):  # not empty, or not there
            checkpoints.rmdir()


@contextmanager
def beating(attempt: Attempt, interval_s: float | None = None) -> Iterator[None]:
    """Beat from a thread each BEAT_S while the body runs; never in a process that will fork."""
    done = threading.Event()

    def loop() -> None:
        while not done.wait(interval_s or BEAT_S):
            with suppress(OSError):  # a full or vanished disk is the checkpoint's to report
                attempt.beat()

    thread = threading.Thread(target=loop, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _number(folder: Path) -> int:
    match = _NAME.fullmatch(folder.name)
    assert match, folder
    return int(match[1])


def _heartbeat(folder: Path) -> int:
    try:
        return int(read_bytes(folder / "heartbeat", most=100))
    except (BadInput, ValueError):
        return 0


def process_identity() -> dict[str, Any]:
    """Who this process is, for others to look up: host, boot, pid namespace, pid and its start."""
    return {
        **machine(),
        "pid": os.getpid(),
        "pid_start": _pid_start(os.getpid()),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def machine() -> dict[str, Any]:
    """Where a pid means something: host, boot, and the pid namespace (containers share a host)."""
    boot_id: str | None = None
    namespace: str | None = None
    with suppress(OSError):
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = os.readlink("/proc/self/ns/pid")
    return {"host": socket.gethostname(), "boot_id": boot_id, "pid_namespace": namespace}


def is_local(owner: dict[str, Any]) -> bool:
    """Whether the pid of a `process_identity` can be looked up here.

    Cloned machines share a name: another boot may be this machine before it was started anew, or
    another machine, and only silence tells which.
    """
    return all(owner.get(name) == value for name, value in machine().items())


def is_alive(owner: dict[str, Any]) -> bool:
    """Whether a local process is the one that it was: same pid, same start."""
    start = _pid_start(int(owner["pid"]))
    return start is not None and start == owner.get("pid_start")


def _pid_start(pid: int) -> str | None:
    """When a process started, in the kernel's terms; None if it is gone or a zombie."""
    if not os.path.isdir("/proc/self"):
        return _pid_exists(pid)
    try:
        # The second field is the name in parentheses and may hold anything but a last ')'.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else fields[19]


def _pid_exists(pid: int) -> str | None:
    """For systems without /proc: life without a start time."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "unknown"
