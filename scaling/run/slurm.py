"""A sweep on a Slurm cluster: one sbatch script, an array of workers, submitted once.

Slurm only starts workers (`sweep.py mode=work`); the sweep's folder holds their claims and what a
lost node saved, as anywhere else. A worker that its time limit stops saves, ends with 75 and queues
again; the one that leaves last fits.
"""

import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from common.errors import BadInput, ExitStatus
from common.files import digest, read_json, require_digest, to_json, with_digest, write_atomic
from scaling.run import store, sweep, torchrun, trial_states
from scaling.run.command import Request, fit_config
from scaling.run.config import SlurmConfig
from scaling.run.store import StoredPlan
from scaling.run.trial_states import TrialState
from scaling.run.workers.devices import require_divisible
from training.config import as_mapping

SCRIPT, JOB, LOGS = "sweep.sbatch", "slurm.json", "slurm"
ROOT = Path(__file__).resolve().parent.parent.parent
TIMEOUT_S = 120  # of one of Slurm's commands

_HEAD = """\
#!/bin/bash
# Workers of a sweep, written by `sweep.py launcher=slurm`, which writes it anew each time.
# An edited copy does as well: sbatch FILE.
"""
_BODY = """
# Slurm's warning before the time limit comes to this shell, and the worker has to hear of it.
task="${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID" worker= stopping=
stop() {{ {stop}; }}
trap 'stopping=yes interrupted=yes; [ -z "$worker" ] || stop' TERM
{command} &
worker=$!
[ -z "$stopping" ] || stop
interrupted=yes
while [ -n "$interrupted" ]; do # a signal ends `wait` with its own status, not the worker's
  interrupted=
  wait "$worker" # again after its end: bash keeps the status
  status=$?
done
if [ -n "$stopping" ] && [ "$status" = 143 ]; then
  status={stopped} # told so before it could listen
fi

# Stopped and resumable: queue again. After scancel, and where Slurm itself requeues (preemption, a
# lost node), the state is no longer RUNNING.
if [ "$status" = {stopped} ] && [ "$(squeue -h -j "$SLURM_JOB_ID" -o %T)" = RUNNING ]; then
  if [ "${{SLURM_RESTART_COUNT:-0}}" -lt {requeues} ]; then
    scontrol requeue "$task"
  else
    echo "error: stopped after {requeues} requeues (launcher.slurm.requeues); submit again" >&2
  fi
fi
exit "$status"
"""
_STOP = 'kill -TERM "$worker" 2>/dev/null'
_STOP_STEP = 'scancel --signal=TERM "$task"'  # a signal to srun itself would kill its step


def launch(request: Request) -> Sequence[TrialState] | None:
    """Plan, write the script and submit it; the states instead if no trial is missing.

    Raises BadInput, with nothing submitted, where workers of this sweep are queued or at work, or
    where Slurm does not say, unless launcher.force; and with sbatch's own words if it refuses.
    """
    command, launcher = request.command, request.launcher
    assert launcher.slurm is not None
    if torchrun.is_under_torchrun():
        raise BadInput("launcher: found slurm under torchrun; start workers with one of the two")
    out = command.folder.absolute()
    if launcher.submit and not (_has_ended(out) and not command.extend and not command.retry):
        _require_free(out, launcher.force)
    # How this call submits is no part of the plan.
    planned = replace(request, launcher=replace(launcher, submit=True, force=False))
    stored = sweep.plan_sweep(planned, None)
    if command.retry:
        trial_states.retry(out, stored.plan, command.retry)
    states = trial_states.read_states(out, stored.plan)
    require_divisible(states, launcher)
    missing = sum(state.record is None for state in states)
    if _is_last(stored) and not missing:
        return states
    # A stage before the last does not know how many trials follow it.
    most = missing if _is_last(stored) else launcher.slurm.workers
    script, tasks = out / SCRIPT, min(launcher.slurm.workers, most)
    work = f"{tasks} workers for {missing} trials"
    if not _is_last(stored):
        work += f" of the {stored.plan.stage} stage, and those of later stages"
    (out / LOGS).mkdir(exist_ok=True)  # Slurm does not make it
    write_atomic(script, script_text(request, stored, tasks))
    quoted = shlex.quote(str(out))
    if launcher.submit:
        job = _submit(script)
        submitted = datetime.now(UTC).isoformat(timespec="seconds")
        known = {"job": job, "tasks": tasks, "submitted": submitted}
        write_atomic(out / JOB, to_json(with_digest(known)))
        print(f"submitted job {job}: {work}")
    else:
        print(f"{work}; submit: sbatch {shlex.quote(str(script))}")
    print(
        f"watch:  python sweep.py mode=status out={quoted} watch=true\n"
        f"logs:   {out / LOGS}\n"
        f"report: {out / 'fit' / 'report.html'}, by the worker that leaves last\n"
        "The same command resumes the sweep after any failure, and fits when no trial is left."
    )
    return None


