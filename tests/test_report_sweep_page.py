"""The page of a sweep says how far each trial is, with its failures, and is rewritten seldom."""

from pathlib import Path

import pytest

from common.errors import BadInput
from scaling.report import sweep_page
from scaling.report.sweep_page import ShownTrial, SweepPage, losses, render_sweep, table


def _trial(name: str, state: str, step: int = 10, loss: float | None = 2.5) -> ShownTrial:
    budget = 1e11 if "a" in name else 3e11
    left = 60.0 if state == "running" else None
    problem = "killed by <signal> 9" if state == "failed" else None
    return ShownTrial(name, state, 2e4, budget, (step, 10), loss, 1e3, left, problem)


TRIALS = [
    _trial("a <b>", "done"),
    _trial("b", "running", 4, 3.5),
    _trial("c", "failed", 2, None),
    _trial("d", "waiting", 0, None),
]


def test_page_says_what_runs_and_what_failed() -> None:
    page = render_sweep("quick<start>", TRIALS, ["4 trials: 1 done", "1e11 of 4e11 FLOP (25%)"])
    body = page.split("<script", 1)[0]
    assert "Sweep quick&lt;start&gt;" in body and "4 trials: 1 done." in body
    assert "1 failed" in body and "killed by &lt;signal&gt; 9" in body
    assert "a &lt;b&gt;" in body and "<b>" not in body
    assert "default-src 'none'" in body


def test_table_begins_with_what_runs() -> None:
    rows = table(TRIALS).rows
    assert [row[1] for row in rows] == ["running", "failed", "done", "waiting"]
    assert rows[0][2:7] == ("40% of 10 steps", "20.0k", "3.5000", "1,000", "60 s")


def test_losses_are_one_colour_a_budget_and_rings_until_the_end() -> None:
    (panel,) = losses(TRIALS).panels
    assert [(s.name, s.look) for s in panel.series] == [
        ("C = 1e11 FLOP", "run"),
        ("C = 3e11 FLOP, not ended", "answer"),
    ]
    assert losses([TRIALS[3]]).absent == "no trial has logged a loss yet"


def test_page_is_written_seldom_while_trials_run_and_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []
    monkeypatch.setattr(sweep_page, "render_sweep", lambda *a: told.append(a) or "page")
    page = SweepPage(tmp_path)
    for _ in range(5):
        page.write(TRIALS, [])
    assert len(told) == 1 and page.path.read_text() == "page"
    page.write(TRIALS[:1], [])
    assert len(told) == 2
    page.path.unlink()
    page.path.mkdir()
    with pytest.raises(BadInput, match="page=true writes there"):
        page.write(TRIALS[:1], [])
