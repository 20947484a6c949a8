"""A row, a table admitted to a fit, and the refusal of one, for tests."""

import pytest

import fit as entry
from common.errors import BadInput, ExitStatus
from configs.cli import run_entry
from scaling.fit.laws import PUBLISHED
from scaling.fit.observations import observe
from scaling.fit.table.columns import of_rows
from scaling.fit.table.inputs import read_inputs
from tests.support.fit_examples import config, isoflop_rows, write_csv

ROWS = [
    {"run_id": f"r{index}", "kind": "ab"[index % 2], **row}
    for index, row in enumerate(
        isoflop_rows(PUBLISHED["besiroglu"], (1e17, 1e18), (0.5, 1.0, 2.0), 0.003)
    )
]
NEEDED = ("params", "tokens", "loss")


def refused(capsys, tmp_path, *overrides):
    """The one line of a refusal that leaves nothing behind."""
    out = tmp_path / "out"
    given = [*overrides] if "out=" in " ".join(overrides) else [*overrides, f"out={out}"]
    assert run_entry(entry.main, "fit", "", [*given, "n_bootstrap=0"]) == ExitStatus.BAD_INPUT
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error[:-1].isprintable() and not out.is_dir()
    return error


def grid_csv(tmp_path, **changes):
    return write_csv(tmp_path / "t.csv", [{**row, **changes} for row in ROWS])


def row(**changes):
    return {"run_id": "a", "params": 1e6, "tokens": 1e8, "loss": 3.0, **changes}


def table_of(rows):
    """A table of rows in memory."""
    return of_rows("t", rows, [f"t[{row}]" for row in range(len(rows))])


def admitted(path, *overrides):
    asked = config(f"runs={path}", *overrides)
    return observe(read_inputs(asked).runs, asked)


def refusal(path, *overrides):
    with pytest.raises(BadInput) as error:
        admitted(path, *overrides)
    assert "\n" not in str(error.value)
    return str(error.value)
