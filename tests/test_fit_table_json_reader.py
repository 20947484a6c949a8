"""Every way in which common programs write a table of runs as JSON reads as that table."""

import json

import pytest

from tests.support.fit_tables import admitted, refusal, row

RUNS = {"a": row(run_id="a"), "b": row(run_id="b", params=2e6, loss=2.9)}
ROWS = list(RUNS.values())
COLUMNS = {name: [run[name] for run in ROWS] for name in ROWS[0]}
BY_NAME = {
    name: {key: v for key, v in run.items() if key != "run_id"} for name, run in RUNS.items()
}
LAYOUTS = {
    "records": ROWS,
    "under a key": {"made": "today", "runs": ROWS},
    "columns": COLUMNS,
    "pandas columns": {name: dict(enumerate(values)) for name, values in COLUMNS.items()},
    "pandas index": BY_NAME,
    "pandas split": {
        "columns": list(COLUMNS),
        "index": [0, 1],
        "data": [list(run.values()) for run in ROWS],
    },
    "pandas table": {"schema": {"fields": [{"name": "loss"}]}, "data": ROWS},
}


def test_runs_by_a_name_that_is_one_of_ours_too(tmp_path):
    """D, L and N are names of runs where what they hold has the columns."""
    names = dict(zip("DL", BY_NAME.values(), strict=True))
    (tmp_path / "t.json").write_text(json.dumps(names))
    assert admitted(tmp_path / "t.json").run_id == ("D", "L")


def test_columns_of_other_names_by_their_index(tmp_path):
    """As pandas writes them, whatever they are called."""
    theirs = {"n_model": "params", "n_data": "tokens", "ce": "loss"}
    data = {name: dict(enumerate(COLUMNS[ours])) for name, ours in theirs.items()}
    (tmp_path / "t.json").write_text(json.dumps(data))
    mapped = [f"columns.{ours}={name}" for name, ours in theirs.items()]
    assert list(admitted(tmp_path / "t.json", *mapped).params) == COLUMNS["params"]


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_read_json_rows_reads_every_layout_alike(tmp_path, layout, indent):
    """A list, rows under a key, columns and pandas' five orients, on one line or on many."""
    path = tmp_path / "t.json"
    path.write_text(json.dumps(LAYOUTS[layout], indent=indent))
    found = admitted(path)
    assert found.run_id == ("a", "b") and found.loss.tolist() == [3.0, 2.9]


def test_read_json_rows_takes_nan_as_python_writes_it(tmp_path):
    """A run without a loss may be left out by name, as in JSON lines."""
    path = tmp_path / "t.json"
    path.write_text(json.dumps([*ROWS, row(run_id="c", loss=float("nan"))]))
    assert "c" in refusal(path) and "NaN" in refusal(path)
    assert admitted(path, "exclude=[c]").run_id == ("a", "b")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"one": ROWS, "other": ROWS}, "rows under one, other, expected one list"),
        ({"params": [1, 2], "tokens": [1]}, "columns of different lengths (2 params, 1 tokens)"),
        ([1, 2], "expected an object with named columns"),
        ({"name": {"x": 1}}, "no column"),
    ],
)
def test_read_json_rows_refuses_what_holds_no_rows(tmp_path, content, says):
    path = tmp_path / "t.json"
    path.write_text(json.dumps(content))
    assert says in refusal(path)


def test_read_json_rows_refuses_a_key_twice(tmp_path):
    (tmp_path / "t.json").write_text('[{"params": 1, "params": 2}]')
    assert "key 'params' stands twice" in refusal(tmp_path / "t.json")
