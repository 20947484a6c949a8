"""The two CSV files that the web pages of Weights & Biases export, as tables of ours.

The runs table has a row a run: Name, State, Created, ..., then config and summary columns. A
chart has a row a step and three columns a run: `<run> - <metric>`, and the same with __MIN and
__MAX for the range within a drawn pixel. A chart knows no sizes: it gives curves to the runs of a
runs table, matched by name.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from configs.errors import BadInput
from scaling.fit.cells import Row, number, shown
from scaling.fit.curves import Curve, curve
from scaling.fit.tables import NEEDED, NUMBERS, TEXTS, Table

_OURS = (*NEEDED, *NUMBERS, *TEXTS)
_STATE_NAMES = "finished crashed failed killed running preempted preempting pending queued"
_STATES = tuple(_STATE_NAMES.split())
_RANGES = ("__MIN", "__MAX")
STEP_AXES = ("Step", "_step", "step", "trainer/global_step", "train/global_step", "global_step")


@dataclass(frozen=True)
class Chart:
    """The curves of an exported chart: x and loss of each run; x is a step, or a token count."""

    source: str
    axis: str
    runs: Mapping[str, tuple[np.ndarray, np.ndarray]]


def adopt(table: Table) -> Table:
    """A runs table with run_id and status of ours; any other table as it is.

    `finished` is done; every other state becomes the status, so that the run is listed as
    excluded. The ID is taken before the Name, which need not be unique. Columns that an export
    through the programming interface calls config.x or summary.x are also found as x.
    """
    if not {"Name", "State"} <= set(table.columns) or "run_id" in table.columns:
        return table
    if not all(str(row.values.get("State")).lower() in _STATES for row in table.rows):
        return table
    identity = "ID" if "ID" in table.columns else "Name"
    plain = {
        name: column
        for column in table.columns
        for prefix in ("config.", "config/", "summary.", "summary/")
        if column.startswith(prefix) and (name := column.removeprefix(prefix)) in _OURS
    }
    rows = []
    for row in table.rows:
        state = str(row.values["State"]).lower()
        values = {name: row.values.get(column) for name, column in plain.items()}
        values |= row.values
        values["run_id"] = row.values.get(identity)
        values["status"] = "done" if state == "finished" else state
        rows.append(Row(row.place, values))
    columns = dict.fromkeys([*table.columns, *plain, "run_id", "status"])
    return replace(table, columns=tuple(columns), rows=tuple(rows))


def is_chart(names: Sequence[str]) -> bool:
    """Whether these column names are those of an exported chart: an axis, then run - metric."""
    return len(names) > 1 and " - " not in names[0] and all(" - " in name for name in names[1:])


def read_chart(
    path: Path, cells: Iterator[tuple[int, list[str]]], names: Sequence[str], metric: str | None
) -> Chart:
    """The curves of one metric of a chart. Raises BadInput where the metric is not clear."""
    columns = {}
    for index, name in enumerate(names[1:], 1):
        if not name.endswith(_RANGES):
            run, _, found = name.rpartition(" - ")
            columns[index] = (run, found)
    metrics = sorted({found for _, found in columns.values()})
    if metric not in metrics:
        if len(metrics) != 1:
            raise BadInput(
                f"{path}: metrics {', '.join(map(shown, metrics))}, expected one; choose it by "
                "columns.loss="
            )
        metric = metrics[0]
    chosen = {index: run for index, (run, found) in columns.items() if found == metric}
    points: dict[str, list[tuple[float, float]]] = {run: [] for run in chosen.values()}
    for line, row in cells:
        place = f"{path}:{line}"
        axis = number(Row(place, {names[0]: row[0].strip() or None}), names[0])
        for index, run in chosen.items():
            if text := row[index].strip():
                values = {"run_id": run, names[index]: text}
                points[run].append((axis, number(Row(place, values), names[index])))
    arrays = {run: np.array(found).reshape(-1, 2).T for run, found in points.items()}
    return Chart(str(path), names[0], {run: (x, loss) for run, (x, loss) in arrays.items()})


def chart_curve(chart: Chart, run: str, tokens: float, unit: float) -> Curve:
    """The curve of a run that ended at so many `tokens`; without its part before the first token.

    On an axis of steps tokens are in proportion to them, the last logged step being the end.
    """
    x, loss = chart.runs[run]
    x, loss = x[x > 0], loss[x > 0]
    if chart.axis in STEP_AXES:
        return curve(step=x, tokens=x / x.max() * tokens if x.size else x, loss=loss)
    return curve(step=x * unit, tokens=x * unit, loss=loss)


def unknown_runs(chart: Chart, known: set[str]) -> list[Row]:
    """A row for each run of the chart that no table of runs has, to be listed as excluded."""
    reason = "in the chart, but in no table of runs"
    return [
        Row(chart.source, {"run_id": run, "status": "unknown", "reason": reason})
        for run in chart.runs
        if run not in known
    ]
