"""Files of runs to rows as they were written: tables of any tool, and our own sweep directories.

A row keeps the place it came from, so that a refusal can name it. What a row means is decided in
observations.py; here only what cannot be a table is refused.
"""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.errors import BadInput
from configs.files import read_json, write_atomic
from configs.load import build
from model import flops as counts
from model.config import GPTConfig
from scaling.fit.cells import Row
from training.attempt import RECORD

# The columns of the run table, in the order in which runs.csv has them.
NEEDED = ("params", "tokens", "loss")
_NUMBER_NAMES = """
    flops flops_budget params_total params_non_embedding params_matmul params_effective flops_6nd
    flops_exact loss_se n_layer n_head n_embd vocab_size block_size batch_tokens lr warmup_tokens
    seed wall_s step is_final
"""
_RUN_TABLE_NAMES = """
    run_id params tokens loss flops flops_budget params_total params_non_embedding params_matmul
    params_effective flops_6nd flops_exact loss_se n_layer n_head n_embd vocab_size block_size
    batch_tokens lr warmup_tokens seed status wall_s dataset loss_bpb train_loss epochs reason arm
"""
NUMBERS = tuple(_NUMBER_NAMES.split())
TEXTS = ("run_id", "status", "dataset")
RUN_TABLE = tuple(_RUN_TABLE_NAMES.split())

CSV_ENDINGS = (".csv", ".tsv", ".txt")
_SCHEMA = 1
_LOOKS = (
    (b"\x1f\x8b", "gzip; unpack it first"),
    (b"PK\x03\x04", "a zip or spreadsheet; export it as CSV"),
    (b"\x93NUMPY", "a NumPy array; write a CSV with named columns"),
    (b"\x89HDF", "HDF5; write a CSV with named columns"),
    (b"SQLite format", "an SQLite database; export the table as CSV"),
)


@dataclass(frozen=True)
class Table:
    """Rows of one source; `setting` digests what must agree between sweeps, if known."""

    source: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    setting: str | None = None
    sweep: bool = False


def read_runs(path: Path) -> Table:
    """A sweep directory or a table, whichever `path` is. Raises BadInput."""
    return read_sweep(path) if path.is_dir() else read_table(path)


def read_table(path: Path) -> Table:
    """Read CSV or TSV, JSON lines (or a JSON list), or Parquet, by the file's ending.

    Raises BadInput for what is absent, empty, without rows, or not what the ending says.
    """
    if not path.exists():
        raise BadInput(f"{path}: not found; expected a sweep directory or a table of runs")
    if not path.is_file():
        raise BadInput(f"{path}: not a regular file; expected a sweep directory or a table of runs")
    kind = path.suffix.lower()
    if kind in (".parquet", ".pq"):
        rows = list(_parquet(path))
    else:
        text = read_text(path)
        if kind in (".jsonl", ".ndjson", ".json"):
            rows = list(_json_lines(path, text))
        elif kind in CSV_ENDINGS:
            rows = list(_csv(path, text))
        else:
            raise BadInput(f"{path}: ending {kind!r}, expected .csv, .tsv, .jsonl or .parquet")
    if not rows:
        raise BadInput(f"{path}: no rows; expected one row a run below the column names")
    columns = tuple(dict.fromkeys(name for row in rows for name in row.values))
    return Table(str(path), columns, tuple(rows))


def read_sweep(folder: Path) -> Table:
    """The run table of a sweep directory, one row a planned trial and one a stale record.

    A trial without a record has status `unfinished` and no loss; one that the plan no longer asks
    for is marked stale=1 and read all the same. Raises BadInput.
    """
    plan_path = folder / "plan.json"
    if not plan_path.is_file():
        raise BadInput(f"{folder}: no plan.json in it; expected a sweep directory or a table")
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
    columns = tuple(dict.fromkeys(name for row in rows for name in row.values))
    return Table(str(folder), columns, tuple(rows), setting=plan.get("setting"), sweep=True)


