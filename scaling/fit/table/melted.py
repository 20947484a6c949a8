"""Tables of one value a row, as pandas' melt writes them: their variables become columns again.

A table with columns `variable` and `value` is one. Rows that agree in all other columns are one
row; where readings of a number differ by under a percent, as FLOP read off two panels of a figure,
that number is no name of a row, and its geometric mean is taken.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from common.errors import BadInput
from common.text import listed, plural
from scaling.fit.flags import Flag
from scaling.fit.table.columns import Table, of_rows

_VARIABLE, _VALUE = "variable", "value"
_MOST = 50  # variables; of more the column names something else
_SAME = 0.01


def unmelted(table: Table) -> tuple[Table, list[Flag]]:
    """The table with a column a variable, and that it was read so; others as they are. BadInput."""
    if not {_VARIABLE, _VALUE} <= set(table.names):
        return table, []
    variables = table.distinct(_VARIABLE)[1]
    if not 1 < len(variables) <= _MOST or not all(isinstance(name, str) for name in variables):
        return table, []
    others = [name for name in table.names if name not in (_VARIABLE, _VALUE)]
    groups, means = _rows(table, others)
    values, names = table.values(_VALUE), table.values(_VARIABLE)
    columns = {name: table.values(name) for name in others}
    rows: list[dict[str, Any]] = []
    for members in groups:
        row = {name: columns[name][members[0]] for name in others}
        for name in means:
            row[name] = float(np.exp(np.log(table.numbers_or_nan(name)[members]).mean()))
        for at in members:
            if names[at] in row:
                raise BadInput(
                    f"{table.place(at)}: {names[at]} stands twice for one row, expected once"
                )
            row[names[at]] = values[at]
        rows.append(row)
    text = (
        f"{table.source}: {plural(len(table), 'row')} of a variable and its value were read as "
        f"{plural(len(rows), 'row')} of {listed(variables)}"
    )
    if means:
        text += f"; of {listed(means)}, which differ by under 1%, the geometric mean"
    places = [table.place(int(members[0])) for members in groups]
    found = of_rows(table.source, rows, places, digest=table.digest)
    return found, [Flag("melted_table", text)]


def _rows(table: Table, others: Sequence[str]) -> tuple[list[np.ndarray], list[str]]:
    """The rows of each group that is one, and the columns of numbers that differ within them."""
    kept, means = list(others), []
    for name in others:
        numbers = table.numbers_or_nan(name)
        if len(kept) == 1 or not (numbers > 0).all() or name not in kept:
            continue
        if _fits(table, [other for other in kept if other != name], numbers):
            kept.remove(name)
            means.append(name)
    groups = _groups(table, kept)
    differing = [n for n in means if any(np.ptp(table.numbers_or_nan(n)[g]) > 0 for g in groups)]
    return groups, differing


def _fits(table: Table, kept: Sequence[str], numbers: np.ndarray) -> bool:
    """Whether rows grouped by `kept` have each variable once, and numbers that are nearly one."""
    index = table.distinct(_VARIABLE)[0]
    return all(
        len(np.unique(index[rows])) == len(rows) and np.ptp(np.log(numbers[rows])) < _SAME
        for rows in _groups(table, kept)
    )


def _groups(table: Table, names: Sequence[str]) -> list[np.ndarray]:
    keys = np.column_stack([table.distinct(name)[0] for name in names])
    _, first, group = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return [np.flatnonzero(group.ravel() == one) for one in order]
