"""Curves read in columns are what rows read one by one are: the same points, the same refusals."""

import json
import math

import numpy as np
import pytest

from scaling.fit.observations import observe
from scaling.fit.table import json_reader as module
from scaling.fit.table.curves import curve, joined, shown_rows
from scaling.fit.table.inputs import read_inputs
from tests.support.fit_examples import config, write_csv
from tests.support.fit_runs import read, refusal
from tests.support.fit_tables import ROWS, admitted, row


def rows(marked=True, steps=7):
    found = []
    for name, n in (("b", 2e6), ("a", 1e6), ("c", 3e6)):
        for step in (3, 1, 2, *range(4, steps + 1)):
            point = {"run_id": name, "kind": "x" if name != "c" else "y", "params": n}
            point |= {"step": step, "tokens": step * 1e6, "loss": 4 - step / 10, "lr": 1e-3}
            if marked:
                point["is_final"] = int(step == steps)
            found.append(point)
    return found


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 4)


def test_ends_and_curves_gives_final_points_and_curves(tmp_path):
    """A curves table gives final points and curves."""
    rows = [
        row(run_id=name, step=step, tokens=step * 1e6, loss=4 - step / 10, is_final=final)
        for name in ("a", "b")
        for step, final in ((3, 1 if name == "a" else 0), (1, 0), (2, 0))
    ]
    asked = config(f"runs={write_csv(tmp_path / 'runs.csv', rows)}")
    inputs = read_inputs(asked)
    runs = observe(inputs.runs, asked)
    assert runs.run_id == ("a", "b")
    assert runs.tokens.tolist() == [3e6, 3e6]
    assert runs.planned == 2
    assert inputs.curves["a"].step.tolist() == [1, 2, 3]
    assert runs.columns["unmarked_end"].tolist() == pytest.approx([math.nan, 1], nan_ok=True)


def test_ends_and_curves_takes_what_a_run_has_once(tmp_path):
    """The size of a run that only its first row has; two sizes of one run are none."""
    found = [
        {**one, "params": one["params"] if one["step"] == 1 else ""} for one in rows(marked=False)
    ]
    path = write_csv(tmp_path / "t.csv", found)
    assert admitted(path).params.tolist() == [1e6, 2e6, 3e6]
    assert admitted(path, "units.params=1e3").params.tolist() == [1e9, 2e9, 3e9]
    found[1]["params"], found[2]["params"] = 1e6, 4e6
    assert "b (params: nothing)" in refusal(
        write_csv(tmp_path / "t.csv", [*found, *({**one, "run_id": "d"} for one in found[:7])])
    )


def test_ends_and_curves_fills_nothing_over_what_is_no_number(tmp_path):
    """A cell that is junk is refused, though other runs are filled."""
    found = [
        {**one, "params": one["params"] if one["step"] == 1 else ""} for one in rows(marked=False)
    ]
    found[6]["params"] = "abc"  # the end of a run
    path = write_csv(tmp_path / "t.csv", found)
    assert "params: found 'abc', expected a number" in refusal(path)
    assert "params: found 'abc', expected a number" in refusal(path, "incomplete=exclude")


