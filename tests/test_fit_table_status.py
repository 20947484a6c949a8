"""How a run ended is read in the words of those who logged it, from `status` or from `state`."""

from pathlib import Path

import pytest

from common.errors import BadInput
from configs.load import compose_config
from configs.schema import build
from scaling.fit.config import FitConfig
from scaling.fit.pipeline import fit
from scaling.fit.table.inputs import read_inputs


def table(path: Path, column: str, states: list[str]) -> Path:
    rows = [f"{1e7 * (i + 1)},{1e9 * (i + 1)},{4 - 0.1 * i},{s}" for i, s in enumerate(states)]
    path.write_text("\n".join([f"params,tokens,loss,{column}", *rows]) + "\n")
    return path


def done(path: Path, *words: str) -> list[bool]:
    values = compose_config("fit", [f"runs={path}", *words])
    return read_inputs(build(FitConfig, values)).runs.done.tolist()


@pytest.mark.parametrize("column", ["status", "state", "State"])
def test_done_knows_the_words_of_trackers(tmp_path, column):
    """W&B says finished and crashed, Slurm COMPLETED, MLflow FINISHED; nothing is well."""
    states = ["finished", "crashed", "running", "Completed", "FINISHED", "failed", "done", ""]
    found = done(table(tmp_path / "t.csv", column, states))
    assert found == [True, False, False, True, True, False, True, True]


def test_done_reads_a_column_that_is_mapped(tmp_path):
    path = table(tmp_path / "t.csv", "outcome", ["finished", "crashed"])
    values = compose_config("fit", [f"runs={path}"]) | {"columns": {"status": "outcome"}}
    assert read_inputs(build(FitConfig, values)).runs.done.tolist() == [True, False]


def test_with_status_leaves_a_column_that_says_something_else(tmp_path):
    """A `state` with other words (of a country, of a machine) is no status."""
    assert done(table(tmp_path / "t.csv", "state", ["Texas", "finished"])) == [True, True]


def test_fit_says_what_is_expected_where_no_run_ended_well(tmp_path):
    path = table(tmp_path / "t.csv", "state", ["crashed", "killed"])
    with pytest.raises(BadInput, match="status crashed, status killed; expected .*finished"):
        fit(build(FitConfig, compose_config("fit", [f"runs={path}"])))
