"""The inputs of a fit: which columns are ours, which rows are asked for, and in what units."""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from configs.errors import BadInput
from scaling.fit.cells import Row, number, number_or_nan, positive, refuse, same_value, shown
from scaling.fit.config import FitConfig
from scaling.fit.curves import (
    Curves,
    curve_of_metrics,
    curves_of,
    final_rows,
    joined,
    read_curve_csv,
)
from scaling.fit.tables import (
    CSV_ENDINGS,
    NEEDED,
    NUMBERS,
    TEXTS,
    Table,
    csv_cells,
    read_runs,
    read_text,
)
from scaling.fit.tracker import (
    STEP_AXES,
    Chart,
    adopt,
    chart_curve,
    is_chart,
    read_chart,
    unknown_runs,
)
from training.metrics import read_metrics

__all__ = ["number", "number_or_nan", "positive", "refuse", "same_value", "shown"]

# What others call the three columns without which there is no fit; `normal` makes them alike.
_USUAL_NAMES = {
    "params": """n n_params num_params nparams param_count params_count num_parameters n_parameters
        parameters total_params total_parameters trainable_params trainable_parameters
        num_trainable_params model_params model_parameters model_num_params model_size size""",
    "tokens": """d n_tokens num_tokens ntokens train_tokens training_tokens total_tokens tokens_seen
        seen_tokens tokens_total consumed_tokens consumed_train_tokens num_tokens_seen
        num_input_tokens_seen total_training_tokens throughput_total_tokens t""",
    "loss": """l val_loss valid_loss validation_loss eval_loss final_loss test_loss loss_val
        val_ce_loss eval_ce_loss validation_ce_loss val_cross_entropy eval_cross_entropy
        final_val_loss best_val_loss train_loss""",
}
_CONTAINERS = ("config", "summary", "train", "trainer", "perf", "model")


@dataclass(frozen=True)
class Inputs:
    """What the inputs hold: a row a run, whether all are sweeps of our own, and the curves."""

    rows: list[Row]
    own: bool
    curves: Curves


def read_rows(config: FitConfig) -> tuple[list[Row], bool]:
    """The rows of `read_inputs`, and whether they are sweeps of our own."""
    inputs = read_inputs(config)
    return inputs.rows, inputs.own


def read_inputs(config: FitConfig) -> Inputs:
    """All runs of the inputs under our column names, and their curves. Raises BadInput."""
    tables, curves, charts, rows, read = [], [], [], [], set()
    for path in map(Path, config.paths):
        source = _read(path, config)
        if isinstance(source, Chart):
            charts.append(source)
            continue
        table, found = source
        tables.append(table)
        curves.append(found)
        rows += _rename(table, config.columns)
        if found:  # its rows are the last of curves that were read already
            read |= {row.place for row in table.rows}
    if not tables:
        raise BadInput(
            f"{charts[0].source}: a chart alone has no params and tokens; give the table of its "
            "runs too, as runs=[TABLE,CHART]"
        )
    settings = {table.setting: table.source for table in tables if table.setting is not None}
    if len(settings) > 1:
        (one, first), (other, second) = list(settings.items())[:2]
        raise BadInput(
            f"setting: {first} has {one} and {second} has {other}, expected one; these sweeps "
            "differ in data, tokenizer, evaluation or model family"
        )
    if config.by is not None:
        _known(config.by, "by", rows)
    kept = _where(rows, config.where)
    logged = curves_of([row for row in kept if row.place not in read])
    curves.append(_scaled_curves(logged, config))
    kept = [_scaled(row, config) for row in final_rows(kept)]
    for chart in charts:
        found, unknown = _charted(chart, rows, kept, config)
        curves.append(found)
        # `by` would ask them for a value; they are listed in each of its fits.
        kept += unknown if config.by is None else []
    names = {str(row.values.get("run_id")) for row in kept}
    together = {name: one for name, one in joined(curves).items() if name in names}
    return Inputs(kept, all(table.sweep for table in tables) and not charts, together)


def _read(path: Path, config: FitConfig) -> tuple[Table, Curves] | Chart:
    """A source and those of its curves that are not in its rows."""
    if path.is_dir():
        table = read_runs(path)
        trials = sorted({folder.parent for folder in path.glob("trials/*/attempt-*/")})
        metrics = {trial.name: read_metrics(trial) for trial in trials}
        return table, {name: curve_of_metrics(rows) for name, rows in metrics.items() if rows}
    if path.suffix.lower() not in CSV_ENDINGS or not path.is_file():
        return adopt(read_runs(path)), {}
    text = read_text(path)
    cells = csv_cells(path, text)
    _, names = next(cells)
    if is_chart(names):
        chart = read_chart(path, cells, names, config.columns.get("loss"))
        if chart.axis not in (*STEP_AXES, config.columns.get("tokens")) and not _usual(
            "tokens", chart.axis
        ):
            raise BadInput(
                f"{path}: the axis of the chart is {chart.axis!r}, expected Step or tokens; "
                "export it with such an axis, or map it by columns.tokens="
            )
        return chart
    ours = {name: name for name in (*NEEDED, *NUMBERS, *TEXTS)} | config.columns
    if ours["step"] in names:
        head = Table(str(path), tuple(names), ())
        _check_columns(head, config.columns)
        found = read_curve_csv(path, text, ours, config.where)
        if found is not None:
            rows, curves = found
            return replace(head, rows=tuple(rows)), _scaled_curves(curves, config)
    return adopt(read_runs(path)), {}


