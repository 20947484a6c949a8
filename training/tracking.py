"""A run's rows sent to Weights & Biases by a process of its own, which the run never waits for.

The process follows metrics.jsonl, so what is told is what the record rests on, and nothing that the
tracker does (raise, hang, lose its network) can stop or delay a step. It learns that the run has
ended by the end of its standard input, however the run ended, and leaves FINISH_S later at most.
What it says goes to tracking.log beside the rows. Torch-free, and only the process imports wandb.

    WANDB_MODE       online, offline or disabled; not set: online if there is a key, else offline
    WANDB_PROJECT    gpt2-scaling-laboratory, if not set

Offline runs lie in attempt-NNN/wandb; `wandb sync` uploads them. To wandb the attempts at a trial
are one run, of which the one that is synced last stands: so each tells the rows before it, too.
"""

import json
import netrc
import os
import re
import select
import shlex
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from common.errors import BadInput
from common.files import DIGEST, parse_json
from training.config import TrainConfig
from training.trial.attempt import RECORD, Attempt
from training.trial.identity import science, trial_id
from training.trial.metrics import NAME as METRICS
from training.trial.metrics import Row, parse_row, scan_metrics

LOG = "tracking.log"
FINISH_S = 30.0  # from the run's end until the process ends, its wandb done or not
POLL_S = 1.0
PROJECT = "gpt2-scaling-laboratory"
ROOT = Path(__file__).resolve().parent.parent
_HIDDEN = ("time", DIGEST)  # wandb has its own clock
_OFFLINE = "wandb: offline after all"

_leaving: list[subprocess.Popen[bytes]] = []


@dataclass(frozen=True)
class Labels:
    """Where a run stands among others: its sweep, and words to search by."""

    group: str | None = None
    tags: tuple[str, ...] = ()


@contextmanager
def tracked(attempt: Attempt, config: TrainConfig, labels: Labels) -> Iterator[None]:
    """Have the body's run followed, if `runtime.tracking` says so; costs it one start of a process.

    Says in one line if the process could not be started, or failed before the run ended.
    """
    if config.runtime.tracking == "none":
        yield
        return
    print(where_rows_go(attempt.folder), flush=True)
    model = config.model
    size = f"{model.n_layer}x{model.n_embd}"
    asked = {
        "attempt": str(attempt.folder.absolute()),
        "id": "-".join(filter(None, (labels.group, trial_id(config)))),
        "name": f"{size} {config.schedule.tokens:.3g} tokens seed {config.seed}",
        "config": science(config),
        **asdict(labels),
        "tags": [*labels.tags, size],
    }
    process = _start(asked, attempt.folder / LOG)
    try:
        yield
    finally:
        _leaving[:] = [other for other in _leaving if other.poll() is None]
        if process is not None:
            if _OFFLINE in _log_of(attempt):
                print(where_rows_go(attempt.folder, "offline"), flush=True)
            if process.poll():
                print(f"runtime.tracking: it ended with {process.poll()}; see {LOG}")
            assert process.stdin is not None
            with suppress(OSError):
                process.stdin.close()
            _leaving.append(process)  # or it would be called a zombie when it is forgotten


def where_rows_go(place: Path, mode: str | None = None) -> str:
    """The line that says where wandb's rows are to be found, for attempts under `place`.

    `mode` is how wandb runs, where that is known; `place` may hold wildcards.
    """
    mode = mode or wandb_mode()
    if mode == "online":
        return f"runtime.tracking: wandb is online; project {_project()}"
    if mode == "disabled":
        return "runtime.tracking: wandb is disabled by WANDB_MODE"
    why = "" if "WANDB_MODE" in os.environ else " (no key; `wandb login` stores one)"
    path = "/".join(
        part if "*" in part or not part else shlex.quote(part) for part in str(place).split("/")
    )
    return (
        f"runtime.tracking: wandb writes offline{why} into {place}/wandb; to upload it: "
        f"wandb sync {path}/wandb/offline-run-*"
    )


def _project() -> str:
    return os.environ.get("WANDB_PROJECT", PROJECT)


def _log_of(attempt: Attempt) -> str:
    with suppress(OSError):
        return (attempt.folder / LOG).read_text(errors="replace")
    return ""


