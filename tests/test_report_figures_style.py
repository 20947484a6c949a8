"""Words and the edges of fields stand out from their ground on light and on dark (WCAG 2.1, AA)."""

import re
from pathlib import Path

import pytest

from scaling.report import html
from scaling.report.figures.style import INKS

WORDS = ("ink", "soft", "isoflop", "ok", "flagged", "refused")


def _luminance(color: str) -> float:
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("ground", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("behind", ["ground", "panel"])
def test_every_word_can_be_read(ground: int, behind: str) -> None:
    for name in WORDS:
        pair = sorted(_luminance(INKS[ink][ground]) for ink in (name, behind))
        assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 4.5, name


def test_the_page_writes_in_these_inks_alone() -> None:
    style = html.static("page.css")
    assert set(re.findall(r"[^-]color: var\(--([\w-]+)\)", style)) <= set(WORDS)
    assert set(re.findall(r"border[\w-]*:[^;]*var\(--([\w-]+)\)", style)) <= {*WORDS, "rule"}


def test_no_file_of_the_page_names_a_colour() -> None:
    for path in (Path(html.__file__).parent / "static").iterdir():
        if path.suffix in (".css", ".js", ".html"):
            assert not re.search(r"#[0-9a-f]{6}\b|\brgb\(", path.read_text()), path.name