def write_runs_csv(folder: Path) -> Path:
    """Rewrite the derived run table of a sweep directory, atomically; returns its path."""
    table = read_sweep(folder)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(RUN_TABLE)
    for row in table.rows:
        writer.writerow(_cell(row.values.get(name)) for name in RUN_TABLE)
    write_atomic(folder / "runs.csv", text.getvalue())
    return folder / "runs.csv"


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
        values |= {name: value for name, value in record.items() if _is_plain(value)}
        values["params"] = record.get("params_effective")
        values["flops"] = record.get("flops_exact")
    values["run_id"] = trial["id"]
    values["arm"] = arm = trial.get("arm", "grid")
    # A horizon was asked for in tokens; its FLOP are its own, and no budget shared with others.
    values["flops_budget"] = None if arm == "horizons" else trial.get("flops_budget")
    values["stale"] = int(stale)
    return Row(str(path), values)


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float)


def _cell(value: Any) -> Any:
    """Numbers in full; an apostrophe before text that a spreadsheet would run as a formula."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return "'" + value
    return value


def read_text(path: Path) -> str:
    """The text of a table. Raises BadInput for what is empty, binary, or another kind of file."""
    data = path.read_bytes()
    if not data.strip():
        raise BadInput(f"{path}: empty; expected column names and one row a run")
    for magic, looks in _LOOKS:
        if data.startswith(magic):
            raise BadInput(f"{path}: looks like {looks}")
    if data.startswith(b"PAR1"):
        raise BadInput(f"{path}: looks like Parquet; name it with the ending .parquet")
    if data.lstrip().startswith(b"<"):
        raise BadInput(f"{path}: looks like HTML or XML; expected a table of runs")
    if b"\x00" in data:
        raise BadInput(f"{path}: binary (a zero byte); expected text in UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8") from None


def csv_cells(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of each row that is not blank, the column names first."""
    header = next(_lines(text))
    delimiter = max((",", ";", "\t"), key=header.count)
    reader = csv.reader(_lines(text), delimiter=delimiter, strict=True)
    try:
        names = [name.strip() for name in next(reader)]
        _check_names(path, names)
        yield 1, names
        for cells in reader:
            if not any(map(str.strip, cells)):
                continue
            if len(cells) != len(names):
                place = f"{path}:{reader.line_num}"
                raise BadInput(f"{place}: {len(cells)} fields, expected {len(names)} as in line 1")
            yield reader.line_num, cells
    except csv.Error as error:
        raise BadInput(f"{path}:{reader.line_num}: not CSV: {error}") from None


def _lines(text: str) -> Iterator[str]:
    """The lines with their ends, one at a time: a list of them would be as large as the table."""
    return (match.group() for match in re.finditer(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+", text))


def _csv(path: Path, text: str) -> Iterable[Row]:
    rows = csv_cells(path, text)
    _, names = next(rows)
    for line, cells in rows:
        values = dict(zip(names, (cell.strip() or None for cell in cells), strict=True))
        yield Row(f"{path}:{line}", values)


def _json_lines(path: Path, text: str) -> Iterable[Row]:
    if text.lstrip().startswith("["):
        listed = read_json(path)
        items = [(f"{path}[{index}]", item) for index, item in enumerate(listed)]
    else:
        items = []
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip():
                try:
                    items.append((f"{path}:{number}", json.loads(line, parse_constant=str)))
                except (ValueError, RecursionError) as error:
                    raise BadInput(f"{path}:{number}: not JSON: {error}") from None
    for place, item in items:
        if not isinstance(item, dict):
            raise BadInput(f"{place}: found {item!r:.40}, expected an object with named columns")
        yield Row(place, {key: value for key, value in item.items() if _is_plain(value)})


def _parquet(path: Path) -> Iterable[Row]:
    if path.stat().st_size == 0:
        raise BadInput(f"{path}: empty; expected a Parquet table of runs")
    from pyarrow import ArrowException, parquet  # a third of a second, for Parquet alone

    try:
        items = parquet.read_table(path).to_pylist()
    except (ArrowException, OSError, ValueError) as error:
        raise BadInput(f"{path}: not Parquet: {' '.join(str(error).split())}") from None
    for index, item in enumerate(items):
        yield Row(f"{path}[{index}]", {k: v for k, v in item.items() if _is_plain(v)})


def _check_names(path: Path, names: list[str]) -> None:
    for name in names:
        if not name:
            raise BadInput(f"{path}:1: a column without a name; expected a name for each")
        if names.count(name) > 1:
            raise BadInput(f"{path}:1: column {name!r} twice; expected each name once")
