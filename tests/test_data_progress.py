"""What a preparation says of itself: how much, how fast, how long still."""

import sys

import pytest

from data import progress
from data.sources import Document


@pytest.mark.parametrize("terminal", [True, False])
def test_the_time_left_is_from_what_is_read(monkeypatch, capsys, terminal: bool) -> None:
    clock = iter([100.0, 130.0, 160.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    monkeypatch.setattr(progress, "LOG_S", 10.0)
    shown = progress.Progress(total=10_000_000, done=2_000_000)  # read by an earlier process
    text = "x" * 15_000_000
    for read in (3_000_000, 4_000_000):
        shown.update(Document(text, text.encode(), "a", (0, 1), read))
    shown.end()
    said = capsys.readouterr().err
    start, end = ("\r", "") if terminal else ("", "\n")
    first = "data: 15 MB of text at 0.5 MB/s, 30% read, 3:30 min left"
    second = "data: 30 MB of text at 0.5 MB/s, 40% read, 3:00 min left"
    lines = [f"{start}{line:<70}{end}" if terminal else f"{line}\n" for line in (first, second)]
    assert said == "".join(lines) + ("\n" if terminal else "")


def test_little_text_is_prepared_without_a_word(capsys) -> None:
    shown = progress.Progress(total=10)
    shown.update(Document("a", b"a", "a", (0, 1), 5))
    shown.end()
    assert capsys.readouterr().err == ""
