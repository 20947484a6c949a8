"""A fit for each value of a column, each in its folder."""

import json
from pathlib import Path

import pytest

from common.errors import ExitStatus
from scaling.fit.group_by import folder_name, parts
from tests.support.fit_examples import config
from tests.support.fit_runs import QUICK, check, run, table


def test_fit_all_by_fits_each_value(tmp_path):
    """By fits each value apart."""
    one, other = table(tmp_path, "a.csv"), table(tmp_path, "b.csv", sigma=0.01)
    lines = [f"{line},x" for line in one.read_text().splitlines()[1:]]
    lines += [f"{line},../y" for line in other.read_text().splitlines()[1:]]
    header = one.read_text().splitlines()[0] + ",kind"
    path = tmp_path / "both.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    out = tmp_path / "out"
    assert run(f"runs={path}", "by=kind", f"out={out}", QUICK) == ExitStatus.DONE
    assert sorted(p.parent.name for p in out.glob("*/fit.json")) == ["%2E.%2Fy", "x"]
    document = json.loads((out / "x" / "fit.json").read_text())
    check(document)
    assert document["inputs"]["where"] == {"kind": "x"}


@pytest.mark.parametrize(
    ("require", "status"), [("[isoflop,parametric]", ExitStatus.NO_LAW), ("[]", ExitStatus.DONE)]
)
def test_fit_all_skips_a_value_without_runs(tmp_path, capsys, require, status):
    """A value without a usable run is skipped by name."""
    path, out = table(tmp_path, kind="good"), tmp_path / "out"
    text = path.read_text()
    header = text.splitlines()[0].split(",")
    cells = dict(zip(header, text.splitlines()[1].split(","), strict=True))
    lost = ",".join((cells | {"run_id": "lost", "kind": "bad"})[name] for name in header)
    lines = [f"{line},done" for line in text.splitlines()[1:]]
    path.write_text("\n".join([",".join([*header, "status"]), *lines, f"{lost},failed"]) + "\n")
    asked = [f"runs={path}", "by=kind", f"out={out}", QUICK, f"require={require}"]
    assert run(*asked) == status
    said = capsys.readouterr().out
    assert said.startswith("kind=good:\n35 runs = 35 used")
    assert "kind=bad is skipped: runs: none of 1 with kind=bad can be used: status failed" in said
    assert [p.parent.name for p in out.glob("*/fit.json")] == ["good"]


def test_fit_all_refuses_values_without_runs(tmp_path, capsys):
    """Values of which none has a usable run are bad input."""
    path, out = table(tmp_path, kind="bad", status="failed"), tmp_path / "out"
    assert run(f"runs={path}", "by=kind", f"out={out}", QUICK) == ExitStatus.BAD_INPUT
    assert "by: no value of kind has a usable run" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("value", ["..", ".", "a/b", "-rf", "x" * 500, "ä\n\x00", "", "%2E"])
def test_folder_name_is_one_level(value):
    """Folder names are one level and distinct."""
    name = folder_name(value)
    assert name not in ("", ".", "..")
    assert "/" not in name and not name.startswith(("-", ".")) and len(name.encode()) <= 200
    assert name.isprintable()


def test_parts_without_out_follow_the_input(tmp_path):
    """Folders without out follow the input."""
    assert parts(config("runs=tables/a.csv"))[0][0] == Path("fits/a")
    assert parts(config(f"runs={tmp_path}"))[0][0] == tmp_path / "fit"


def test_fit_all_refuses_a_blocked_out(tmp_path, capsys):
    """Out that cannot be made is status 2."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert run(f"runs={table(tmp_path)}", f"out={blocked}/x", QUICK) == ExitStatus.BAD_INPUT
    assert "out: " in capsys.readouterr().err