def script_text(request: Request, stored: StoredPlan, tasks: int) -> str:
    """The whole sbatch script for `tasks` workers of the sweep."""
    launcher, out = request.launcher, request.command.folder.absolute()
    slurm = launcher.slurm
    assert slurm is not None
    if not str(out).isprintable():
        raise BadInput(f"out: {str(out)!r}: expected a path without line breaks, for Slurm")
    log = str(out / LOGS / "%A_%a.log").replace("%", "%%").replace("%%A_%%a.log", "%A_%a.log")
    options: dict[str, Any] = {
        "job-name": _job_name(out),
        "array": f"0-{tasks - 1}",
        "output": log,
        "open-mode": "append",
        "signal": f"B:TERM@{launcher.signal_s}",
        "nodes": 1,
        "ntasks": 1,
        **{name: getattr(slurm, name) for name in ("partition", "account", "qos", "constraint")},
        "time": slurm.time,
        "cpus-per-task": slurm.cpus,
        "gpus-per-node": slurm.gpus,
        "mem": slurm.mem,
    }
    lines = ["--requeue"]
    lines += [f"--{key}={_quoted(value)}" for key, value in options.items() if value is not None]
    lines += slurm.extra
    body = _BODY.format(
        command=_command(request, stored, slurm),
        stop=_STOP_STEP if slurm.prefix.partition(" ")[0].endswith("srun") else _STOP,
        stopped=int(ExitStatus.STOPPED),
        requeues=slurm.requeues,
    )
    start = [f"cd {shlex.quote(str(Path.cwd()))} || exit", *slurm.setup]
    return _HEAD + "\n".join([*(f"#SBATCH {line}" for line in lines), "", *start]) + "\n" + body


def _command(request: Request, stored: StoredPlan, slurm: SlurmConfig) -> str:
    """A worker's command: the plan's sweep, with what this call says otherwise than the plan."""
    launcher = as_mapping(request.launcher)
    for name in ("kind", "slurm", "submit", "force"):
        del launcher[name]
    base, asked = as_mapping(stored.plan.base), as_mapping(request.base)
    text = {name: asked["data"][name] for name in ("path", "verify")}  # which may differ from it
    planned_fit = as_mapping(fit_config(request.command, {}, stored.fit))
    overrides = [
        "mode=work",
        "finish=true",
        f"out={request.command.folder.absolute()}",
        *_overrides("launcher", launcher, as_mapping(stored.launcher)),
        *_overrides("runtime", asked["runtime"], base["runtime"]),
        *_overrides("data", text, base["data"]),
        *_overrides("fit", as_mapping(request.fit), planned_fit),
    ]
    if request.command.keep != "none":
        overrides.append(f"keep={request.command.keep}")
    words = [slurm.python or sys.executable, str(ROOT / "sweep.py"), *overrides]
    return " ".join([slurm.prefix, *map(shlex.quote, words)]).strip()


