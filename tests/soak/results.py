"""The counts of a full run: its lines, their sums, and where they are published."""

import json
import os
import platform
import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from common.files import to_json
from common.numbers import duration

ROOT = Path(__file__).resolve().parents[2]
PAGE, RECORD = ROOT / "docs/reliability.md", ROOT / "docs/reliability.json"
NOT_YET = "Not yet run."
_MARKS = re.compile(r"(<!-- the last full run -->\n).*?(\n<!-- end -->)", re.DOTALL)
_FAULTS = {
    "lost": ("lost", "doubled"),
    "different": ("different",),
    "silent": ("silent",),
    "tracebacks": ("tracebacks",),
    "over a second": ("slow",),
    "left behind": ("orphans", "leftovers"),
}


@dataclass(frozen=True)
class Done:
    """What one unit counted; `ended` in seconds since 1970."""

    unit: str
    part: str
    counts: Mapping[str, int]
    seconds: float
    ended: float


@dataclass
class Row:
    """The sum of a part's units."""

    counts: Counter[str] = field(default_factory=Counter)

    @property
    def done(self) -> int:
        """Kills, or inputs."""
        return self.counts["kills"] + self.counts["inputs"]

    @property
    def faults(self) -> int:
        """All that must be 0."""
        return sum(self.counts[name] for names in _FAULTS.values() for name in names)


def read_done(lines: Path) -> list[Done]:
    """The units that are done, each once."""
    if not lines.exists():
        return []
    found = [Done(**json.loads(line)) for line in lines.read_text().splitlines()]
    return list({done.unit: done for done in found}.values())


def total(done: Iterable[Done]) -> dict[str, Row]:
    """The sums by part."""
    rows: dict[str, Row] = {}
    for one in sorted(done, key=lambda one: one.unit):
        rows.setdefault(one.part, Row()).counts.update(one.counts)
    return rows


def table(rows: Mapping[str, Row]) -> str:
    """The sums as a table in Markdown."""
    lines = [f"| what | times | {' | '.join(_FAULTS)} |", f"|{' --- |' * (2 + len(_FAULTS))}"]
    for part, row in rows.items():
        numbers = [sum(row.counts[name] for name in names) for names in _FAULTS.values()]
        lines.append(f"| {part} | {' | '.join(f'{n:,}' for n in [row.done, *numbers])} |")
    return "\n".join(lines)


def publish(done: Sequence[Done]) -> None:
    """Write the record of a full run, and the page's table from it."""
    git = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    values = {
        "ended": datetime.fromtimestamp(max(one.ended for one in done), UTC).isoformat(
            " ", "minutes"
        ),
        "machine": _machine(),
        "commit": git.stdout.strip() or None,
        "process_seconds": round(sum(one.seconds for one in done)),
        "parts": {part: dict(sorted(row.counts.items())) for part, row in total(done).items()},
    }
    RECORD.write_text(to_json(values), encoding="utf-8")
    PAGE.write_text(with_figures(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def with_figures(page: str) -> str:
    """The page with the table of the record that there is."""
    return _MARKS.sub(lambda found: found[1] + figures() + found[2], page)


def figures() -> str:
    """What the page says of the last full run."""
    if not RECORD.exists():
        return NOT_YET
    values = json.loads(RECORD.read_text(encoding="utf-8"))
    rows = {part: Row(Counter(counts)) for part, counts in values["parts"].items()}
    said = f"{values['ended']}, {values['machine']}, commit {str(values['commit'])[:12]}, "
    return f"{said}{duration(values['process_seconds'])} of processes:\n\n{table(rows)}"


def _machine() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    name = found[1] if found else platform.processor()
    return f"{len(os.sched_getaffinity(0))} cores of {name}, Python {platform.python_version()}"
