"""What stands above, beside and between the cells of a CSV, as common programs write it."""

import pytest

from tests.support.fit_tables import admitted, refusal


@pytest.mark.parametrize(
    ("head", "line"),
    [
        ('# made by a script\n# "today"\n\nrun_id,params,tokens,loss\n', 6),
        ("#run_id,params,tokens,loss\n1,1e6,1e8,3\n", 4),
        ("sep=,\nrun_id,params,tokens,loss\n", 4),
    ],
)
def test_read_table_passes_over_what_stands_above_the_column_names(tmp_path, head, line):
    """Comments, blank lines and sep= are no header; a header in NumPy's comment is one."""
    path = tmp_path / "t.csv"
    path.write_text(f"{head}7,1e6,2e8,3\n8,2e6,1e8,no\n")
    assert refusal(path).startswith(f"{path}:{line} (run 8): loss: found 'no'")
    path.write_text(f"{head}7,1e6,2e8,3\n8,2e6,1e8,2.9\n")
    assert admitted(path, "where.run_id=8").loss.tolist() == [2.9]


@pytest.mark.parametrize(
    "text", ["params  tokens loss\n1e6   1e8  3\n", "|params|tokens|loss|\n|1e6|1e8|3|\n"]
)
def test_read_table_takes_white_space_and_bars_between_cells(tmp_path, text):
    (tmp_path / "t.txt").write_text(text)
    assert admitted(tmp_path / "t.txt").tokens.tolist() == [1e8]


@pytest.mark.parametrize(
    ("index", "names"),
    [("01", ("row-00001", "row-00002")), ("73", ("row-00001", "row-00002")), ("xy", ("x", "y"))],
)
def test_read_table_takes_the_index_that_pandas_writes(tmp_path, index, names):
    """Numbers without a name say nothing; names of rows without one are the runs'."""
    path = tmp_path / "t.csv"
    path.write_text(f",params,tokens,loss,\n{index[0]},1e6,1e8,3,\n{index[1]},2e6,1e8,2.9,\n")
    assert admitted(path).run_id == names
