"""The lines a run leaves on its way, and reading them as one curve per trial. Torch-free.

metrics.jsonl, one row per logged step: step tokens flops loss lr grad_norm tokens_per_s time,
val_loss where it was taken, and with runtime.instruments update_ratio and noise_scale_tokens
(training/instruments.py), mfu (null where the device's peak is not known) and peak_memory in bytes.
`step` counts finished updates; `flops` is exact, cumulative.
"""

import json
import os
import statistics
from contextlib import suppress
from pathlib import Path
from typing import Any

from configs.errors import BadInput
from configs.files import parse_json
from training.attempt import attempts

NAME = "metrics.jsonl"
Row = dict[str, Any]

_SPIKE_WINDOW = 50
_SPIKE_NATS = 0.5
_TAIL_BYTES = 4096


class MetricsLog:
    """An open metrics.jsonl; each row is one unbuffered write, so a kill tears the last at most."""

    def __init__(self, folder: Path) -> None:
        self._file = (folder / NAME).open("ab", buffering=0)
        self._size = self._file.tell()

    def write(self, row: Row) -> bool:
        """Append one row, whole or not at all; False if the disk would not take it.

        Strict JSON: a value that is not finite is a defect of the caller.
        """
        line = json.dumps(row, allow_nan=False).encode() + b"\n"
        with suppress(OSError):
            if self._file.write(line) == len(line):
                self._size += len(line)
                return True
        with suppress(OSError):
            self._file.truncate(self._size)
        return False

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_metrics(trial: Path) -> list[Row]:
    """All rows of a trial in order of step, one per step: a later attempt's stands.

    A torn last line of a file is what a killed attempt leaves and is skipped; any other line that
    is not a row raises BadInput with its number.
    """
    rows: dict[int, Row] = {}
    for folder in attempts(trial):
        path = folder / NAME
        if path.exists():
            rows.update((row["step"], row) for row in _read_file(path))
    return [rows[step] for step in sorted(rows)]


def read_tail(attempt: Path) -> list[Row]:
    """The last rows of one attempt's file, a few kB of it however long it is; none if unreadable.

    For looking at a run from outside: what is torn or strange is passed over, not reported.
    """
    rows = []
    try:
        with (attempt / NAME).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            lines = file.read().split(b"\n")
    except OSError:
        return []
    for line in lines[size > _TAIL_BYTES :]:
        with suppress(BadInput):
            rows.append(_parse(line, ""))
    return rows


def spikes(rows: list[Row]) -> list[tuple[int, float]]:
    """(step, height in nats) of losses far above the median of the 50 rows before them.

    Far is half a nat and six of their standard deviations (by the median absolute deviation).
    """
    found = []
    losses = [row["loss"] for row in rows]
    for index in range(10, len(rows)):
        before = losses[max(0, index - _SPIKE_WINDOW) : index]
        middle = statistics.median(before)
        deviation = 1.4826 * statistics.median(abs(loss - middle) for loss in before)
        height = losses[index] - middle
        if height > max(_SPIKE_NATS, 6 * deviation):
            found.append((rows[index]["step"], height))
    return found


def _read_file(path: Path) -> list[Row]:
    *lines, last = path.read_bytes().split(b"\n")
    rows = [_parse(line, f"{path}:{number}") for number, line in enumerate(lines, 1)]
    if last:  # no newline: torn, unless it was cut exactly there
        with suppress(BadInput):
            rows.append(_parse(last, str(path)))
    return rows


def _parse(line: bytes, where: str) -> Row:
    try:
        row = parse_json(line)
        if isinstance(row, dict) and isinstance(row.get("step"), int):
            return row
    except ValueError:
        pass
    raise BadInput(f"{where}: found {line[:60]!r}, expected a JSON object with a step")
