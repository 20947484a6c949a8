"""Metrics: strict lines, one row per step over all attempts, a torn tail and nothing else."""

import json

import pytest

from configs.errors import BadInput
from training.metrics import MetricsLog, read_metrics, spikes


def write(trial, attempt, steps, loss):
    folder = trial / f"attempt-{attempt:03d}"
    folder.mkdir(parents=True, exist_ok=True)
    log = MetricsLog(folder)
    for step in steps:
        log.write({"step": step, "loss": loss})
    log.close()
    return folder / "metrics.jsonl"


def test_a_later_attempt_replaces_the_steps_it_repeats(tmp_path):
    write(tmp_path, 1, range(1, 8), 1.0)
    write(tmp_path, 2, range(5, 10), 2.0)
    rows = read_metrics(tmp_path)
    assert [row["step"] for row in rows] == list(range(1, 10))
    assert [row["loss"] for row in rows] == [1.0] * 4 + [2.0] * 5


def test_a_killed_attempt_loses_at_most_its_last_row(tmp_path):
    path = write(tmp_path, 1, range(1, 4), 1.0)
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        steps = [row["step"] for row in read_metrics(tmp_path)]
        assert steps == list(range(1, len(steps) + 1))
        assert len(steps) >= whole[:cut].count(b"\n")


@pytest.mark.parametrize("line", [b"{torn", b"[1]", b'{"loss": 1}', b'{"step": 1, "loss": NaN}'])
def test_a_bad_line_is_named(tmp_path, line):
    path = write(tmp_path, 1, [1], 1.0)
    path.write_bytes(path.read_bytes() + line + b'\n{"step": 2, "loss": 1}\n')
    with pytest.raises(BadInput, match=r"metrics.jsonl:2: "):
        read_metrics(tmp_path)


def test_values_that_are_not_finite_are_never_written(tmp_path):
    folder = tmp_path / "attempt-001"
    folder.mkdir()
    log = MetricsLog(folder)
    with pytest.raises(ValueError):
        log.write({"step": 1, "loss": float("nan")})
    log.close()
    assert (folder / "metrics.jsonl").read_bytes() == b""


def test_a_trial_without_attempts_has_no_rows(tmp_path):
    assert read_metrics(tmp_path / "nothing") == []


def test_a_spike_is_found_with_its_height_and_a_fall_is_none():
    losses = [5 - 0.05 * k for k in range(60)]
    rows = [{"step": k + 1, "loss": loss} for k, loss in enumerate(losses)]
    assert spikes(rows) == []
    rows[40]["loss"] = 9.0
    [(step, height)] = spikes(rows)
    assert step == 41 and 4 < height < 7
    assert json.dumps(spikes(rows))