def _start(asked: Mapping[str, Any], log: Path) -> subprocess.Popen[bytes] | None:
    try:
        with log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "training.tracking"],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is the run's to answer
            )
        assert process.stdin is not None
        os.set_blocking(process.stdin.fileno(), False)
        process.stdin.write(json.dumps(asked).encode() + b"\n")  # a few kB, which the pipe holds
        process.stdin.flush()
        return process
    except OSError as error:
        print(f"runtime.tracking: not started: {error}")
        return None


def main() -> None:
    """The process: follow one run to its end."""
    with suppress(OSError):
        # A CPU that trains has better things to do; at 19 a full one would never start it.
        os.nice(10)
    asked = json.loads(sys.stdin.buffer.readline())
    mode = wandb_mode()
    print(f"wandb: {mode}", flush=True)
    if mode != "disabled":
        _follow(asked, mode)


def wandb_mode(environment: Mapping[str, str] = os.environ) -> str:
    """How wandb is to run: decided before it is asked, since asked without a key it would wait."""
    wanted = environment.get("WANDB_MODE", "online")
    if wanted in ("disabled", "dryrun", "offline"):
        return "disabled" if wanted == "disabled" else "offline"
    return "online" if _has_key(environment) else "offline"


def _has_key(environment: Mapping[str, str]) -> bool:
    if environment.get("WANDB_API_KEY"):
        return True
    host = urlsplit(environment.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    file = environment.get("NETRC", os.path.expanduser("~/.netrc"))
    try:
        return netrc.netrc(file).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _follow(asked: Mapping[str, Any], mode: str) -> None:
    import wandb

    attempt = Path(asked["attempt"])

    def init(mode: Any) -> Any:
        return wandb.init(
            project=_project(),
            group=asked["group"] and asked["group"][:128],
            tags=[tag[:64] for tag in asked["tags"]],
            id=re.sub(r"[^\w.-]", "-", asked["id"])[-64:],
            name=asked["name"],
            config=asked["config"],
            mode=mode,
            dir=str(attempt),
            resume="allow" if mode == "online" else None,
            settings=wandb.Settings(
                console="off", silent=True, disable_git=True, disable_code=True, x_disable_meta=True
            ),
        )

    try:
        run = init(mode)
    except wandb.Error as error:  # a key that is refused, a network that is not there
        print(f"{_OFFLINE}: {error}", flush=True)
        run = init("offline")
    run.define_metric("*", step_metric="step")  # a resumed run repeats steps

    def log(row: Row) -> None:
        run.log({name: value for name, value in row.items() if name not in _HIDDEN})

    # What wandb's server does not have of the attempts before this one.
    there = getattr(run, "resumed", False)
    earlier = deque([] if there else scan_metrics(attempt.parent, before=attempt).rows)
    lines = _lines(attempt / METRICS)
    goes_on = True
    while goes_on:
        goes_on = not _run_has_ended()
        for line in next(lines):
            if row := parse_row(line):
                while earlier and earlier[0]["step"] < row["step"]:
                    log(earlier.popleft())
                earlier.clear()  # this attempt repeats those
                log(row)
    for row in earlier:
        log(row)
    run.summary.update(_record(attempt.parent / RECORD))
    run.finish()


def _run_has_ended() -> bool:
    """Whether standard input has ended, after waiting for that a moment; then little time is left.

    Past it nothing holds this process, whatever wandb does: it keeps what it has on disk.
    """
    if not select.select([sys.stdin], [], [], POLL_S)[0]:
        return False
    timer = threading.Timer(FINISH_S, os._exit, [1])
    timer.daemon = True
    timer.start()
    return True


def _lines(path: Path) -> Iterator[list[bytes]]:
    """At each turn, the lines that were completed since the last."""
    position, rest = 0, b""
    while True:
        with suppress(FileNotFoundError), path.open("rb") as file:
            file.seek(position)
            new = file.read()
            position += len(new)
            *whole, rest = (rest + new).split(b"\n")
            yield whole
            continue
        yield []


def _record(path: Path) -> dict[str, Any]:
    """Numbers and words of the record, if the run has left one."""
    try:
        values = parse_json(path.read_bytes())
    except (OSError, ValueError, BadInput):
        return {}
    return {n: value for n, value in values.items() if value is not None and n != DIGEST}


if __name__ == "__main__":
    main()
