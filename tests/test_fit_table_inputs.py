"""Which rows of the inputs are asked for: where, by, exclude, and options as nobody should give."""

from pathlib import Path

import pytest

from common.errors import BadInput
from scaling.fit.group_by import parts
from scaling.fit.observations import observe
from scaling.fit.pipeline import fit
from scaling.fit.table.inputs import read_inputs, read_sources
from tests.support.fit_examples import config, write_csv
from tests.support.fit_tables import ROWS, admitted, grid_csv, refusal, refused, row


def test_read_inputs_refuses_an_unknown_run_to_exclude(tmp_path):
    """An unknown run to exclude is refused."""
    path = write_csv(tmp_path / "runs.csv", [row(run_id="trial-1")])
    assert "no run 'trial-2'; did you mean trial-1?" in refusal(path, "exclude=[trial-2]")


def test_exclude_takes_the_number_that_a_run_without_a_name_has(tmp_path):
    """The numbers of the others stay; what has a name has no number."""
    rows = [{**row(params=k * 1e6, loss=4 - k / 10), "run_id": None} for k in range(1, 4)]
    path = write_csv(tmp_path / "runs.csv", rows)
    found = admitted(path, "exclude=[row-00002]")
    assert found.run_id == ("row-00001", "row-00003") and found.planned == 3
    assert [lost.run_id for lost in found.excluded] == ["row-00002"]
    assert "no run 'row-00004'" in refusal(path, "exclude=[row-00004]")
    named = write_csv(tmp_path / "named.csv", [row(run_id="a")])
    assert "no run 'row-00001'" in refusal(named, "exclude=[row-00001]")


def test_where_keeps_rows_with_that_value(tmp_path):
    """Where keeps rows with that value."""
    rows = [row(run_id="a", kind="x", level=1), row(run_id="b", kind="y", level=2)]
    path = write_csv(tmp_path / "runs.csv", rows)
    assert admitted(path, "where.kind=y").run_id == ("b",)
    assert admitted(path, "where.level=1.0").run_id == ("a",)
    assert "where.kind: no row with 'z'; there are x, y" in refusal(path, "where.kind=z")
    assert "did you mean kind?" in refusal(path, "where.kinds=x")


def test_where_keeps_rows_with_one_of_several_values(tmp_path):
    """Where keeps rows with one of several values."""
    rows = [row(run_id=name, kind=name, params=k * 1e6) for k, name in enumerate("xyz", 1)]
    path = write_csv(tmp_path / "runs.csv", rows)
    assert sorted(admitted(path, "where.kind=[x,z]").run_id) == ["x", "z"]
    assert admitted(path, "where.kind=[x,z]", "where.run_id=[z,y]").run_id == ("z",)
    assert "where.kind: no row with 'w'; there are x, y, z" in refusal(path, "where.kind=[x,w]")
    assert "where.run_id: no row with 'y'; there are x" in refusal(
        path, "where.kind=[x]", "where.run_id=[y]"
    )
    assert "where.kind: found an empty list" in refusal(path, "where.kind=[]")


def test_read_inputs_joins_tables_and_refuses_a_repeat_between_them(tmp_path):
    """Several tables join and a repeat between them is refused."""
    one = write_csv(tmp_path / "a.csv", [row(run_id="a")])
    other = write_csv(tmp_path / "b.csv", [row(run_id="b", params=2e6)])
    asked = config(f"runs=[{one},{other}]")
    assert observe(read_inputs(asked).runs, asked).run_id == ("a", "b")
    again = write_csv(tmp_path / "c.csv", [row(run_id="a")])
    with pytest.raises(BadInput, match="is also in"):
        admitted(f"[{one},{again}]")


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("out=a\0b", "out: found 'a\\x00b'"),
        ("columns.params=kind", "params: found 'a', expected a number"),
        ("columns.params=tokens", "params and tokens would both be 'tokens'"),
        ("where.nope=1", "where.nope: no column 'nope'"),
        ("where.kind=zz", "where.kind: no row with 'zz'; there are a, b"),
        ("exclude=[unknown]", "exclude: no run 'unknown'"),
        ("exclude=[r0,r1,r2,r3,r4,r5]", "none of 6 can be used: excluded by request"),
        ("predict.flops=[-1]", "predict.flops: found -1, expected above 0"),
        ("predict.flops=[1e400]", "predict.flops[0]: found inf (float), expected a finite number"),
        ("predict.pairs=[[1e-300,1e-300]]", "predict.pairs: found 1e-300, expected above 1e-12"),
        ("delta=1e-300", "delta: found 1e-300, expected 1e-12 to 1"),
        ("units.tokens=1e-29", "tokens: found "),
        ("compare=", "compare: "),
    ],
)
def test_read_inputs_refuses_an_odd_option(capsys, tmp_path, override, says):
    """An odd option is refused."""
    assert says in refused(capsys, tmp_path, f"runs={grid_csv(tmp_path)}", override)


