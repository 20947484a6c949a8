"""What a preparation says of itself: how much, how fast, how long still."""

import sys

import pytest

from data.prepare import progress
from data.prepare.documents import Document


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> progress.Progress:
    """Of 10 MB, of which an earlier process read 2; a clock that goes on by 30 s."""
    clock = iter(range(100, 1000, 30))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(progress, "LOG_S", 10.0)
    return progress.Progress(total=10_000_000, done=2_000_000)


def update(shown: progress.Progress) -> None:
    text = "x" * 15_000_000
    for read in (3_000_000, 4_000_000):
        shown.update(Document(text, text.encode(), "a", (0, 1), read))
    shown.end()


def test_progress_prints_lines_where_no_terminal_is(shown, capsys) -> None:
    update(shown)
    assert capsys.readouterr().err == (
        "data: 15 MB of text at 0.5 MB/s, 30% read, 3.5 min left\n"
        "data: 30 MB of text at 0.5 MB/s, 40% read, 3.0 min left\n"
    )


def test_progress_draws_a_bar_in_a_terminal(monkeypatch, shown, capsys) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(shown, "_terminal", True)
    monkeypatch.setenv("TERM", "xterm")
    update(shown)
    said = capsys.readouterr().err
    for part in ("data: 15 MB of text at 0.5 MB/s", "30%", "data: 30 MB", "40%"):
        assert part in said
    hidden, shown_again = "\x1b[?25l", "\x1b[?25h"
    assert said.index(shown_again) < said.index("30%") and said.count(hidden) == 1


def test_progress_says_nothing_of_little_text(capsys) -> None:
    shown = progress.Progress(total=10)
    shown.update(Document("a", b"a", "a", (0, 1), 5))
    shown.end()
    assert capsys.readouterr().err == ""
