"""Tables of one value a row become columns, and what is no such table stays as it is."""

import pytest

from common.errors import BadInput
from scaling.fit.table.melted import unmelted
from tests.support.fit_tables import table_of

RUNS = {"a": {"params": 1e7, "tokens": 1e9}, "b": {"params": 2e7, "tokens": 3e9, "loss": 3.0}}


def melted(more=0.0):
    """A row a value; the FLOP of a token count is read as `more` above that of the others."""
    return [
        {"name": name, "flops": 1e18 * (1 + more * (key == "tokens")), "variable": key, "value": v}
        for name, values in RUNS.items()
        for key, v in values.items()
    ]


def test_unmelted_makes_variables_columns():
    """A row a run, in order; a variable that it lacks is empty."""
    table, (flag,) = unmelted(table_of(melted()))
    assert table.values("name") == ["a", "b"] and table.values("loss") == [None, 3.0]
    assert table.values("params") == [1e7, 2e7] and table.values("flops") == [1e18, 1e18]
    assert table.place(1) == "t[2]"
    assert flag.code == "melted_table" and "5 rows of a variable and its value" in flag.text
    assert "geometric mean" not in flag.text


def test_unmelted_takes_the_mean_of_a_number_that_was_read_twice():
    """FLOP 0.5% apart are one reading's; 5% apart they name rows of their own."""
    table, (flag,) = unmelted(table_of(melted(0.005)))
    assert len(table) == 2 and "of flops, which differ by under 1%" in flag.text
    assert table.values("flops")[0] == pytest.approx(1e18 * 1.005**0.5)
    assert len(unmelted(table_of(melted(0.05)))[0]) == 4


def test_unmelted_leaves_other_tables():
    for rows in ([{"variable": "x", "params": 1}], [{"variable": "x", "value": 1}] * 3):
        table = table_of(rows)
        assert unmelted(table) == (table, [])


def test_unmelted_refuses_a_variable_twice():
    rows = [*melted(), {"name": "a", "flops": 1e18, "variable": "params", "value": 5.0}]
    with pytest.raises(BadInput, match=r"t\[5\]: params stands twice for one row"):
        unmelted(table_of(rows))