@pytest.mark.parametrize(
    ("out", "says"),
    [
        ("{here}/file", "{here}/file: found a file, expected a folder"),
        ("{here}/file/x/y", "{here}/file: found a file, expected a folder"),
        ("{here}/dangling", "{here}/dangling: found a file, expected a folder"),
        ("/proc/zz", "/proc/zz: cannot be written"),
        ("{here}/" + "x" * 300, "cannot be written: File name too long"),
    ],
)
def test_fit_all_refuses_out_that_cannot_be_a_folder_before_any_fit(
    capsys, tmp_path, monkeypatch, out, says
):
    """Out that cannot be a folder is told before any fit."""
    monkeypatch.setattr("scaling.fit.group_by.fit", lambda *_: pytest.fail("it was fitted"))
    (tmp_path / "file").write_text("mine")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    path = grid_csv(tmp_path)
    before = sorted(tmp_path.iterdir())
    error = refused(capsys, tmp_path, f"runs={path}", f"out={out.format(here=tmp_path)}")
    assert "out: " in error and says.format(here=tmp_path) in error
    assert sorted(tmp_path.iterdir()) == before and (tmp_path / "file").read_text() == "mine"


def test_read_inputs_needs_no_table_that_was_read_already(tmp_path):
    """A table that vanishes after it was read is no loss."""
    path = grid_csv(tmp_path)
    asked = config(f"runs={path}")
    sources = read_sources(asked)
    path.unlink()
    assert len(read_inputs(asked, sources).runs) == len(ROWS)


def test_read_inputs_names_rows_of_a_table_that_is_gone_by_their_number(tmp_path):
    path = write_csv(tmp_path / "t.csv", [{"params": 1e6, "tokens": 1e8, "loss": "no"}])
    asked = config(f"runs={path}")
    sources = read_sources(asked)
    path.unlink()
    with pytest.raises(BadInput, match=r"t.csv\[0\]: loss: found 'no'"):
        observe(read_inputs(asked, sources).runs, asked)


def test_values_of_with_slashes_stay_one_level(tmp_path):
    """Values of by with slashes stay one level."""
    rows = [{**row, "kind": ("../x", "a/b", "..")[index % 3]} for index, row in enumerate(ROWS)]
    asked = config(f"runs={write_csv(tmp_path / 't.csv', rows)}", "by=kind", "out=o")
    assert [folder.parent.name for folder, _ in parts(asked)] == ["o"] * 3


def test_values_of_exclude_a_run_from_the_value_that_has_it(tmp_path):
    """A run is excluded from the value of by that has it."""
    asked = config(f"runs={grid_csv(tmp_path)}", "by=kind", "exclude=[r1]")
    sources = read_sources(asked)
    found = [observe(read_inputs(part, sources).runs, part) for _, part in parts(asked, sources)]
    assert [len(runs.excluded) for runs in found] == [0, 1]
    assert sum(len(runs) for runs in found) == len(ROWS) - 1


def test_rows_equal_in_every_cell_are_counted_once(tmp_path):
    """Pasted twice, an IsoFLOP table has as many runs as before; one other cell is another run."""
    rows = [{**row(params=k * 1e6), "run_id": None, "note": "x"} for k in (1, 2, 3)]
    path = write_csv(tmp_path / "t.csv", [*rows, *rows])
    sources = read_sources(config(f"runs={path}"))
    assert len(sources.table) == 3
    assert [flag.code for flag in sources.flags] == ["pasted_rows"]
    assert "3 rows repeat another in every cell" in sources.flags[0].text
    other = write_csv(tmp_path / "u.csv", [*rows, *({**one, "note": "y"} for one in rows)])
    assert admitted(other).planned == 6


