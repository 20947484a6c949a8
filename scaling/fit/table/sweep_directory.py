"""Sweep directories as tables, one row per planned trial, and runs.csv, which derives from them."""

import csv
import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import BadInput
from common.files import DIGEST, read_json, require_digest, write_atomic
from common.text import plural
from configs.schema import build
from model import flops as counts
from model.config import GPTConfig
from scaling.fit.flags import Flag
from scaling.fit.left_out import Cell, left_out_line
from scaling.fit.table.curves import Curves, curve_of_metrics
from scaling.fit.table.schema import TABLE_KINDS
from training.trial.attempt import RECORD
from training.trial.metrics import scan_metrics
from training.trial.record import NO_DIGEST, REMEDY, DamagedRecord, RunRecord, read_object

if TYPE_CHECKING:
    from scaling.fit.table.columns import Table

# The columns of runs.csv in its order.
_RUN_TABLE_NAMES = """
    run_id params tokens loss flops flops_budget params_total params_non_embedding params_matmul
    params_effective flops_6nd flops_exact loss_se n_layer n_head n_embd vocab_size block_size
    batch_tokens lr warmup_tokens seed status wall_s dataset loss_bpb train_loss epochs reason arm
    part cooldown_tokens
"""
RUN_TABLE = tuple(_RUN_TABLE_NAMES.split())
_SCHEMA = 1
# What the runs were whose records are earlier than these fields.
_CAME_LATER = {
    field.name: field.default
    for field in fields(RunRecord)
    if isinstance(field.default, str | bool)
}


def read_sweep(folder: Path) -> "Table":
    """The run table of a sweep directory, one row per planned trial and per stale record.

    `part` says what a trial is for. Of a sweep with arms `arm` is the arm, the baseline's rows come
    first, and a trial that several arms ask for has a row in each; else `arm` is the part.

    A trial without a record has status `unfinished` and no loss; one whose record is damaged has
    status `damaged` and none; one that the plan no longer asks for is marked stale=1 and read all
    the same. Raises BadInput.
    """
    # Here alone, since the launcher imports this file and forks: see columns.py.
    from scaling.fit.table.columns import of_rows

    plan = _read_plan(folder)
    rows = _sweep_rows(folder, plan)
    places, values = zip(*rows, strict=True)
    known = {"digest": _digest(folder), "setting": plan.get("setting"), "sweep": True}
    flags = tuple(_record_flags(folder, plan, values))
    return of_rows(str(folder), values, list(map(str, places)), **known, flags=flags)


def sweep_curves(folder: Path) -> tuple[Curves, list[Flag]]:
    """The training curves of a sweep directory by trial, and what their files lack."""
    trials = sorted({attempt.parent for attempt in folder.glob("trials/*/attempt-*/")})
    metrics = {trial.name: scan_metrics(trial) for trial in trials}
    flags = []
    if dropped := sum(one.dropped for one in metrics.values()):
        lines = plural(dropped, "damaged line")
        text = f"{folder}: {lines} of metrics.jsonl left out of the training curves"
        flags.append(Flag("damaged_files", text))
    if undigested := sum(one.undigested for one in metrics.values()):
        rows = plural(undigested, "row of metrics.jsonl", "rows of metrics.jsonl")
        flags.append(Flag("no_digest", f"{folder}: {rows} {NO_DIGEST}"))
    return {name: curve_of_metrics(one.rows) for name, one in metrics.items() if one.rows}, flags