def test_ends_and_curves_takes_true_for_the_mark_of_the_last_row(tmp_path):
    """True marks the last row of a curve."""
    rows = [{**row, "step": i % 3, "run_id": "xy"[i // 3]} for i, row in enumerate(ROWS)]
    for one in rows:
        one["is_final"] = "True" if one["step"] == 1 else "False"
    runs = admitted(write_csv(tmp_path / "t.csv", rows))
    assert sorted(runs.loss) == sorted([ROWS[1]["loss"], ROWS[4]["loss"]])


@pytest.mark.parametrize("marked", [True, False])
@pytest.mark.parametrize("where", [(), ("where.kind=x",), ("where.step=2",)])
def test_ends_and_curves_are_the_same_of_csv_and_json(tmp_path, marked, where):
    """Columns and rows agree."""
    table = rows(marked)
    lines = tmp_path / "c.jsonl"
    lines.write_text("".join(json.dumps(item) + "\n" for item in table))
    one, points = read(write_csv(tmp_path / "c.csv", table), *where)
    other, same = read(lines, *where)
    assert points.run_id == same.run_id
    assert (points.planned, points.excluded) == (same.planned, same.excluded)
    for name in ("params", "tokens", "loss", "flops"):
        assert np.array_equal(getattr(points, name), getattr(same, name))
    assert sorted(points.columns) == sorted(same.columns)
    assert list(one.curves) == list(other.curves)
    for name, found in one.curves.items():
        for column in ("step", "tokens", "flops", "loss", "lr"):
            expected = getattr(other.curves[name], column)
            assert np.array_equal(getattr(found, column), expected, equal_nan=True)


@pytest.mark.parametrize(
    ("index", "name", "value", "says"),
    [
        (5, "loss", "nan", "c.csv:7 (run b): loss: found 'nan', expected a number"),
        (9, "tokens", "1_0", "c.csv:11 (run a): tokens: found '1_0', expected a number"),
        (20, "loss", "3,1", "c.csv:22 (run c): loss: found '3,1', expected a number; decimal="),
        (8, "step", "inf", "c.csv:10 (run a): step: found 'inf', expected a number"),
        (2, "loss", "1e999", "c.csv:4 (run b): loss: found inf, expected a finite number"),
        (6, "run_id", "", "c.csv:8: run_id: found nothing, expected a name, since the table has"),
        (6, "loss", "", "c.csv:8 (run b): loss: found nothing, expected a number"),
        (6, "params", "-1", "c.csv:8 (run b): params: found -1, expected above 0"),
    ],
)
def test_ends_and_curves_refuses_a_bad_value_with_its_line(tmp_path, index, name, value, says):
    """A bad value anywhere is refused with its line."""
    table = rows()
    table[index] = {**table[index], name: value}
    assert says in refusal(write_csv(tmp_path / "c.csv", table))


def test_ends_and_curves_refuses_a_missing_step_where_no_row_is_final(tmp_path):
    """A missing step is refused where no row is final."""
    table = rows(marked=False)
    table[3] = {**table[3], "step": ""}
    assert "c.csv:5 (run b): step: found nothing, expected a number" in refusal(
        write_csv(tmp_path / "c.csv", table)
    )


def test_read_table_refuses_a_short_row_deep_in_the_table_with_its_line(tmp_path):
    """A short row deep in the table is refused with its line."""
    path = write_csv(tmp_path / "c.csv", rows())
    lines = path.read_text().splitlines()
    lines[15] = "b,x"
    path.write_text("\n".join(lines))
    assert "c.csv:16: 2 fields, expected 8 as in line 1" in refusal(path)


def test_ends_and_curves_takes_empty_values_within_a_curve_for_gaps(tmp_path):
    """Empty values within a curve are gaps."""
    table = rows()
    table[1] = {**table[1], "loss": "", "lr": ""}
    inputs, _ = read(write_csv(tmp_path / "c.csv", table))
    assert np.isnan(inputs.curves["b"].loss).tolist() == [True] + 6 * [False]
    assert "loss" not in shown_rows(inputs.curves, {})["b"][0]


def test_logged_rows_are_none_where_the_step_column_is_empty(tmp_path):
    """An empty step column makes no curves."""
    table = [{"params": 1e6 * k, "tokens": 1e8, "loss": 3.0, "step": ""} for k in (1, 2)]
    inputs, points = read(write_csv(tmp_path / "c.csv", table))
    assert inputs.curves == {} and len(points) == 2


def test_ends_and_curves_takes_a_column_of_steps_of_any_name(tmp_path):
    """A column of steps may have any name."""
    table = [{("iteration" if k == "step" else k): v for k, v in row.items()} for row in rows()]
    inputs, points = read(write_csv(tmp_path / "c.csv", table), "columns.step=iteration")
    assert len(points) == 3 and inputs.curves["a"].step.tolist() == list(range(1, 8))


def test_ends_and_curves_takes_a_table_of_runs_beside_one_of_curves(tmp_path):
    """A table of runs beside one of curves."""
    one = write_csv(tmp_path / "c.csv", rows())
    other = write_csv(
        tmp_path / "r.csv", [{"run_id": "d", "params": 4e6, "tokens": 1e8, "loss": 3}]
    )
    inputs, points = read(f"[{one},{other}]")
    assert points.run_id == ("a", "b", "c", "d")
    assert list(inputs.curves) == ["a", "b", "c"]


def test_units_multiply_points_and_curves(tmp_path):
    """Units multiply points and curves."""
    counted = {"tokens": 1e9, "params": 1e6}
    table = [row | {name: row[name] / unit for name, unit in counted.items()} for row in rows()]
    path = write_csv(tmp_path / "c.csv", table)
    inputs, points = read(path, "units.tokens=1e9", "units.params=1e6")
    _, plain = read(write_csv(tmp_path / "p.csv", rows()))
    assert points.params == pytest.approx(plain.params)
    assert points.flops == pytest.approx(plain.flops)
    assert inputs.curves["a"].tokens[-1] == pytest.approx(7e6)
    assert refusal(path, "units.loss=2").startswith("units.loss: no column with units")
    assert refusal(path, "units.tokens=0").startswith("units.tokens: found 0, expected above 0")


def test_units_leave_what_is_no_number_to_be_refused_as_it_stands(tmp_path):
    """What is no number stays to be refused as it stands."""
    table = [{"params": "1M", "tokens": 1.0, "loss": 3.0}]
    says = refusal(write_csv(tmp_path / "c.csv", table), "units.params=1e6")
    assert "params: found '1M', expected a number" in says


def test_joined_makes_one_curve_of_the_parts_of_one_run():
    """Parts of one run are one curve."""
    first = {"a": curve(step=[1, 2], loss=[3.0, 2.9])}
    second = {"a": curve(step=[4, 3], loss=[2.7, 2.8]), "b": curve(step=[1], loss=[3.0])}
    found = joined([first, second])
    assert found["a"].loss.tolist() == [3.0, 2.9, 2.8, 2.7]
    assert list(found) == ["a", "b"]


def test_shown_rows_thins_curves_and_keeps_their_ends():
    """Curves are thinned for drawing and keep their ends."""
    long = curve(step=np.arange(1e5), loss=np.linspace(4, 3, 100_000))
    drawn = shown_rows({str(index): long for index in range(200)}, {})
    assert len(drawn["7"]) == 500
    assert (drawn["7"][0]["step"], drawn["7"][-1]["step"]) == (0, 99_999)


def test_shown_rows_draws_curves_without_flop_by_their_tokens():
    """Curves without flop are drawn by their tokens."""
    one = {"a": curve(step=[1, 2], tokens=[10.0, 20.0], loss=[3.0, 2.9])}
    assert [row["flops"] for row in shown_rows(one, {"a": 6e6})["a"]] == [6e7, 12e7]
    assert "flops" not in shown_rows(one, {})["a"][0]
