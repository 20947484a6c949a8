"""Tables of one value a row, as pandas' melt writes them: their variables become columns again.

A table with columns `variable` and `value` is one, and so is one of `metric`, `key` or the like and
`value`, if a loss, size or amount of data is among its variables. Rows that agree in all other
columns are one row; where readings of a number differ by under a percent, as FLOP read off two
panels of a figure, that number is no name of a row, and its geometric mean is taken.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from common.errors import BadInput
from common.text import listed, plural
from scaling.fit.config import FitConfig
from scaling.fit.flags import Flag
from scaling.fit.table.columns import Table, of_rows
from scaling.fit.table.schema import NEEDED, is_usual

_VARIABLES = ("variable", "metric", "measure", "key", "quantity", "field", "name", "tag")
_VALUE = "value"
_MOST = 50  # variables; of more the column names something else
_SAME = 0.01


def unmelted(table: Table, config: FitConfig) -> tuple[Table, list[Flag]]:
    """The table with a column a variable, and that it was read so; others as they are. BadInput."""
    variable = _variable(table, config)
    if variable is None:
        return table, []
    variables = table.distinct(variable)[1]
    others = [name for name in table.names if name not in (variable, _VALUE)]
    groups, means = _rows(table, variable, others)
    values, names = table.values(_VALUE), table.values(variable)
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


def _variable(table: Table, config: FitConfig) -> str | None:
    """The column that names what the value of each row is; None where the table is no such one.

    Nor where the options name that column or `value`, or the table has what is needed without it.
    """
    named = {*config.columns.values(), *config.where, config.by}
    needed = {config.columns.get(name, name) for name in NEEDED}
    if _VALUE not in table.names or _VALUE in named or needed <= set(table.names):
        return None
    for name in _VARIABLES:
        if name not in table.names or name in named:
            continue
        variables = table.distinct(name)[1]
        if not 1 < len(variables) <= _MOST or not all(isinstance(one, str) for one in variables):
            continue
        words = [one for one in variables if len(one) > 1]  # L is a size as often as a loss
        if name == _VARIABLES[0] or any(is_usual(n, one) for n in NEEDED for one in words):
            return name
    return None


def _rows(table: Table, variable: str, others: Sequence[str]) -> tuple[list[np.ndarray], list[str]]:
    """The rows of each group that is one, and the columns of numbers that differ within them."""
    kept, means = list(others), []
    for name in others:
        numbers = table.numbers_or_nan(name)
        if len(kept) == 1 or not (numbers > 0).all() or name not in kept:
            continue
        if _fits(table, variable, [other for other in kept if other != name], numbers):
            kept.remove(name)
            means.append(name)
    groups = _groups(table, kept)
    differing = [n for n in means if any(np.ptp(table.numbers_or_nan(n)[g]) > 0 for g in groups)]
    return groups, differing


def _fits(table: Table, variable: str, kept: Sequence[str], numbers: np.ndarray) -> bool:
    """Whether rows grouped by `kept` have each variable once, and numbers that are nearly one."""
    index = table.distinct(variable)[0]
    return all(
        len(np.unique(index[rows])) == len(rows) and np.ptp(np.log(numbers[rows])) < _SAME
        for rows in _groups(table, kept)
    )


def _groups(table: Table, names: Sequence[str]) -> list[np.ndarray]:
    keys = np.column_stack([table.distinct(name)[0] for name in names])
    _, first, group = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    at = first[group.ravel()]  # in the order of each group's first row
    rows = np.argsort(at, kind="stable")
    return np.split(rows, np.flatnonzero(np.diff(at[rows])) + 1)