def test_rows_pasted_into_a_second_file_are_counted_once(tmp_path):
    """A file that holds another's rows adds its own alone; equal N, D and loss alone are told."""
    rows = [{**row(params=k * 1e6), "run_id": None, "note": "x"} for k in (1, 2, 3, 4)]
    first, second = write_csv(tmp_path / "a.csv", rows[:3]), write_csv(tmp_path / "b.csv", rows[1:])
    sources = read_sources(config(f"runs=[{first},{second}]"))
    assert sources.table.numbers("params").tolist() == [1e6, 2e6, 3e6, 4e6]
    assert sources.table.place(3) == f"{second}:4"
    (flag,) = sources.flags
    assert flag.code == "pasted_rows" and "b.csv: 2 rows repeat one of another file" in flag.text
    whole = read_sources(config(f"runs=[{write_csv(tmp_path / 'c.csv', rows)},{first}]"))
    assert len(whole.table) == 4
    other = write_csv(tmp_path / "d.csv", [{**one, "note": "y"} for one in rows[:2]])
    sources = read_sources(config(f"runs=[{first},{other}]"))
    assert len(sources.table) == 5
    assert "d.csv: 2 rows have params, tokens and loss of a row of" in sources.flags[0].text


def test_rows_runs_reads_each_row_of_a_curve_as_a_run(tmp_path):
    """Else the last of each is the run, and how many there are is known."""
    rows = [row(run_id=name, tokens=k * 1e8, step=k) for name in "ab" for k in (1, 2, 3)]
    path = write_csv(tmp_path / "t.csv", rows)
    asked = config(f"runs={path}")
    inputs = read_inputs(asked)
    assert (inputs.rows, len(inputs.runs), sorted(inputs.curves)) == (6, 2, ["a", "b"])
    asked = config(f"runs={path}", "rows=runs")
    inputs = read_inputs(asked)
    assert (inputs.rows, len(inputs.runs), inputs.curves) == (None, 6, {})
    bare = write_csv(tmp_path / "u.csv", [{**one, "run_id": None, "run_name": "a"} for one in rows])
    assert "map it, as columns.run_id=run_name; or rows=runs" in refusal(bare)


def states_table(path: Path, column: str, states: list[str]) -> Path:
    rows = [f"{1e7 * (i + 1)},{1e9 * (i + 1)},{4 - 0.1 * i},{s}" for i, s in enumerate(states)]
    path.write_text("\n".join([f"params,tokens,loss,{column}", *rows]) + "\n")
    return path


def done(path: Path, *words: str) -> list[bool]:
    return read_inputs(config(f"runs={path}", *words)).runs.done.tolist()


@pytest.mark.parametrize("column", ["status", "state", "State"])
def test_done_knows_the_words_of_trackers(tmp_path, column):
    """W&B says finished and crashed, Slurm COMPLETED, MLflow FINISHED; nothing is well."""
    states = ["finished", "crashed", "running", "Completed", "FINISHED", "failed", "done", ""]
    found = done(states_table(tmp_path / "t.csv", column, states))
    assert found == [True, False, False, True, True, False, True, True]


def test_done_reads_a_column_that_is_mapped(tmp_path):
    path = states_table(tmp_path / "t.csv", "outcome", ["finished", "crashed"])
    assert done(path, "columns.status=outcome") == [True, False]


def test_state_leaves_a_column_that_says_something_else(tmp_path):
    """A `state` with other words (of a country, of a machine) is no status."""
    assert done(states_table(tmp_path / "t.csv", "state", ["Texas", "finished"])) == [True, True]


def test_fit_says_what_is_expected_where_no_run_ended_well(tmp_path):
    path = states_table(tmp_path / "t.csv", "state", ["crashed", "killed"])
    with pytest.raises(BadInput, match="status crashed, status killed; expected .*finished"):
        fit(config(f"runs={path}"))
