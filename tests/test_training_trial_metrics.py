"""Metrics: one row per step over all attempts; what is damaged is left out and counted."""

import json
import random

import pytest

from training.trial.metrics import MetricsLog, read_metrics, read_tail, scan_metrics, spikes


def write(trial, attempt, steps, loss):
    folder = trial / f"attempt-{attempt:03d}"
    folder.mkdir(parents=True, exist_ok=True)
    log = MetricsLog(folder)
    for step in steps:
        log.write({"step": step, "loss": loss})
    log.close()
    return folder / "metrics.jsonl"


def test_metrics_of_a_later_attempt_replace_the_steps_it_repeats(tmp_path):
    """A later attempt replaces the steps it repeats."""
    write(tmp_path, 1, range(1, 8), 1.0)
    write(tmp_path, 2, range(5, 10), 2.0)
    rows = read_metrics(tmp_path)
    assert [row["step"] for row in rows] == list(range(1, 10))
    assert [row["loss"] for row in rows] == [1.0] * 4 + [2.0] * 5


def test_metrics_of_a_killed_attempt_lose_at_most_the_last_row(tmp_path):
    """A killed attempt loses at most its last row."""
    path = write(tmp_path, 1, range(1, 4), 1.0)
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        steps = [row["step"] for row in read_metrics(tmp_path)]
        assert steps == list(range(1, len(steps) + 1))
        assert len(steps) >= whole[:cut].count(b"\n")


@pytest.mark.parametrize(
    "line",
    [
        *(b"{torn", b"[1]", b"<b>", b"--5", b'""', b"\xff\x00", b"[" * 100_000, b"", b"{}"),
        *(b'{"loss": 1}', b'{"step": 1}', b'{"step": true, "loss": 1}', b'{"step": -1, "loss": 1}'),
        *(b'{"step": 1, "loss": NaN}', b'{"step": 1, "loss": 1e999}', b'{"step": 1, "loss": "1"}'),
        *(b'{"step": [1], "loss": 1}', b'{"step": 1, "loss": null}', b'{"step": 1.5, "loss": 1}'),
        b'{"step": 1' + b"0" * 29 + b', "loss": 1}',
        b'{"step": 1, "loss": 1' + b"0" * 400 + b"}",
        b'{"step": 1, "loss": 1, "tokens": "many"}',
        b'{"step": 1, "loss": 1, "digest": "0123456789abcdef"}',
        b'{"step": 1, "loss": 1, "digest": 5}',
    ],
)
def test_metrics_drop_and_count_what_is_no_row(tmp_path, line):
    """What no run logs is left out and counted, and what stands beside it is read."""
    path = write(tmp_path, 1, [1], 1.0)
    path.write_bytes(path.read_bytes() + line + b'\n{"step": 2, "loss": 1}\n')
    found = scan_metrics(tmp_path)
    assert [row["step"] for row in found.rows] == [1, 2]
    assert (found.dropped, found.undigested) == (1, 1)
    if len(line) < 4000:
        assert [row["step"] for row in read_tail(path.parent)] == [1, 2]


def test_metrics_show_every_changed_byte(tmp_path):
    """No changed byte of a row changes a number in silence."""
    path = write(tmp_path, 1, [1, 2], 2.4385)
    whole, rows = path.read_bytes(), read_metrics(tmp_path)
    for place in range(len(whole)):
        for mask in (1, 4, 32, 128):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ mask]) + whole[place + 1 :])
            found = scan_metrics(tmp_path)
            values = [{key: row.get(key) for key in ("step", "loss")} for row in found.rows]
            assert all(value in [{"step": n, "loss": 2.4385} for n in (1, 2)] for value in values)
            assert found.dropped or found.undigested or found.rows == rows