def write_runs_csv(folder: Path) -> Path:
    """Rewrite the derived run table of a sweep directory, atomically; returns its path."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(RUN_TABLE)
    for _, row in _sweep_rows(folder, _read_plan(folder)):
        writer.writerow(_written(row.get(name)) for name in RUN_TABLE)
    write_atomic(folder / "runs.csv", text.getvalue())
    return folder / "runs.csv"


_Row = tuple[Path, dict[str, Any]]  # where it stands, and its values by column


def _read_plan(folder: Path) -> dict[str, Any]:
    path = folder / "plan.json"
    if not path.is_file():
        expected = f"expected a sweep directory or a table{_tables_in(folder)}"
        if (folder / RECORD).is_file():
            expected = "it holds one run of train.py, and a fit needs several: a sweep directory"
        elif any(folder.glob("fit.json")) or any(folder.glob("*/fit.json")):
            expected = "it holds fits, which compare= reads, and no runs"
        raise BadInput(f"{folder}: no plan.json in it; {expected}")
    plan = read_json(path)
    if not isinstance(plan, dict) or not isinstance(plan.get("trials"), list):
        raise BadInput(f"{path}: no list of trials; expected the plan of a sweep")
    require_digest(path, plan, "restore it from a copy")
    schema = plan.get("schema", _SCHEMA)
    if type(schema) is not int or schema > _SCHEMA:
        newer = "; a newer version of this program wrote it" if type(schema) is int else ""
        raise BadInput(f"{path}: schema {schema}, expected at most {_SCHEMA}{newer}")
    stale = plan.get("stale") or []
    if not isinstance(stale, list) or not all(isinstance(name, str) for name in stale):
        raise BadInput(f"{path}: stale: found {stale!r:.60}, expected a list of ids")
    if not isinstance(plan.get("left_out") or [], list):
        raise BadInput(f"{path}: left_out: found {plan['left_out']!r:.60}, expected a list")
    if not all(isinstance(t, dict) and isinstance(t.get("id"), str) for t in plan["trials"]):
        raise BadInput(f"{path}: a trial without an id; expected the plan of a sweep")
    return plan


def _sweep_rows(folder: Path, plan: Mapping[str, Any]) -> list[_Row]:
    plan_path, stale = folder / "plan.json", set(plan.get("stale") or ())
    paths = {path.parent.name: path for path in sorted((folder / "trials").glob(f"*/{RECORD}"))}
    arms, rows = list(_part(_part(plan, "grid"), "arms")), []
    for trial in plan["trials"]:
        path = paths.pop(trial["id"], None)
        place, values = _sweep_row(path or plan_path, trial, path, trial["id"] in stale)
        own = trial.get("arms")
        role = trial.get("arm", "grid")
        named = own if isinstance(own, dict) else {None if arms else role: role}
        for arm, part in named.items():
            rows.append((place, values | _purpose(trial, arm, part)))
    rows.sort(key=lambda row: arms.index(row[1]["arm"]) if row[1]["arm"] in arms else len(arms))
    for name, path in sorted(paths.items()):
        place, values = _sweep_row(path, {"id": name}, path, stale=True)
        rows.append((place, values | _purpose({}, None if arms else "grid", "grid")))
    if not rows:
        raise BadInput(f"{plan_path}: no trials; expected at least one")
    return rows


def _sweep_row(place: Path, trial: Mapping[str, Any], path: Path | None, stale: bool) -> _Row:
    values: dict[str, Any] = dict.fromkeys(RUN_TABLE)
    record: dict[str, Any] = {}
    try:
        record = read_object(path) if path else {"status": "unfinished"}
        if not isinstance(record.get("status"), str):
            raise DamagedRecord(f"{path}: no status; expected the record of a trial{REMEDY}")
    except DamagedRecord as error:
        record = {"status": "damaged", "reason": str(error)}
    plain = (str, int, float, type(None))
    values |= {name: value for name, value in record.items() if isinstance(value, plain)}
    if record["status"] in ("unfinished", "damaged"):
        config = _part(trial, "config")
        model = build(GPTConfig, config["model"], f"{place}: model") if "model" in config else None
        values["params"] = model and counts.params_effective(model)
        values["tokens"] = _part(config, "schedule").get("tokens")
    else:
        values |= {name: was for name, was in _CAME_LATER.items() if name not in record}
        values["params"] = record.get("params_effective")
        values["flops"] = record.get("flops_exact")
    values["run_id"] = trial["id"]
    values["stale"] = int(stale)
    return place, values


def _purpose(trial: Mapping[str, Any], arm: str | None, part: str) -> dict[str, Any]:
    """Which arm asks for a trial, and as which part of the sweep."""
    # A horizon was asked for in tokens; its FLOP are its own, and no budget shared with others.
    budget = None if part == "horizons" else trial.get("flops_budget")
    return {"arm": arm, "part": part, "flops_budget": budget}


def _part(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = values.get(name)
    return part if isinstance(part, dict) else {}


def _record_flags(
    folder: Path, plan: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> Iterator[Flag]:
    """What was asked for and not run, which records are damaged, and what has no digest."""
    if skipped := left_out_line(_skipped_cells(folder, plan), _grid_budgets(plan)):
        yield Flag("left_out_cells", skipped)
    damaged = [row for row in rows if row["status"] == "damaged"]
    if damaged:
        text = f"{plural(len(damaged), 'record')} left out: {damaged[0]['reason']}"
        yield Flag("damaged_files", text)
    ended = [row for row in rows if row["status"] not in ("unfinished", "damaged")]
    bare = sum(row.get(DIGEST) is None for row in ended)
    parts = ["plan.json"] * (plan.get(DIGEST) is None) + [plural(bare, "record")] * bool(bare)
    if parts:
        yield Flag("no_digest", f"{folder}: {' and '.join(parts)} {NO_DIGEST}")


def _skipped_cells(folder: Path, plan: Mapping[str, Any]) -> Iterator[Cell]:
    kinds: dict[str, Any] = {
        "flops_budget": (int, float),
        "n_layer": int,
        "n_embd": int,
        "reason": str,
    }
    for cell in plan.get("left_out") or ():
        given = cell if isinstance(cell, dict) else {}
        if not all(isinstance(given.get(name), kind) for name, kind in kinds.items()):
            found = f"found {str(cell)[:60]!r}, expected a cell with {', '.join(kinds)}"
            raise BadInput(f"{folder / 'plan.json'}: left_out: {found}")
        arm = f"{given['arm']}: " if given.get("arm") else ""
        yield given["flops_budget"], given["n_layer"], given["n_embd"], arm + given["reason"]


def _grid_budgets(plan: Mapping[str, Any]) -> set[float]:
    grid = [
        trial
        for trial in plan["trials"]
        if "grid" in (_part(trial, "arms").values() or (trial.get("arm", "grid"),))
    ]
    budgets = (trial.get("flops_budget") for trial in grid)
    return {budget for budget in budgets if isinstance(budget, int | float)}


def _digest(folder: Path) -> str:
    """sha256 of the plan and the records in order of name."""
    digest = hashlib.sha256()
    for path in sorted([folder / "plan.json", *folder.glob(f"trials/*/{RECORD}")]):
        if path.is_file():
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _tables_in(folder: Path) -> str:
    """A hint for a folder that is no sweep but has tables."""
    found = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in TABLE_KINDS)
    return f"; its tables are read by name, as runs={folder / found[0]}" if found else ""


def _written(value: Any) -> Any:
    """Numbers in full; an apostrophe before text that a spreadsheet would run as a formula."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return "'" + value
    return value
