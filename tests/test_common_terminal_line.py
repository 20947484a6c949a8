"""A long fit says on a terminal what it is at, and nowhere else."""

import io
import logging
import re
from pathlib import Path

import pytest

import fit as entry
from common.errors import ExitStatus
from common.terminal_line import Countdown, shown_progress
from configs.cli import run_entry
from scaling.fit.registry import LAWS
from tests.support.fit_examples import tuned_rows, write_csv

ERASE = "\r\x1b[2K"


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _terminal(monkeypatch: pytest.MonkeyPatch) -> _Terminal:
    """Standard error until the test's end; as a fixture, pytest's capture would take it back."""
    stream = _Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("COLUMNS", "60")
    return stream


def test_fit_names_each_law_and_its_resamples_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    terminal = _terminal(monkeypatch)
    table = write_csv(tmp_path / "t.csv", tuned_rows())
    words = [f"runs={table}", f"out={tmp_path / 'out'}", "n_bootstrap=40"]
    assert run_entry(entry.main, "fit", "", words) == ExitStatus.DONE
    lines = terminal.getvalue().split(ERASE)
    assert lines[0] == lines[-1] == ""
    for name in ("isoflop", "parametric", "kaplan"):
        assert any(re.match(rf"fit: {LAWS[name].label}: \d+ runs, 40 boot", s) for s in lines), name
    for start in ("reading ", "influence: ", "held out ", "figure ", "page"):
        assert any(line.startswith(f"fit: {start}") for line in lines), start
    assert max(map(len, lines)) < 60 and "\n" not in terminal.getvalue()


def test_fit_says_nothing_where_there_is_no_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write_csv(tmp_path / "t.csv", tuned_rows())
    words = [f"runs={table}", f"out={tmp_path / 'out'}", "n_bootstrap=40", "laws=[parametric]"]
    assert run_entry(entry.main, "fit", "", words) == ExitStatus.DONE
    assert capsys.readouterr().err == ""


def test_countdown_says_rate_and_time_left(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Half done in two seconds leaves two; the end says nothing, since the next words say it."""
    clock = iter([100.0, 102.0])
    monkeypatch.setattr("common.terminal_line.time.monotonic", lambda: next(clock))
    caplog.set_level(logging.INFO, logger="scaling")
    countdown = Countdown(logging.getLogger("scaling"), "resamples", 4000)
    countdown.done(2000)
    countdown.done(4000)
    assert caplog.messages == ["resamples: 2,000 of 4,000, 1,000/s, 2.0 s left"]


def test_shown_progress_writes_names_as_text_and_leaves_no_trace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = _terminal(monkeypatch)
    logger = logging.getLogger("scaling")
    with pytest.raises(KeyboardInterrupt), shown_progress("fit"):
        logger.info("reading %s", "a\x1b]0;title\x07\nb")
        raise KeyboardInterrupt
    logger.info("later")
    assert terminal.getvalue() == f"{ERASE}fit: reading a\\x1b]0;title\\x07\\nb{ERASE}"
