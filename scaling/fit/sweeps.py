"""Our own sweep directories as tables: a row a planned trial, and the runs.csv derived from it."""

import csv
import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from configs.errors import BadInput
from configs.files import read_json, write_atomic
from configs.load import build
from model import flops as counts
from model.config import GPTConfig
from scaling.fit.columns import Row, Table, of_rows
from scaling.fit.curves import Curves, curve_of_metrics
from scaling.fit.tables import TABLE_ENDINGS
from training.attempt import RECORD
from training.metrics import read_metrics

# The columns of runs.csv in its order.
_RUN_TABLE_NAMES = """
    run_id params tokens loss flops flops_budget params_total params_non_embedding params_matmul
    params_effective flops_6nd flops_exact loss_se n_layer n_head n_embd vocab_size block_size
    batch_tokens lr warmup_tokens seed status wall_s dataset loss_bpb train_loss epochs reason arm
"""
RUN_TABLE = tuple(_RUN_TABLE_NAMES.split())
_SCHEMA = 1


def read_sweep(folder: Path) -> Table:
    """The run table of a sweep directory, one row a planned trial and one a stale record.

    A trial without a record has status `unfinished` and no loss; one that the plan no longer asks
    for is marked stale=1 and read all the same. Raises BadInput.
    """
    rows, setting = _sweep_rows(folder)
    return of_rows(str(folder), rows, digest=_digest(folder), setting=setting, sweep=True)


def sweep_curves(folder: Path) -> Curves:
    """The training curves of a sweep directory by trial."""
    trials = sorted({attempt.parent for attempt in folder.glob("trials/*/attempt-*/")})
    metrics = {trial.name: read_metrics(trial) for trial in trials}
    return {name: curve_of_metrics(rows) for name, rows in metrics.items() if rows}


def write_runs_csv(folder: Path) -> Path:
    """Rewrite the derived run table of a sweep directory, atomically; returns its path."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(RUN_TABLE)
    for row in _sweep_rows(folder)[0]:
        writer.writerow(_cell(row.values.get(name)) for name in RUN_TABLE)
    write_atomic(folder / "runs.csv", text.getvalue())
    return folder / "runs.csv"


def _sweep_rows(folder: Path) -> tuple[list[Row], str | None]:
    plan_path = folder / "plan.json"
    if not plan_path.is_file():
        expected = f"expected a sweep directory or a table{_tables_in(folder)}"
        raise BadInput(f"{folder}: no plan.json in it; {expected}")
    plan = read_json(plan_path)
    if not isinstance(plan, dict) or not isinstance(plan.get("trials"), list):
        raise BadInput(f"{plan_path}: no list of trials; expected the plan of a sweep")
    if not all(isinstance(trial, dict) and "id" in trial for trial in plan["trials"]):
        raise BadInput(f"{plan_path}: a trial without an id; expected the plan of a sweep")
    if plan.get("schema", _SCHEMA) > _SCHEMA:
        raise BadInput(
            f"{plan_path}: schema {plan['schema']}, expected at most {_SCHEMA}; "
            "a newer version of this program wrote it"
        )
    records = {
        path.parent.name: (path, read_json(path))
        for path in sorted((folder / "trials").glob(f"*/{RECORD}"))
    }
    rows, stale = [], set(plan.get("stale") or ())
    for trial in plan["trials"]:
        path, record = records.pop(trial["id"], (plan_path, None))
        rows.append(_sweep_row(path, trial, record, trial["id"] in stale))
    for name, (path, record) in sorted(records.items()):
        rows.append(_sweep_row(path, {"id": name}, record, stale=True))
    if not rows:
        raise BadInput(f"{plan_path}: no trials; expected at least one")
    return rows, plan.get("setting")


def _sweep_row(path: Path, trial: Mapping[str, Any], record: Any, stale: bool) -> Row:
    if record is not None and not (isinstance(record, dict) and "status" in record):
        raise BadInput(f"{path}: no status; expected the record of a trial")
    values: dict[str, Any] = dict.fromkeys(RUN_TABLE)
    if record is None:
        values["status"] = "unfinished"
        model = build(GPTConfig, trial["config"]["model"]) if "config" in trial else None
        values["params"] = model and counts.params_effective(model)
        values["tokens"] = trial.get("config", {}).get("schedule", {}).get("tokens")
    else:
        plain = (str, int, float, type(None))
        values |= {name: value for name, value in record.items() if isinstance(value, plain)}
        values["params"] = record.get("params_effective")
        values["flops"] = record.get("flops_exact")
    values["run_id"] = trial["id"]
    values["arm"] = arm = trial.get("arm", "grid")
    # A horizon was asked for in tokens; its FLOP are its own, and no budget shared with others.
    values["flops_budget"] = None if arm == "horizons" else trial.get("flops_budget")
    values["stale"] = int(stale)
    return Row(str(path), values)


def _digest(folder: Path) -> str:
    """sha256 of the plan and the records in order of name."""
    digest = hashlib.sha256()
    for path in sorted([folder / "plan.json", *folder.glob(f"trials/*/{RECORD}")]):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _tables_in(folder: Path) -> str:
    """A hint for a folder that is no sweep but has tables."""
    found = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in TABLE_ENDINGS)
    return f"; its tables are read by name, as runs={folder / found[0]}" if found else ""


def _cell(value: Any) -> Any:
    """Numbers in full; an apostrophe before text that a spreadsheet would run as a formula."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return "'" + value
    return value
