"""Tables of one value a row become columns, and what is no such table stays as it is."""

import pytest

from common.errors import BadInput
from scaling.fit.table.melted import unmelted as unmelted_as_asked
from tests.support.fit_examples import config, write_csv
from tests.support.fit_tables import admitted, table_of

RUNS = {"a": {"params": 1e7, "tokens": 1e9}, "b": {"params": 2e7, "tokens": 3e9, "loss": 3.0}}


def unmelted(table, *overrides):
    return unmelted_as_asked(table, config("runs=T", *overrides))


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


@pytest.mark.parametrize("name", ["metric", "key"])
def test_unmelted_knows_other_names_by_what_stands_in_them(name):
    """A column `metric` of losses, sizes and data; one of anything else names something else."""
    rows = [{("label" if k == "name" else k): v for k, v in row.items()} for row in melted()]
    rows = [{(name if k == "variable" else k): v for k, v in row.items()} for row in rows]
    table, (flag,) = unmelted(table_of(rows))
    assert table.values("params") == [1e7, 2e7] and flag.code == "melted_table"
    other = table_of([{**row, name: f"of {row[name]}s"} for row in rows])
    assert unmelted(other) == (other, [])


@pytest.mark.parametrize(
    ("overrides", "more"),
    [
        (("columns.loss=value", "where.metric=loss"), {}),
        (("columns.loss=value",), {}),
        (("by=metric",), {}),
        ((), {"params": 1e7, "tokens": 1e9, "loss": 3.0}),
    ],
)
def test_unmelted_leaves_a_table_that_is_read_otherwise(overrides, more):
    """Where the options name its columns, or all that is needed stands beside them."""
    rows = [{"metric": name, "value": 3.0, **more} for name in ("loss", "acc", "loss")]
    table = table_of(rows)
    assert unmelted(table, *overrides) == (table, [])


def test_unmelted_takes_no_letter_for_a_loss():
    """Sizes S, M and L in a column `name`, each with its loss."""
    table = table_of([{"name": one, "value": 3.0, "params": 1e7} for one in "SML"])
    assert unmelted(table) == (table, [])


def test_unmelted_reads_a_long_history(tmp_path):
    """As trackers log it: run, step, metric and value; what is logged once holds for the run."""
    rows = [
        {"run_id": run, "step": str(step), "metric": metric, "value": value}
        for run, n in (("a", 1e7), ("b", 2e7))
        for step in (0, 1, 2)
        for metric, value in (
            [("params", n)] if not step else [("tokens", step * 1e9), ("val_loss", 4.0 - step / 10)]
        )
    ]
    found = admitted(write_csv(tmp_path / "t.csv", rows), "columns.loss=val_loss")
    assert found.params.tolist() == [1e7, 2e7] and found.tokens.tolist() == [2e9, 2e9]
    assert found.loss.tolist() == [3.8, 3.8]


def test_unmelted_refuses_a_variable_twice():
    rows = [*melted(), {"name": "a", "flops": 1e18, "variable": "params", "value": 5.0}]
    with pytest.raises(BadInput, match=r"t\[5\]: params stands twice for one row"):
        unmelted(table_of(rows))