def test_metrics_take_the_piece_that_a_kill_leaves_for_no_damage(tmp_path):
    """A file cut within its last row ends a row earlier; cut between rows' ends it is whole."""
    path = write(tmp_path, 1, [1, 2], 1.0)
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for size in range(first, len(whole) - 1):
        path.write_bytes(whole[:size])
        found = scan_metrics(tmp_path)
        assert [row["step"] for row in found.rows] == [1] and found.dropped == 0
    path.write_bytes(whole[:-1])
    assert [row["step"] for row in read_metrics(tmp_path)] == [1, 2]


def test_metrics_pass_over_a_folder_in_their_place(tmp_path):
    """A folder in the place of an earlier attempt's rows is counted, and the others are read."""
    (tmp_path / "attempt-001" / "metrics.jsonl").mkdir(parents=True)
    path = write(tmp_path, 2, [3], 1.0)
    found = scan_metrics(tmp_path)
    assert [row["step"] for row in found.rows] == [3] and found.dropped == 1
    assert read_tail(tmp_path / "attempt-001") == [] and len(read_tail(path.parent)) == 1


def test_metrics_never_hold_values_that_are_not_finite(tmp_path):
    """Values that are not finite are never written."""
    folder = tmp_path / "attempt-001"
    folder.mkdir()
    log = MetricsLog(folder)
    with pytest.raises(ValueError):
        log.write({"step": 1, "loss": float("nan")})
    log.close()
    assert (folder / "metrics.jsonl").read_bytes() == b""


def test_metrics_of_a_trial_without_attempts_have_no_rows(tmp_path):
    """A trial without attempts has no rows."""
    assert read_metrics(tmp_path / "nothing") == []


def test_metrics_find_a_spike_with_its_height_and_no_fall():
    """A spike is found with its height and a fall is none."""
    losses = [5 - 0.05 * k for k in range(60)]
    rows = [{"step": k + 1, "loss": loss} for k, loss in enumerate(losses)]
    assert spikes(rows) == []
    rows[40]["loss"], rows[41]["loss"] = 9.0, 7.0
    [(step, height)] = spikes(rows)
    assert step == 41 and 4 < height < 7
    assert json.dumps(spikes(rows))


def test_metrics_take_two_odd_batches_in_a_row_for_no_spike():
    """Batches of 128 tokens scatter by 0.3 nats: 2.46 above beside 1.1 above is no jump that lasts.

    Where they scatter by 0.02, as much later as 0.4 above is one.
    """
    noise = random.Random(1)
    rows = [{"step": step, "loss": 2.4 + noise.gauss(0, 0.3)} for step in range(1, 301)]
    rows[149]["loss"], rows[150]["loss"] = 2.4 + 2.46, 2.4 + 1.1
    assert spikes(rows) == []
    rows[150]["loss"] = 2.4 + 2.3  # it lasts
    assert [step for step, _ in spikes(rows)] == [150, 151]
    calm = [{"step": step, "loss": 2.4 + noise.gauss(0, 0.02)} for step in range(1, 301)]
    for step, above in ((150, 0.7), (151, 0.4), (152, 0.3)):
        calm[step - 1]["loss"] = 2.4 + above
    assert [step for step, _ in spikes(calm)] == [150]


def test_metrics_take_an_odd_batch_for_no_spike():
    """One loss that is high and back at the next step is the batch's; one that stays is a spike."""
    noise = random.Random(0)
    losses = [2.6 + noise.gauss(0, 0.12) for _ in range(200)]
    rows = [{"step": step, "loss": loss} for step, loss in enumerate(losses, 1)]
    for step in (60, 120, 122, 200):  # the last row's next is not known
        rows[step - 1]["loss"] = 3.6
    assert spikes(rows) == []
    for step, extra in enumerate((0.9, 1.4, 1.3, 1.1, 0.9, 0.7, 0.6, 0.5), 150):
        rows[step - 1]["loss"] = 2.6 + extra
    assert spikes(rows)[0][0] == 150
    up = [{"step": step, "loss": 3.0 + 2 * (step > 28)} for step in range(1, 31)]
    assert [step for step, _ in spikes(up)] == [29, 30]  # to the end of the run
