"""What the page on arms says to type works, and says what it shows."""

import runpy
import shlex
from pathlib import Path

import pytest

import fit as entry
from common.errors import ExitStatus
from configs.cli import run_entry
from tests.support.pages import blocks

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "compare-arms.md").read_text(encoding="utf-8")


def test_the_walk_from_arms_to_multipliers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Table, command, lines on the terminal, and the line of a plan, as on the page."""
    monkeypatch.chdir(tmp_path)
    table, plan = blocks(PAGE, "python")
    Path("make_arms.py").write_text(table)
    runpy.run_path("make_arms.py")
    command, compare = blocks(PAGE, "sh")
    words = shlex.split(command)[2:]
    quick = ["n_bootstrap=60", "laws=[isoflop]"]
    assert run_entry(entry.main, "fit", "", [*words, *quick]) == ExitStatus.DONE
    printed = capsys.readouterr().out
    shown, line = blocks(PAGE, "text")
    for said in shown.splitlines():
        assert said.split("1/")[0].split(" 1.")[0].split("0.")[0] in printed, said
    assert Path("fits/arms/plain/report.html").exists()
    saved = compare.replace("new.csv", "arms.csv where.arm=muon").replace("old", "arms/plain")
    assert run_entry(entry.main, "fit", "", [*shlex.split(saved)[2:], *quick]) == ExitStatus.DONE
    assert "muon reaches the loss of fits/arms/plain/fit.json with 1/" in capsys.readouterr().out
    Path("plan.py").write_text(plan)
    runpy.run_path("plan.py")
    assert capsys.readouterr().out == line