def _overrides(group: str, values: Mapping[str, Any], base: Mapping[str, Any]) -> Iterator[str]:
    """Overrides in Hydra's grammar that turn `base` into `values`."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _overrides(f"{group}.{name}", value, base[name])
        elif value != base.get(name):
            yield f"{group}.{name}={_in_hydras_grammar(value)}"


def _in_hydras_grammar(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_in_hydras_grammar, value)) + "]"
    if isinstance(value, str):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _quoted(value: Any) -> str:
    """The value of an #SBATCH option, as sbatch unquotes it."""
    text = str(value)
    if re.fullmatch(r"[\w./:@%-]+", text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _job_name(out: Path) -> str:
    """One for each folder, so that its workers are found again, whoever submitted them."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", out.name)[:40]
    return f"sweep-{plain}-{digest(str(out.resolve()))[:8]}"


def _has_ended(out: Path) -> bool:
    """Whether every trial of the last stage, if there is a plan, has its record."""
    if not store.has_plan(out):
        return False
    stored = store.read_plan(out)
    return _is_last(stored) and all(s.record for s in trial_states.read_states(out, stored.plan))


def _is_last(stored: StoredPlan) -> bool:
    return stored.plan.stage == "grid"


def submitted_job(out: Path) -> str | None:
    """The job that was submitted last for this sweep; None where none was."""
    if not (out / JOB).exists():
        return None
    values, remedy = read_json(out / JOB), "remove it when squeue shows no job of this sweep"
    job = values.get("job") if isinstance(values, dict) else None
    if not isinstance(job, str):
        raise BadInput(
            f"{out / JOB}: found no id under job, expected that of the job submitted last; {remedy}"
        )
    require_digest(out / JOB, values, remedy)
    return job


def _require_free(out: Path, force: bool) -> None:
    """Refuse a second array beside one that is queued or at work, and where that is unknown."""
    if not shutil.which("sbatch"):
        raise BadInput(
            "launcher: found no sbatch on this machine; submit from one that has it, or write the "
            "script alone with launcher.submit=false"
        )
    if force:
        return
    known = submitted_job(out)
    found: dict[str, Counter[str]] = {}
    for line in _ask("squeue", "--noheader", "--format=%F|%T|%j").splitlines():
        parts = re.fullmatch(r"(\d+)\|([A-Z_]+)\|(.*)", line.strip())
        if not parts:
            raise BadInput(
                f"launcher: squeue said {line[:80]!r}, expected id|STATE|name; nothing was "
                "submitted, since workers may be queued: try again, or launcher.force=true"
            )
        job, state, name = parts.groups()
        if job == known or name == _job_name(out):
            found.setdefault(job, Counter())[state] += 1
    for job, tasks in found.items():
        states = ", ".join(f"{count} {state}" for state, count in tasks.items())
        raise BadInput(
            f"{out}: its job {job} is with Slurm still ({states}), and nothing more was submitted; "
            f"wait for it, end it with scancel {job}, or add workers with launcher.force=true"
        )


def _submit(script: Path) -> str:
    said = _ask("sbatch", "--parsable", str(script)).strip()
    if not re.fullmatch(r"\d+(;\S+)?", said):
        raise BadInput(
            f"launcher: sbatch said {said[:200]!r}, expected a job id; the job may be queued or "
            "not: see squeue before submitting again"
        )
    return said.partition(";")[0]


def _ask(*command: str) -> str:
    """What one of Slurm's commands prints; BadInput with its own words if it fails."""
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S
        )
    except OSError as error:
        raise BadInput(f"launcher: {command[0]}: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise BadInput(f"launcher: {command[0]} said nothing for {TIMEOUT_S} s") from None
    if result.returncode:
        words = " ".join(result.stderr.split()) or "(nothing)"
        hint = {
            "squeue": "; nothing was submitted, since workers may be queued: try again, or "
            "launcher.force=true",
            "sbatch": "; mend launcher.slurm.* and give the same command again",
        }[command[0]]
        raise BadInput(f"launcher: {command[0]} failed: {words[:400]}{hint}")
    return result.stdout
