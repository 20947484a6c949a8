"""The commands themselves, killed again and again as a machine would kill them."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
KILLS = 20


def command(*arguments: object) -> list[str]:
    return [sys.executable, *map(str, arguments), "runtime.checkpoint_every_s=0.2"]


def digests(records: list[Path]) -> dict[str, tuple[str, bool]]:
    values = [json.loads(path.read_text()) for path in records]
    return {value["id"]: (value["weights_digest"], value["bitwise"]) for value in values}


def kill_at_random(arguments: list[str], times: random.Random, last: Path, longest_s: float) -> int:
    """Start the command and kill it, KILLS times or until it is done; then let it end."""
    kills = 0
    while kills < KILLS and not last.exists():
        process = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.DEVNULL)
        try:
            process.wait(times.uniform(1, longest_s))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            kills += 1
            process.wait()
    end = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True)
    assert end.returncode == 0, end.stderr
    return kills


@pytest.mark.slow
def test_sweep_killed_twenty_times_gives_same_bits(tmp_path):
    data = f"runtime.data_dir={tmp_path / 'data'}"
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    base = ("sweep.py", "experiment=smoke", data)
    start = time.monotonic()
    subprocess.run(command(*base, f"out={calm}"), cwd=ROOT, check=True, capture_output=True)
    longest_s = (time.monotonic() - start) / 3  # on a busy machine the start alone takes long
    report = killed / "fit" / "report.html"
    kills = kill_at_random(command(*base, f"out={killed}"), random.Random(2), report, longest_s)
    expected = digests(sorted(calm.glob("trials/*/record.json")))
    found = digests(sorted(killed.glob("trials/*/record.json")))
    attempts = len(list(killed.glob("trials/*/attempt-*")))
    print(f"{kills} kills, {attempts} attempts at {len(found)} trials")
    assert found == expected and all(bitwise for _, bitwise in found.values())
    assert kills >= 5 and attempts > len(found)


@pytest.mark.slow
def test_train_killed_twenty_times_gives_same_bits(tmp_path):
    data = f"runtime.data_dir={tmp_path / 'data'}"
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    # About ten seconds of training, so that most kills fall into it.
    base = ("train.py", "experiment=quickstart", "schedule.tokens=2e6", data)
    subprocess.run(command(*base, f"out={calm}"), cwd=ROOT, check=True, capture_output=True)
    record = killed / "record.json"
    kills = kill_at_random(command(*base, f"out={killed}"), random.Random(3), record, 6.0)
    print(f"{kills} kills, {len(list(killed.glob('attempt-*')))} attempts")
    assert digests([killed / "record.json"]) == digests([calm / "record.json"])
    assert kills >= 5
