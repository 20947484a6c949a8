"""The two CSV files that the web pages of Weights & Biases export, as tables of ours.

The runs table has a row a run: Name, State, Created, ..., then config and summary columns. A
chart has a row a step and three columns a run: `<run> - <metric>`, and the same with __MIN and
__MAX for the range within a drawn pixel. A chart knows no sizes: it gives curves to the runs of a
runs table, matched by name.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np

from common.errors import BadInput
from common.text import listed, plural
from scaling.fit.flags import Flag
from scaling.fit.table.columns import Table, of_rows, same_value
from scaling.fit.table.curves import Curve, Curves, curve
from scaling.fit.table.loss_unit import nats
from scaling.fit.table.schema import DONE, OTHERS, OURS, is_done, is_usual

_RANGES = ("__MIN", "__MAX")
STEP_AXES = ("Step", "_step", "step", "trainer/global_step", "train/global_step", "global_step")


@dataclass(frozen=True)
class Chart:
    """The curves of an exported chart: x and loss of each run; x is a step, or a token count."""

    source: str
    axis: str
    runs: Mapping[str, tuple[np.ndarray, np.ndarray]]

    def curves_of(self, runs: Table) -> Curves:
        """The curves of the runs of a table that the chart has, by Name or ID."""
        curves, unit = {}, runs.units.get("tokens", 1.0)
        of_groups = {rows[0]: name for name, rows in self._groups(runs).items() if len(rows) == 1}
        tokens = runs.numbers_or_nan("tokens").tolist()
        for row, names in enumerate(zip(runs.texts("Name"), runs.texts("run_id"), strict=True)):
            run = next((name for name in names if name in self.runs), of_groups.get(row))
            if run is not None and tokens[row] > 0:
                curves[str(names[1])] = self._curve(run, tokens[row], unit)
        return curves

    def _curve(self, run: str, tokens: float, unit: float) -> Curve:
        """The curve of a run that ended at so many `tokens`; without its part before the first.

        On an axis of steps tokens are in proportion to them, the last logged step being the end.
        """
        x, loss = self.runs[run]
        x, loss = x[x > 0], loss[x > 0]
        if self.axis in STEP_AXES:
            return curve(step=x, tokens=x / x.max() * tokens if x.size else x, loss=loss)
        return curve(step=x * unit, tokens=x * unit, loss=loss)

    def unknown_runs(self, table: Table, known: Set[str]) -> Table | None:
        """A row for each run that no table of runs has, to be listed as excluded."""
        why = {"status": "unknown", "reason": "in the chart, but in no table of runs"}
        groups = self._groups(table)
        rows = [{"run_id": n, **why} for n in self.runs if n not in known and n not in groups]
        return of_rows(self.source, rows, [self.source] * len(rows)) if rows else None

    def group_flags(self, runs: Table) -> list[Flag]:
        """What to know of a grouped chart: a line of it is the mean over a group's runs."""
        means = {name: len(rows) for name, rows in self._groups(runs).items() if len(rows) != 1}
        if not means:
            return []
        groups = listed(f"{name} ({plural(runs, 'run')})" for name, runs in means.items())
        text = f"{self.source}: a grouped chart has means of runs, which are no curves: {groups}"
        return [Flag("grouped_chart", text)]

    def _groups(self, table: Table) -> dict[str, list[int]]:
        """The lines that are means of a group, `Group: x` or `COLUMN: x`, and its rows."""
        columns = {name.removeprefix("config.").lower(): name for name in table.names}
        names, found = set(table.texts("run_id")) | set(table.texts("Name")), {}
        for name in self.runs:
            key, colon, value = name.partition(": ")
            column = columns.get(key.lower())
            if name not in names and colon and (column or key.lower() == "group"):
                cells = table.values(column) if column else []
                found[name] = [row for row, cell in enumerate(cells) if same_value(cell, value)]
        return found


def adopt(table: Table) -> Table:
    """A runs table with run_id and status of ours; any other table as it is.

    `finished` is done; every other state becomes the status, so that the run is listed as
    excluded. The ID is taken before the Name, which need not be unique. Columns that an export
    through the programming interface calls config.x or summary.x are also found as x.
    """
    if not {"Name", "State"} <= set(table.names) or "run_id" in table.names:
        return table
    states = [str(state).lower() for state in table.values("State")]
    if not set(states) <= OTHERS | DONE:
        return table
    data = dict(zip(table.names, table.data.columns, strict=True))
    plain = {
        name: column
        for theirs, column in data.items()
        for prefix in ("config.", "config/", "summary.", "summary/")
        if theirs.startswith(prefix)
        and (name := theirs.removeprefix(prefix)) in OURS
        and name not in data
    }
    status = ["done" if is_done(state) else state for state in states]
    return table.with_columns(
        {**plain, "run_id": data["ID" if "ID" in data else "Name"], "status": status}
    )


def is_chart(names: Sequence[str]) -> bool:
    """Whether these column names are those of an exported chart: an axis, then run - metric."""
    return len(names) > 1 and " - " not in names[0] and all(" - " in name for name in names[1:])


def read_chart(table: Table, mapped: Mapping[str, str], unit: str = "nats") -> Chart:
    """The curves of one metric of a chart, in `unit`; `mapped` is our name: the table's.

    Raises BadInput where the metric is not clear, or the axis neither steps nor tokens.
    """
    axis, *names = table.names
    if axis not in (*STEP_AXES, mapped.get("tokens")) and not is_usual("tokens", axis):
        raise BadInput(
            f"{table.source}: the axis of the chart is {axis!r}, expected Step or tokens; "
            "export it with such an axis, or map it by columns.tokens="
        )
    parts = {name: name.rpartition(" - ") for name in names if not name.endswith(_RANGES)}
    metrics = sorted({metric for _, _, metric in parts.values()})
    metric = mapped.get("loss")
    if metric not in metrics:
        if len(metrics) != 1:
            raise BadInput(
                f"{table.source}: metrics {listed(metrics)}, expected one; choose it by "
                "columns.loss="
            )
        metric = metrics[0]
    x = table.numbers(axis)
    if np.isnan(x).any():
        raise table.no_number(int(np.argmax(np.isnan(x))), axis)
    runs = {}
    for name, (run, _, found) in parts.items():
        if found == metric:
            loss = nats(table.numbers(name, run=run), unit)
            runs[run] = (x[np.isfinite(loss)], loss[np.isfinite(loss)])
    return Chart(table.source, axis, runs)


def with_status(table: Table) -> Table:
    """The table with its column `state` as status, where that is what it says and no other does."""
    names = [name for name in table.names if name.lower() == "state"]
    if "status" in table.names or len(names) != 1:
        return table
    values = {str(value).lower() for value in table.distinct(names[0])[1]}
    known = values and values <= OTHERS | DONE
    return table.with_columns({"status": table.data[names[0]]}) if known else table
