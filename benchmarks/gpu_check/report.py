"""What the check leaves: a table, and three files that hold all of it."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from benchmarks.gpu_check.context import Context
from benchmarks.gpu_check.processes import log_of
from benchmarks.gpu_check.variants import PROFILE
from common.files import write_atomic
from training.trial.running_code import running_code

LOG, ALL = "log.txt", "all.json"


def write_report(context: Context, ended: Mapping[str, str], out: Path) -> str:
    """Write log.txt, all.json and profile.txt to `out`; the table."""
    logs = sorted(context.path(".").glob("*.log"))
    text = "".join(f"=== {path.stem}\n{log_of(path)}\n" for path in logs)
    write_atomic(out / LOG, text)
    found = {name: _found(context, name) for name in ended}
    commit, dirty = running_code()
    everything = {
        "check": asdict(context),
        "commit": commit,
        "dirty": dirty,
        "ended": dict(ended),
        "parts": {name: part["rows"] for name, part in found.items()},
    }
    write_atomic(out / ALL, json.dumps(everything, indent=1))
    profile = context.path(PROFILE)
    if profile.exists():
        shutil.copy(profile, out / PROFILE)
    else:
        write_atomic(out / PROFILE, "no profile: the step was not measured on a GPU\n")
    lines = []
    for name, outcome in ended.items():
        lines.append(f"{name}: {outcome}")
        lines.extend(f"  {line}" for line in found[name]["lines"])
    return "\n".join(lines)


def _found(context: Context, name: str) -> dict:
    try:
        return json.loads(context.path(f"{name}.json").read_text())
    except FileNotFoundError:
        return {"rows": {}, "lines": []}