def _charted(
    chart: Chart, rows: Sequence[Row], kept: Sequence[Row], config: FitConfig
) -> tuple[Curves, list[Row]]:
    """The curves that a chart has for the runs, by Name or ID; and its runs that no table has."""
    curves, known = {}, set()
    for row in rows:
        known |= {str(row.values[key]) for key in ("Name", "run_id") if row.values.get(key)}
    for row in kept:
        names = [str(row.values.get(key)) for key in ("Name", "run_id")]
        run = next((name for name in names if name in chart.runs), None)
        tokens = number_or_nan(row, "tokens")
        if run is not None and tokens > 0:
            unit = config.units.get("tokens", 1.0)
            curves[str(row.values["run_id"])] = chart_curve(chart, run, tokens, unit)
    return curves, unknown_runs(chart, known)


def _scaled(row: Row, config: FitConfig) -> Row:
    """A row with its numbers in our units; what is no number stays, to be refused as it is."""
    values = {
        name: value * unit
        for name, unit in config.units.items()
        if (value := number_or_nan(row, name)) == value
    }
    return Row(row.place, {**row.values, **values}) if values else row


def _scaled_curves(curves: Curves, config: FitConfig) -> Curves:
    tokens, flops = (config.units.get(name, 1.0) for name in ("tokens", "flops"))
    if tokens == flops == 1.0:
        return curves
    return {
        name: replace(one, tokens=one.tokens * tokens, flops=one.flops * flops)
        for name, one in curves.items()
    }


def _rename(table: Table, columns: Mapping[str, str]) -> list[Row]:
    _check_columns(table, columns)
    if not columns:
        return list(table.rows)
    return [
        Row(row.place, {**row.values, **{ours: row.values.get(columns[ours]) for ours in columns}})
        for row in table.rows
    ]


def _check_columns(table: Table, columns: Mapping[str, str]) -> None:
    for ours, theirs in columns.items():
        if ours not in (*NEEDED, *NUMBERS, *TEXTS):
            near = difflib.get_close_matches(ours, (*NEEDED, *NUMBERS, *TEXTS), 1)
            hint = f"; did you mean columns.{near[0]}?" if near else ""
            raise BadInput(f"columns.{ours}: no column of the run table{hint}")
        if theirs not in table.columns:
            raise BadInput(
                f"columns.{ours}: {table.source} has no column {theirs!r}; "
                f"it has {', '.join(table.columns)}"
            )
    have = {*table.columns, *columns}
    for name in NEEDED:
        if name not in have:
            guess = _nearest(name, table.columns)
            hint = f"; map it, as columns.{name}={guess}" if guess else ""
            raise BadInput(
                f"{table.source}: no column {name!r}; it has {', '.join(table.columns)}{hint}"
            )


def _nearest(name: str, columns: Sequence[str]) -> str | None:
    for usual in _USUAL_NAMES[name].split():
        for column in columns:
            if _plain(column) == usual:
                return column
    for column in columns:
        if _usual(name, column):
            return column
    similar = difflib.get_close_matches(name, columns, 1, 0.5)
    return similar[0] if similar else next((column for column in columns if name in column), None)


def _usual(name: str, column: str) -> bool:
    """Whether a column is called what others call `name`, in any of their folders."""
    usual = {name, *_USUAL_NAMES[name].split()}
    parts = _plain(column).split("_")
    while parts:
        if "_".join(parts) in usual:
            return True
        if parts[0] not in _CONTAINERS:
            return False
        parts = parts[1:]
    return False


def _plain(column: str) -> str:
    """A name in lower case with one underscore between words: `val/loss` is `val_loss`."""
    return "_".join(re.findall(r"[a-z0-9]+", column.lower()))


def _known(name: str, key: str, rows: Sequence[Row]) -> None:
    columns = dict.fromkeys(column for row in rows for column in row.values)
    if name not in columns:
        near = difflib.get_close_matches(name, list(columns), 1)
        hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(columns)}"
        raise BadInput(f"{key}: no column {name!r}{hint}")


def _where(rows: Sequence[Row], where: Mapping[str, Any]) -> list[Row]:
    kept = list(rows)
    for name, wanted in where.items():
        _known(name, f"where.{name}", rows)
        before, kept = kept, [row for row in kept if same_value(row.values.get(name), wanted)]
        if not kept:
            there = sorted({str(row.values.get(name)) for row in before})
            raise BadInput(
                f"where.{name}: no row with {wanted!r}; there are {', '.join(there[:12])}"
            )
    return kept
