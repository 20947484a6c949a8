"""The inputs of a fit: which columns are ours, which rows are asked for, and in what units."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from common.errors import BadInput
from common.text import listed, plural
from scaling.fit.config import FitConfig
from scaling.fit.flags import Flag
from scaling.fit.table.columns import Table, stacked
from scaling.fit.table.curves import LOGGED, Curves, ends_and_curves, joined, logged_rows
from scaling.fit.table.derive import with_derived
from scaling.fit.table.filters import asked_rows
from scaling.fit.table.hints import remedy
from scaling.fit.table.loss_unit import in_nats
from scaling.fit.table.melted import unmelted
from scaling.fit.table.readers import read_table
from scaling.fit.table.remarks.of_columns import remarks
from scaling.fit.table.schema import (
    COUNTS,
    NEEDED,
    OURS,
    as_compared,
    check_known,
    did_you_mean,
)
from scaling.fit.table.sweep_directory import read_sweep, sweep_curves
from scaling.fit.table.wandb_export import Chart, adopt, is_chart, read_chart, with_status
from scaling.fit.table.written_numbers import with_decimal_comma

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sources:
    """The inputs as they were read, under our column names.

    table    all rows of all tables
    logged   mask of the rows that are rows of curves
    curves   those of sweep directories, which are in files of their own
    charts   exported charts of the runs
    own      whether all are sweeps of our own
    digests  sha256 of each input, in order
    flags    what to know of the files of sweep directories
    """

    table: Table
    logged: np.ndarray
    curves: Curves
    charts: Sequence[Chart]
    own: bool
    digests: tuple[str, ...]
    flags: tuple[Flag, ...]


@dataclass(frozen=True)
class Inputs:
    """What a fit sees of the sources: a row a run, and the curves.

    rows   those of a table of curves; None where there is none
    flags  what to tell of the columns and rows that were read
    """

    runs: Table
    own: bool
    curves: Curves
    rows: int | None = None
    flags: tuple[Flag, ...] = ()


def read_sources(config: FitConfig, given: Table | None = None) -> Sources:
    """Read every input, once; `given` is the only one where it is no file. Raises BadInput."""
    tables: list[Table] = []
    charts, curves, digests = [], [], []
    flags: list[Flag] = []
    for path in map(Path, config.paths):
        table = _read(path, config) if given is None else given
        digests.append(table.digest)
        if is_chart(table.names):
            charts.append(read_chart(table, config.columns, config.loss_unit))
        else:
            table, spread = (table, []) if table.sweep else unmelted(table, config)
            flags += spread
            table, derived = with_derived(adopt(table), config.derive, config.columns, config.units)
            table = with_status(_renamed(table, config))
            tables.append(table if table.sweep else in_nats(table, config.loss_unit))
            flags += derived
            if table.sweep:
                logged_curves, found = sweep_curves(path)
                curves.append(logged_curves)
                flags += [*table.flags, *found]
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
    tables = _without_pasted(tables, flags)
    is_curves = config.rows == "auto"
    logged = np.concatenate([logged_rows(table) & is_curves for table in tables])
    table = stacked(tables)
    if logged.any():
        table = table.as_numbers(LOGGED)
    return Sources(table, logged, joined(curves), charts, own, tuple(digests), tuple(flags))


def read_inputs(config: FitConfig, sources: Sources | None = None) -> Inputs:
    """The runs that `config` asks for, and their curves; `sources` if they are read already.

    Raises BadInput.
    """
    sources = sources or read_sources(config)
    _check_excluded(sources, config.exclude)
    table = replace(sources.table, units=config.units)
    keep = asked_rows(table, config.where)
    runs, logged = ends_and_curves(table, keep, sources.logged)
    flags = [] if sources.own else list(remarks(runs, config))
    curves, tables = [sources.curves, logged], [runs]
    for chart in sources.charts:
        flags += chart.group_flags(runs)
        curves.append(chart.curves_of(runs))
        # A value of `where` says nothing of them; they are listed where all runs are asked for.
        if (unknown := chart.unknown_runs(table, _run_names(table))) is not None:
            tables.append(unknown)
    if len(tables) > 1:
        runs = replace(stacked(tables), units=config.units)
    names = set(runs.texts("run_id"))
    together = {name: one for name, one in joined(curves).items() if name in names}
    rows = int((keep & sources.logged).sum()) or None
    return Inputs(runs, sources.own, together, rows, tuple(flags))


def values_of(sources: Sources, config: FitConfig, column: str) -> list[str]:
    """The values by which the rows asked for are told apart, sorted. Raises BadInput.

    Each row has one, but the trials of a sweep that none of its arms asks for any more.
    """
    found, empty = asked_values(sources, config, column)
    if empty and not (sources.own and column == "arm"):
        row, more = empty[0], f" (so have {len(empty) - 1} rows more)" if empty[1:] else ""
        others = f"one in each row, as {listed(found)}, since the runs are fitted by it{more}"
        cure = f"fill it in, or leave it out by 'where.{column}=!=null'"
        raise sources.table.refusal(row, column, "nothing", f"{others}; {cure}")
    return found


def asked_values(sources: Sources, config: FitConfig, name: str) -> tuple[list[str], Sequence[int]]:
    """The values of a column among the rows asked for, sorted, and the rows that have none.

    Of values that `where` takes for one, as 1 and 1.0, the first. Raises BadInput.
    """
    check_known(name, "by", sources.table.names)
    table = replace(sources.table, units=config.units)
    keep = asked_rows(table, config.where)
    index, values = table.distinct(name)
    texts = sorted(str(values[at]) for at in np.unique(index[keep & (index >= 0)]))
    found = {as_compared(text): text for text in reversed(texts)}
    empty = np.flatnonzero(keep & (index < 0)).tolist()
    return sorted(found.values()), [r for r in empty if table.run_name(r) not in config.exclude]


def _read(path: Path, config: FitConfig) -> Table:
    _log.info("reading %s", path)
    try:
        table = read_sweep(path) if path.is_dir() else read_table(path)
    except OSError as error:
        where = error.filename or path
        raise BadInput(f"{where}: {error.strerror or error}; expected a readable file") from None
    if config.decimal == "comma" and not table.sweep:
        counts = {config.columns.get(name, name) for name in COUNTS if name not in config.units}
        table = replace(table, data=with_decimal_comma(table.data, table.source, counts))
    return table


def _without_pasted(tables: Sequence[Table], flags: list[Flag]) -> list[Table]:
    """The tables with rows that are equal in every cell once, of several files those without name.

    Rows of curves and of sweep directories are as they are.
    """
    found = list(tables)
    plain = [i for i, one in enumerate(tables) if not one.sweep and not logged_rows(one).any()]
    for i in plain:
        rows = _first_of_equal(found[i])
        if lost := len(found[i]) - len(rows):
            found[i] = found[i].take(rows)
            flags.append(_pasted(f"{found[i].source}: ", lost, "another"))
    if len(plain) > 1:
        starts = np.cumsum([0, *(len(found[i]) for i in plain)])
        whole = stacked([found[i] for i in plain])
        # A run with a name that is in two files is refused later, whatever its cells.
        kept = np.union1d(_first_of_equal(whole), np.flatnonzero(whole.known("run_id")))
        for at, i in enumerate(plain):
            rows = kept[(kept >= starts[at]) & (kept < starts[at + 1])] - starts[at]
            if lost := len(found[i]) - len(rows):
                flags.append(_pasted(f"{found[i].source}: ", lost, "one of another file"))
                found[i] = found[i].take(rows)
        flags += _alike([found[i] for i in plain])
    return [one for one in found if len(one)]


def _first_of_equal(table: Table) -> np.ndarray:
    """The rows that are no copy of an earlier one, ascending."""
    if any(pc.count_distinct(column).as_py() == len(table) for column in table.data.columns):
        return np.arange(len(table))  # of a million rows all of the cells need not be compared
    data = table.data.rename_columns(list(map(str, range(table.data.num_columns))))
    first = data.append_column("row", [np.arange(len(table))])
    grouped = first.group_by(data.column_names, use_threads=False).aggregate([("row", "min")])
    return np.sort(grouped["row_min"].to_numpy())


def _pasted(where: str, lost: int, of: str) -> Flag:
    rows = plural(lost, "row repeats", "rows repeat")
    text = f"{where}{rows} {of} in every cell, as if pasted twice: counted once"
    return Flag("pasted_rows", text)


def _alike(tables: Sequence[Table]) -> list[Flag]:
    """That rows of a file have N, D and loss of another's, though not every cell."""
    seen: set[tuple[float, ...]] = set()
    flags = []
    for table in tables:
        points = np.column_stack([table.numbers_or_nan(name) for name in NEEDED])
        own = set(map(tuple, points[np.isfinite(points).all(axis=1)].tolist()))
        if both := len(own & seen):
            rows = plural(both, "row has", "rows have")
            text = (
                f"{table.source}: {rows} params, tokens and loss of a row of another file, and "
                "other cells that differ: if they are the same runs, give one of the files"
            )
            flags.append(Flag("pasted_rows", text))
        seen |= own
    return flags


