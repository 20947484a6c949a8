"""A few cells of a column in another unit than the others: 124 among parameters counted singly.

Tokens per parameter, and FLOP over 6 N D, lie within some decades of one another in any study. A
few rows apart from all others by a decade or more, that a thousand, a million or a billion brings
back among them, have a cell in another unit, if the losses say so too: the corrected row lies on
the plane of log loss over log N and log D through the other rows. A model that was trained far
longer than the others has the loss of one and stays unnamed.
"""

from collections.abc import Iterator

import numpy as np

from common.text import plural, shown
from scaling.fit.flags import Flag
from scaling.fit.table.columns import Table

_FEWEST = 6  # rows that show where the others lie
_FEW = 0.2  # share of the rows that may be called a few
_GAP = 1.0  # decades between the odd cells and all others
_SLACK = 0.15  # decades beyond the others that a corrected cell may lie
_CLOSE = 3.0  # times the scatter about the plane that a corrected row may lie from it
_MOST_NAMED = 6
_STEPS = (3, 6, 9, 12, 15, 18, 21)  # decades between one unit and another
_NAMES = ("params", "tokens", "flops")


def odd_cells(runs: Table) -> Iterator[Flag]:
    """The flag that names cells whose unit differs from their column's, if there are any."""
    values = {name: runs.numbers_or_nan(name) for name in (*_NAMES, "loss")}
    n, d, loss = values["params"], values["tokens"], values["loss"]
    known = (n > 0) & (d > 0) & (loss > 0)
    if known.sum() < _FEWEST:
        return
    with np.errstate(divide="ignore", invalid="ignore"):
        log = {name: np.log10(np.where(one > 0, one, np.nan)) for name, one in values.items()}
    found = []
    of_ratio = _apart(np.where(known, log["tokens"] - log["params"], np.nan))
    for row, step in of_ratio.items():
        others = known.copy()
        others[list(of_ratio)] = False
        moved = {"params": step, "tokens": -step}
        name = _likelier(row, moved, log, others)
        if name is not None:
            found.append((row, name, moved[name]))
    rest = known.copy()
    rest[[row for row, _, _ in found]] = False
    rule = np.log10(6) + log["params"] + log["tokens"]
    for row, step in _apart(np.where(rest, log["flops"] - rule, np.nan)).items():
        found.append((row, "flops", -step))
    if found:
        yield _flag(runs, values, sorted(found))


def _apart(decades: np.ndarray) -> dict[int, int]:
    """By row the decades, a multiple of 3, that it lies above the others, of a few such rows.

    `decades` (rows,) are logarithms, nan where unknown.
    """
    rows = np.flatnonzero(np.isfinite(decades))
    order = rows[np.argsort(decades[rows], kind="stable")]
    ascending = decades[order]
    most = int(_FEW * len(order))
    found: dict[int, int] = {}
    if len(order) < _FEWEST or most < 1:
        return found
    gaps = np.diff(ascending)
    below = np.flatnonzero(gaps[:most] > _GAP)
    above = np.flatnonzero(gaps[len(gaps) - most :] > _GAP) + len(gaps) - most
    first = int(below[-1]) + 1 if below.size else 0
    last = int(above[0]) + 1 if above.size else len(order)
    low, high = ascending[first] - _SLACK, ascending[last - 1] + _SLACK
    middle = float(np.median(ascending[first:last]))
    for place in (*range(first), *range(last, len(order))):
        off = ascending[place] - middle
        nearest = _STEPS[int(np.argmin([abs(abs(off) - step) for step in _STEPS]))]
        step = nearest * int(np.sign(off))
        if low <= ascending[place] - step <= high:
            found[int(order[place])] = step
    return found


def _likelier(
    row: int, moved: dict[str, int], log: dict[str, np.ndarray], others: np.ndarray
) -> str | None:
    """The column whose cell, moved by so many decades, makes the row's loss that of the others."""
    x, y, loss = log["params"], log["tokens"], log["loss"]
    centre = x[others].mean(), y[others].mean()
    design = np.column_stack([np.ones(others.sum()), x[others] - centre[0], y[others] - centre[1]])
    plane = np.linalg.lstsq(design, loss[others], rcond=None)[0]

    def misses(more: dict[str, int]) -> float:
        at = x[row] + more.get("params", 0) - centre[0], y[row] + more.get("tokens", 0) - centre[1]
        return abs(float(plane @ (1.0, *at) - loss[row]))

    def is_among(name: str) -> bool:
        own, found = log[name][others], log[name][row] + moved[name]
        return bool(own.min() - _SLACK <= found <= own.max() + _SLACK)

    errors = {name: misses({name: step}) for name, step in moved.items() if is_among(name)}
    best = min(errors, key=errors.__getitem__, default=None)
    rms = float(np.sqrt(np.mean((loss[others] - design @ plane) ** 2)))
    is_right = best is not None and errors[best] < min(misses({}), _CLOSE * rms)
    return best if is_right else None


def _flag(runs: Table, values: dict[str, np.ndarray], found: list[tuple[int, str, int]]) -> Flag:
    cells = []
    for row, name, step in found[:_MOST_NAMED]:
        run = runs.texts("run_id")[row] if "run_id" in runs.names else None
        of = f" (run {shown(run)})" if run is not None else ""
        unit = f"1e{step}" if step > 0 else f"1e-{-step}"
        cells.append(f"{runs.place(row)}{of}: {name} {values[name][row]:.4g}, x {unit}?")
    more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
    text = (
        f"{plural(len(found), 'cell seems', 'cells seem')} to be in another unit than the others "
        f"of the column: {', '.join(cells)}{more}; mend or exclude them"
    )
    return Flag("units", text)
