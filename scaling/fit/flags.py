"""Flags and warnings of fits and plans: one type, and what each code means (flags.yaml).

python -m scaling.fit.flags      writes the table of codes into docs/method.md
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

PAGE = Path(__file__).parents[2] / "docs" / "method.md"
START = "<!-- codes: written by python -m scaling.fit.flags -->\n\n"
END = "\n<!-- end of codes -->"


@dataclass(frozen=True)
class Flag:
    """What to know beside a number or a plan: a code for programs, a sentence for people."""

    code: str
    text: str


@dataclass(frozen=True)
class Code:
    """Where a code is raised, and when."""

    where: str
    meaning: str


@cache
def codes() -> Mapping[str, Code]:
    """Every code that a fit or a plan may raise."""
    listed = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
    return {code: Code(**entry) for code, entry in listed.items()}


def with_table(page: str) -> str:
    """`page` with the table of codes between its two marks."""
    rows = [f"| `{code}` | {one.where} | {one.meaning} |\n" for code, one in codes().items()]
    table = "".join(["| code | where | raised when |\n|---|---|---|\n", *rows])
    before, rest = page.split(START)
    return before + START + table + END + rest.split(END)[1]


def main() -> int:
    """Write the table into the page."""
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
