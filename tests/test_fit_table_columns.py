"""Values as numbers: what is one, what is refused, and in which words."""

import subprocess
import sys
from dataclasses import replace

import pytest

from common.errors import BadInput
from scaling.fit.table.columns import same_value
from scaling.fit.table.readers import read_table
from tests.support.fit_examples import write_csv
from tests.support.fit_tables import grid_csv, refusal, refused, row


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("loss", "nan", "found 'nan', expected a number"),
        ("loss", "inf", "found 'inf', expected a number"),
        ("loss", "0", "found 0, expected above 0 and at most 50 nats"),
        ("loss", "-2.5", "found -2.5, expected above 0"),
        ("loss", "1e6", "found 1e+06, expected above 0 and at most 50 nats"),
        ("loss", "n/a", "found 'n/a', expected a number"),
        ("loss", "", "found nothing, expected a number"),
        ("loss", "3_0", "found '3_0', expected a number"),
        ("params", "0", "found 0, expected above 0"),
        ("params", "1e999", "found inf, expected a finite number"),
        ("tokens", "-1e9", "found -1e+09, expected above 0"),
        ("tokens", "many", "found 'many', expected a number"),
    ],
)
def test_positive_refuses_a_bad_number_with_its_run_and_column(tmp_path, name, value, found):
    """A bad number is refused with its run and field."""
    path = tmp_path / "runs.csv"
    write_csv(path, [row(run_id="good"), row(**{"run_id": "bad", "params": 2e6, name: value})])
    text = refusal(path)
    assert text.startswith(f"{path}:3 (run bad): {name}: ")
    assert found in text


def test_same_value_compares_as_numbers_or_as_text():
    """Values are the same as numbers or as text."""
    assert same_value("0", 0) and same_value("1e3", 1000) and same_value("a", "a")
    assert not same_value("a", 0) and not same_value(None, 0) and not same_value("01x", "1x")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("flops", 1e300, "found 1e+300, expected 1e-12 to 1e+40"),
        ("flops_budget", 1e-300, "found 1e-300, expected 1e-12 to 1e+40"),
        ("params", 1e-300, "found 1e-300, expected 1e-12 to 1e+20"),
        ("tokens", 1e29, "found 1e+29, expected 1e-12 to 1e+24"),
        ("loss", 1e-300, "found 1e-300, expected at least 1e-06 nats"),
        ("loss_se", 1e300, "found 1e+300, expected at least 0 and at most 50 nats"),
        ("status", "\x1b[31m", "status \\x1b[31m"),
    ],
)
def test_positive_refuses_absurd_values(capsys, tmp_path, name, value, says):
    """Absurd values are refused."""
    assert says in refused(capsys, tmp_path, f"runs={grid_csv(tmp_path, **{name: value})}")


def test_launchers_import_no_pyarrow():
    """Importing it starts a thread, and sweep.py forks."""
    code = "import sys, sweep; print('pyarrow' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


def test_numbers_take_counts_with_a_letter(tmp_path):
    """1.5M parameters and 10B tokens are read as written; a loss has no such letter."""
    path = tmp_path / "t.csv"
    path.write_text("params,tokens,loss\n1.5M,10B,3.5\n124M,2.5e9,3.1\n70k,1 T,3\n")
    table = read_table(path)
    assert table.numbers("params").tolist() == [1.5e6, 124e6, 7e4]
    assert table.numbers("tokens").tolist() == [1e10, 2.5e9, 1e12]
    with pytest.raises(BadInput, match="one unit is enough"):
        replace(table, units={"params": 1e6}).numbers("params")
    path.write_text("params,tokens,loss\n1e6,1e9,3k\n")
    with pytest.raises(BadInput, match="loss: found '3k', expected a number"):
        read_table(path).numbers("loss")
