"""The lines a run leaves on its way, and reading them as one curve per trial. Torch-free.

metrics.jsonl, one row per logged step: step tokens flops loss lr grad_norm tokens_per_s time digest
(over the row's rest), val_loss where it was taken, and with runtime.instruments update_ratio and
noise_scale_tokens (training/gradient_noise.py), mfu (null where the device's peak is not known) and
peak_memory in bytes.
`step` counts finished updates; `flops` is exact, cumulative.
"""

import json
import math
import os
import statistics
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from common.errors import BadInput
from common.files import DIGEST, digest_holds, parse_json, read_bytes, require_file, with_digest
from training.trial.attempt import attempts

NAME = "metrics.jsonl"
Row = dict[str, Any]

_SPIKE_WINDOW = 50
_SPIKE_NATS = 0.5
_FAR = 6  # standard deviations
_TAIL_BYTES = 4096
_MOST_BYTES = 1 << 30
_NUMBERS = ("tokens", "flops", "loss", "lr", "grad_norm", "tokens_per_s", "val_loss")
_MOST_STEPS = 2**53
_LARGEST = 1e300  # beyond is no number that a run logs, and sums of it overflow


class MetricsLog:
    """An open metrics.jsonl; each row is one unbuffered write, so a kill tears the last at most."""

    def __init__(self, folder: Path) -> None:
        self._file = (folder / NAME).open("ab", buffering=0)
        self._size = self._file.tell()

    def write(self, row: Row) -> bool:
        """Append one row, whole or not at all; False if the disk would not take it.

        Strict JSON: a value that is not finite is a defect of the caller.
        """
        line = json.dumps(with_digest(row), allow_nan=False).encode() + b"\n"
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


@dataclass(frozen=True)
class Metrics:
    """The rows of a trial in order of step, one per step: a later attempt's stands.

    dropped     lines that are no rows, or differ from their digest; an unreadable file is one.
                The piece of a line with which a killed attempt ends is none of them
    undigested  rows without a digest: written by hand, or by an earlier version
    """

    rows: list[Row]
    dropped: int = 0
    undigested: int = 0


def read_metrics(trial: Path) -> list[Row]:
    """All whole rows of a trial; `scan_metrics` tells also what it had to leave out."""
    return scan_metrics(trial).rows


def scan_metrics(trial: Path, before: Path | None = None) -> Metrics:
    """All that the attempts of a trial logged, or those before one, however damaged the files."""
    rows: dict[int, Row] = {}
    dropped = undigested = 0
    folders = attempts(trial)
    for folder in folders[: folders.index(before)] if before else folders:
        if not os.path.exists(folder / NAME):
            continue
        try:
            lines = read_bytes(folder / NAME, _MOST_BYTES).split(b"\n")
        except BadInput:
            dropped += 1
            continue
        if b"}" not in lines[-1]:  # nothing, or what a kill left of a row: no damage
            lines.pop()
        whole = [row for row in map(parse_row, lines) if row is not None]
        dropped += len(lines) - len(whole)
        undigested += sum(DIGEST not in row for row in whole)
        rows.update((row["step"], row) for row in whole)
    return Metrics([rows[step] for step in sorted(rows)], dropped, undigested)


def read_tail(attempt: Path) -> list[Row]:
    """The last rows of one attempt's file, a few kB of it however long it is; none if unreadable.

    For looking at a run from outside: what is torn or strange is passed over, not reported.
    """
    try:
        require_file(attempt / NAME)
        with (attempt / NAME).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            lines = file.read().split(b"\n")
    except (BadInput, OSError):
        return []
    parsed = map(parse_row, lines[size > _TAIL_BYTES :])
    return [row for row in parsed if row is not None]


def spikes(rows: list[Row]) -> list[tuple[int, float]]:
    """(step, height in nats) of losses far above the median of the 50 rows before them, and up.

    Far is half a nat and six of their standard deviations (by the median absolute deviation). Up:
    the row before or after is above, too, by a quarter of a nat and by six standard deviations of
    the scatter of batches. A loss that is high once and then where it was is an odd batch: the
    weights did not suffer.
    """
    found = []
    losses = [row["loss"] for row in rows]
    for index in range(10, len(rows)):
        before = losses[max(0, index - _SPIKE_WINDOW) : index]
        middle, beside = statistics.median(before), losses[index - 1 : index + 2 : 2]
        deviation = 1.4826 * statistics.median(abs(loss - middle) for loss in before)
        height, lasting = losses[index] - middle, max(beside) - middle
        is_far = height > max(_SPIKE_NATS, _FAR * deviation) and lasting > _SPIKE_NATS / 2
        if is_far and lasting > _FAR * _batch_scatter(before):
            found.append((rows[index]["step"], height))
    return found


def _batch_scatter(losses: list[float]) -> float:
    """The standard deviation of a batch's loss, by the median change from row to row.

    A run that still falls fast has changes of one size, and no scatter.
    """
    changes = [after - before for before, after in pairwise(losses)]
    middle = statistics.median(changes)
    return 1.4826 * statistics.median(abs(one - middle) for one in changes) / math.sqrt(2)


def parse_row(line: bytes) -> Row | None:
    """The row of a line; None for a torn line, a changed byte, or what no run logs."""
    try:
        row = parse_json(line)
    except ValueError:
        return None
    if not isinstance(row, dict) or digest_holds(row) is False:
        return None
    if type(row.get("step")) is not int or not 0 <= row["step"] < _MOST_STEPS:
        return None
    numbers = (row[name] for name in _NUMBERS if row.get(name) is not None)
    return row if row.get("loss") is not None and all(map(_is_number, numbers)) else None


def _is_number(value: Any) -> bool:
    """Whether a parsed value is a finite number that a float holds."""
    return type(value) in (int, float) and abs(value) < _LARGEST
