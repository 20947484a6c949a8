"""Runs that lack N, D or the loss: told all at once, and left out by one word."""

from typing import TYPE_CHECKING

import numpy as np

from common.errors import BadInput
from common.text import plural, shown
from scaling.fit.table.schema import NEEDED, is_missing

if TYPE_CHECKING:  # plans import what imports this: see columns.py
    from scaling.fit.table.columns import Table

_MOST_NAMED = 12
_CURE = "incomplete=exclude leaves {} out"


def incomplete_rows(table: "Table", used: np.ndarray) -> dict[int, str]:
    """What each row of the mask `used` lacks, as `loss: 'NaN'`; nothing where it is whole."""
    found: dict[int, list[str]] = {}
    for name in NEEDED if "loss" in table.names else NEEDED[:2]:  # inputs.py: some have none
        lacking = np.flatnonzero(np.isnan(table.numbers_or_nan(name)) & used).tolist()
        texts = table.texts(name) if lacking else []
        for row in lacking:
            if is_missing(texts[row]):
                cell = "nothing" if texts[row] is None else repr(texts[row])
                found.setdefault(row, []).append(f"{name}: {cell}")
    return {row: ", ".join(parts) for row, parts in sorted(found.items())}


def refuse_incomplete(table: "Table", lacking: dict[int, str], used: int) -> None:
    """BadInput that names all rows which lack a value, if any of the `used` ones does."""
    if not lacking:
        return
    if len(lacking) == 1:
        [(row, what)] = lacking.items()
        error = table.no_number(row, what.partition(":")[0])
        raise BadInput(f"{error}; {_CURE.format('the run')}" if used > 1 else str(error))
    named = [f"{shown(table.run_name(row))} ({what})" for row, what in lacking.items()]
    more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
    raise BadInput(
        f"{table.source}: {len(lacking)} of {plural(len(table), 'run')} lack a value: "
        f"{', '.join(named[:_MOST_NAMED])}{more}; expected params, tokens and loss"
        + (f"; {_CURE.format('them')}" if len(lacking) < used else " in one row of each run")
    )
