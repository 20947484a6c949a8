"""What a message may print."""

from common.text import one_line


def test_one_line_is_one_and_of_bounded_length():
    """Control characters are escaped; of a long value both ends are kept."""
    assert one_line("a\n b\x1b[2J") == "a b\\x1b[2J"
    line = one_line("file: found " + "x" * 100_000 + ", expected a number")
    assert len(line) == 2000
    assert line.startswith("file: found xxx") and line.endswith("xxx, expected a number")
