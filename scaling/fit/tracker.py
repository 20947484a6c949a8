"""The two CSV files that the web pages of Weights & Biases export, as tables of ours.

The runs table has a row a run: Name, State, Created, ..., then config and summary columns. A
chart has a row a step and three columns a run: `<run> - <metric>`, and the same with __MIN and
__MAX for the range within a drawn pixel. A chart knows no sizes: it gives curves to the runs of a
runs table, matched by name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from configs.errors import BadInput
from scaling.fit.cells import listed, numbers, refuse
from scaling.fit.columns import Column, Row, Table
from scaling.fit.curves import Curve, curve
from scaling.fit.names import OURS, is_usual

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
    blocks = [[str(cell).lower() for cell in cells] for cells in table.cells("State")]
    if not all(state in _STATES for states in blocks for state in states):
        return table
    status = Column()
    for states in blocks:
        status.append(["done" if state == "finished" else state for state in states])
    plain = {
        name: column
        for theirs, column in table.columns.items()
        for prefix in ("config.", "config/", "summary.", "summary/")
        if theirs.startswith(prefix) and (name := theirs.removeprefix(prefix)) in OURS
    }
    run_id = table.columns["ID" if "ID" in table.columns else "Name"]
    named = {"run_id": run_id, "status": status}
    return replace(table, columns={**plain, **table.columns, **named})


def is_chart(names: Sequence[str]) -> bool:
    """Whether these column names are those of an exported chart: an axis, then run - metric."""
    return len(names) > 1 and " - " not in names[0] and all(" - " in name for name in names[1:])


def read_chart(table: Table, mapped: Mapping[str, str]) -> Chart:
    """The curves of one metric of a chart; `mapped` is our name: the table's.

    Raises BadInput where the metric is not clear, or the axis neither steps nor tokens.
    """
    axis, *names = table.columns
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
    everywhere = np.ones(table.size, dtype=bool)
    x = numbers(table, axis, everywhere)
    if np.isnan(x).any():
        empty = Row(table.place(int(np.flatnonzero(np.isnan(x))[0])), {})
        raise refuse(empty, axis, "nothing", "a number")
    runs = {}
    for name, (run, _, found) in parts.items():
        if found == metric:
            loss = numbers(table, name, everywhere, run)
            runs[run] = (x[np.isfinite(loss)], loss[np.isfinite(loss)])
    return Chart(table.source, axis, runs)


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