def _run_names(table: Table) -> set[str]:
    """What the runs of a table are called."""
    return {str(name) for key in ("run_id", "Name") for name in table.distinct(key)[1]}


def _check_excluded(sources: Sources, exclude: Sequence[str]) -> None:
    """Refuse the name of a run to exclude that is in no input."""
    names = _run_names(sources.table).union(*(chart.runs for chart in sources.charts))
    numbers = set(map(sources.table.numbered, range(len(sources.table)))) if exclude else set()
    for name in exclude:
        is_number = name in numbers and not sources.table.known("run_id").all()
        if name not in names and not is_number:
            raise BadInput(f"exclude: no run {name!r}{did_you_mean(name, names)}")


def _renamed(table: Table, config: FitConfig) -> Table:
    """The table with our names for the columns that are mapped. Raises BadInput."""
    columns, have = config.columns, table.names
    for ours, theirs in columns.items():
        if ours not in OURS:
            hint = did_you_mean(ours, OURS, "columns.")
            raise BadInput(f"columns.{ours}: no column of the run table{hint}")
        if theirs not in have:
            raise BadInput(
                f"columns.{ours}: {table.source} has no column {theirs!r}; it has {listed(have)}"
            )
    read = {name: columns.get(name, name) for name in NEEDED}
    for name, theirs in read.items():
        others = [other for other in NEEDED if read[other] == theirs]
        if len(others) > 1:
            raise BadInput(
                f"columns.{name}: {' and '.join(others)} would both be {theirs!r} of "
                f"{table.source}, expected a column each"
            )
    needed = NEEDED if config.needs_loss or "loss" in columns else NEEDED[:2]
    if missing := [name for name in needed if read[name] not in have]:
        names = " and ".join(map(repr, missing)).replace(" and ", ", ", len(missing) - 2)
        left = [name for name in have if name not in read.values()]
        raise BadInput(
            f"{table.source}: no column{'s' * (len(missing) > 1)} {names}; it has "
            f"{listed(have)}{remedy(missing, left)}"
        )
    return table.with_columns({ours: table.data[theirs] for ours, theirs in columns.items()})
