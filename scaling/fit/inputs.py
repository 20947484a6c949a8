"""The inputs of a fit: which columns are ours, which rows are asked for, and in what units."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from configs.errors import BadInput
from scaling.fit.cells import listed, number_or_nan, refuse, row_at, same_value
from scaling.fit.columns import Column, Row, Table, stacked
from scaling.fit.config import FitConfig
from scaling.fit.curves import Curves, ends_and_curves, joined, logged_rows
from scaling.fit.names import check_columns, check_known
from scaling.fit.sweeps import read_sweep, sweep_curves
from scaling.fit.tables import read_table
from scaling.fit.tracker import Chart, adopt, chart_curve, is_chart, read_chart, unknown_runs


@dataclass(frozen=True)
class Sources:
    """The inputs as they were read, under our column names.

    table    all rows of all tables
    logged   mask of the rows that are rows of curves
    curves   those of sweep directories, which are in files of their own
    charts   exported charts of the runs
    own      whether all are sweeps of our own
    digests  sha256 of each input, in order
    """

    table: Table
    logged: np.ndarray
    curves: Curves
    charts: Sequence[Chart]
    own: bool
    digests: tuple[str, ...]


@dataclass(frozen=True)
class Inputs:
    """What a fit sees of the sources: a row a run, and the curves."""

    rows: list[Row]
    own: bool
    curves: Curves


def read_sources(config: FitConfig) -> Sources:
    """Read every input, once. Raises BadInput."""
    tables, charts, curves, digests = [], [], [], []
    for path in map(Path, config.paths):
        table = _read(path)
        digests.append(table.digest)
        if is_chart(list(table.columns)):
            charts.append(read_chart(table, config.columns))
        else:
            tables.append(_renamed(adopt(table), config.columns))
            curves.append(sweep_curves(path) if table.sweep else {})
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
    own = all(table.sweep for table in tables) and not charts
    logged = np.concatenate([logged_rows(table) for table in tables])
    return Sources(stacked(tables), logged, joined(curves), charts, own, tuple(digests))


def read_inputs(config: FitConfig, sources: Sources | None = None) -> Inputs:
    """The runs that `config` asks for, and their curves; `sources` if they are read already.

    Raises BadInput.
    """
    sources = sources or read_sources(config)
    _check_excluded(sources, config.exclude)
    keep = _where(sources.table, config.where)
    ends, logged = ends_and_curves(sources.table, keep, sources.logged)
    rows = [_scaled(row, config) for row in ends]
    curves = [sources.curves, _scaled_curves(logged, config)]
    for chart in sources.charts:
        found, unknown = _charted(chart, sources.table, rows, config)
        curves.append(found)
        # A value of `where` says nothing of them; they are listed where all runs are asked for.
        rows += unknown
    names = {str(row.values.get("run_id")) for row in rows}
    together = {name: one for name, one in joined(curves).items() if name in names}
    return Inputs(rows, sources.own, together)


def values_of(sources: Sources, config: FitConfig) -> list[str]:
    """The values of the column `by` among the rows asked for, sorted. Raises BadInput."""
    assert config.by is not None
    check_known(config.by, "by", sources.table.columns)
    keep = _where(sources.table, config.where)
    cells = [cell for block in sources.table.cells(config.by) for cell in block]
    found = set()
    for index in np.flatnonzero(keep).tolist():
        if cells[index] is None:
            row = row_at(sources.table, index)
            raise refuse(row, config.by, "nothing", "a value, since by= names this column")
        found.add(str(cells[index]))
    return sorted(found)


def _read(path: Path) -> Table:
    try:
        return read_sweep(path) if path.is_dir() else read_table(path)
    except OSError as error:
        where = error.filename or path
        raise BadInput(f"{where}: {error.strerror or error}; expected a readable file") from None


def _check_excluded(sources: Sources, exclude: Sequence[str]) -> None:
    """Refuse the name of a run to exclude that is in no input."""
    if not exclude:
        return
    names = {
        str(cell)
        for key in ("run_id", "Name")
        for cells in sources.table.cells(key)
        for cell in cells
        if cell is not None
    }
    names |= {run for chart in sources.charts for run in chart.runs}
    for name in exclude:
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise BadInput(f"exclude: no run {name!r}{hint}")


def _charted(
    chart: Chart, table: Table, rows: Sequence[Row], config: FitConfig
) -> tuple[Curves, list[Row]]:
    """The curves that a chart has for the runs, by Name or ID; and its runs that no table has."""
    curves = {}
    for row in rows:
        names = [str(row.values.get(key)) for key in ("Name", "run_id")]
        run = next((name for name in names if name in chart.runs), None)
        tokens = number_or_nan(row, "tokens")
        if run is not None and tokens > 0:
            unit = config.units.get("tokens", 1.0)
            curves[str(row.values["run_id"])] = chart_curve(chart, run, tokens, unit)
    known = {
        str(cell) for key in ("Name", "run_id") for block in table.cells(key) for cell in block
    }
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


def _renamed(table: Table, columns: Mapping[str, str]) -> Table:
    check_columns(table.source, list(table.columns), columns)
    ours: dict[str, Column] = {name: table.columns[theirs] for name, theirs in columns.items()}
    return replace(table, columns={**table.columns, **ours})


def _where(table: Table, where: Mapping[str, Any]) -> np.ndarray:
    """The mask of the rows with those values. Raises BadInput where none has one of them."""
    keep = np.ones(table.size, dtype=bool)
    for name, wanted in where.items():
        check_known(name, f"where.{name}", table.columns)
        if wanted == []:
            raise BadInput(f"where.{name}: found an empty list, expected a value or more")
        values = wanted if isinstance(wanted, list) else [wanted]
        columns = [[_same(cells, value) for cells in table.cells(name)] for value in values]
        having = [np.concatenate(same) for same in columns]
        before, keep = keep, keep & np.any(having, axis=0)
        absent = [value for value, rows in zip(values, having, strict=True) if not rows.any()]
        if absent or not keep.any():
            cells = [cell for block in table.cells(name) for cell in block]
            there = sorted({str(cells[index]) for index in np.flatnonzero(before).tolist()})
            no = repr(absent[0]) if absent else " or ".join(map(repr, values))
            raise BadInput(f"where.{name}: no row with {no}; there are {listed(there[:12])}")
    return keep


def _same(cells: Sequence[Any], wanted: Any) -> np.ndarray:
    kinds = [(type(cell), cell) for cell in cells]  # 1 and True are one key, but not one value
    known = {kind: same_value(kind[1], wanted) for kind in set(kinds)}
    return np.array([known[kind] for kind in kinds])
