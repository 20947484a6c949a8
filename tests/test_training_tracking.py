"""Weights & Biases is told what metrics.jsonl says, and can neither stop nor delay a run."""

import json
import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from common.errors import StopRequested
from scaling.plan.grid import plan_grid
from scaling.run import store, sweep
from scaling.run.store import StoredPlan
from scaling.run.workers.devices import this_machine
from tests.support.kill_harness import fork
from tests.support.tiny_sweep import child_pids, eventually, request
from tests.support.tiny_training import alone, claimed, prepared_config
from training import tracking
from training.dataset import prepared_data
from training.loop import train_and_publish
from training.state import TrainState
from training.step import PendingStep, begin_step
from training.tracking import Labels, tracked, wandb_mode, where_rows_go
from training.trial.metrics import read_metrics
from training.trial.record import read_record

LABELS = Labels("my sweep", ("1e+09 FLOP", "grid"))


@pytest.fixture(autouse=True)
def no_account(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    yield
    for process in tracking._leaving:
        process.kill()
        process.wait()


def run(folder: Path, tracker: str = "wandb", steps: int = 6):
    """One attempt as a sweep's child makes it; the folder of the attempt, and seconds taken."""
    config = prepared_config(folder, steps)
    config = replace(config, runtime=replace(config.runtime, tracking=tracker))
    attempt = claimed(folder / "trial")
    start = time.monotonic()
    with tracked(attempt, config, LABELS):
        record = train_and_publish(config, attempt, alone(), quiet=True)
    assert record.status == "done"
    return attempt.folder, time.monotonic() - start


def stops_at_five(state: TrainState, stop: bool, save: bool) -> PendingStep:
    return begin_step(state, stop or state.step == 4, save)


def fake_wandb(folder: Path, monkeypatch, source: str) -> None:
    """A wandb that does `source`, for faults that the real one is not known for on demand."""
    (folder / "fake").mkdir()
    (folder / "fake" / "wandb.py").write_text(source)
    monkeypatch.setenv("PYTHONPATH", str(folder / "fake"))


def transactions(path: Path):
    """The records of an offline run's file: LevelDB's log format after seven bytes."""
    from wandb.proto import wandb_internal_pb2

    data, position, part = path.read_bytes(), 7, b""
    while position + 7 <= len(data):
        if 32768 - position % 32768 < 7:
            position += 32768 - position % 32768
            continue
        size, kind = int.from_bytes(data[position + 4 : position + 6], "little"), data[position + 6]
        if position + 7 + size > len(data):
            return  # the last record is being written
        part += data[position + 7 : position + 7 + size]
        position += 7 + size
        if kind in (1, 4):  # whole, or the last of several
            record = wandb_internal_pb2.Record()
            record.ParseFromString(part)
            part = b""
            yield record


def test_tracking_by_real_wandb_offline_has_rows_labels_and_record(tmp_path):
    """The real wandb offline has rows labels and the record."""
    attempt, _ = run(tmp_path)
    [process] = tracking._leaving
    assert process.wait(300) == 0, (attempt / "tracking.log").read_text()
    [file] = attempt.glob("wandb/offline-run-*/run-*.wandb")
    history, about, summary = [], None, {}
    for record in transactions(file):
        if record.HasField("history"):
            row = {(i.key or i.nested_key[0]): i.value_json for i in record.history.item}
            history.append({key: json.loads(value) for key, value in row.items()})
        if record.HasField("run"):
            about = record.run
        if record.HasField("summary"):
            items = record.summary.update
            summary |= {(i.key or i.nested_key[0]): json.loads(i.value_json) for i in items}
    rows = read_metrics(tmp_path / "trial")
    assert [row["step"] for row in history] == [row["step"] for row in rows]
    assert [row["loss"] for row in history] == [row["loss"] for row in rows]
    assert history[-1]["val_loss"] == rows[-1]["val_loss"]
    assert about.run_group == "my sweep" and set(about.tags) == {*LABELS.tags, "2x16"}
    assert about.project == tracking.PROJECT and about.run_id.startswith("my-sweep-")
    recorded = read_record(tmp_path / "trial")
    assert summary["weights_digest"] == recorded.weights_digest
    assert summary["loss_bpb"] == recorded.loss_bpb
    assert "offline" in (attempt / "tracking.log").read_text()


def test_tracking_offline_tells_where_and_each_attempt_tells_all_rows(tmp_path, capsys):
    """What is synced last has the rows before the checkpoint, too, each step once."""
    config = prepared_config(tmp_path, 8)
    config = replace(config, runtime=replace(config.runtime, tracking="wandb"))
    first = claimed(tmp_path / "trial")
    with suppress(StopRequested), tracked(first, config, LABELS):
        train_and_publish(config, first, alone(), quiet=True, step_function=stops_at_five)
    first.release()
    attempt, _ = run(tmp_path, steps=8)
    assert attempt.name == "attempt-002"
    for process in tracking._leaving:
        process.wait(300)
    [file] = attempt.glob("wandb/offline-run-*/run-*.wandb")
    steps = [
        json.loads(item.value_json)
        for record in transactions(file)
        for item in record.history.item
        if "step" in (item.key, *item.nested_key)
    ]
    assert steps == list(range(1, 9))
    text = capsys.readouterr().out
    for place in (first.folder, attempt):
        assert f"wandb writes offline (no key; `wandb login` stores one) into {place}/wandb" in text
        assert f"wandb sync {place}/wandb/offline-run-*" in text


def test_tracking_says_where_rows_go(monkeypatch):
    """Online the project, offline the folder and how to upload it, quoted for a shell."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    text = where_rows_go(Path("/my runs") / "trials" / "*" / "attempt-*")
    assert text.endswith("wandb sync /'my runs'/trials/*/attempt-*/wandb/offline-run-*")
    assert "no key" not in text
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert "disabled by WANDB_MODE" in where_rows_go(Path("x"))
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_API_KEY", "x")
    assert "online; project" in where_rows_go(Path("x"))
    assert "writes offline" in where_rows_go(Path("x"), "offline")


@pytest.mark.parametrize(
    "source",
    [
        "raise RuntimeError('no')",
        "import time; time.sleep(600)",
        "class Error(Exception): pass\ndef Settings(**_): pass\n"
        "def init(**_):\n    import os; os.kill(os.getpid(), 9)",
        "import os, signal; signal.signal(15, signal.SIG_IGN); os.close(0); os._exit(3)",
    ],
)
def test_tracking_costs_the_run_nothing_if_wandb_raises_hangs_or_dies(
    tmp_path, monkeypatch, source
):
    """A wandb that raises hangs or dies costs the run nothing."""
    fake_wandb(tmp_path, monkeypatch, source)
    (tmp_path / "with").mkdir()
    (tmp_path / "without").mkdir()
    _, without_s = run(tmp_path / "without", "none")
    _, with_s = run(tmp_path / "with")
    assert with_s < without_s + 5
    digests = [read_record(tmp_path / n / "trial").weights_digest for n in ("with", "without")]
    assert digests[0] == digests[1]
    assert len(read_metrics(tmp_path / "with" / "trial")) == 6


def test_tracking_tells_a_failed_tracker_in_one_line(tmp_path, monkeypatch, capsys):
    """A tracker that failed is told in one line."""
    fake_wandb(tmp_path, monkeypatch, "raise RuntimeError('no')")
    config = prepared_config(tmp_path)
    config = replace(config, runtime=replace(config.runtime, tracking="wandb"))
    attempt = claimed(tmp_path / "trial")
    popen, started = subprocess.Popen, []

    def kept(*arguments, **options):
        started.append(popen(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(tracking.subprocess, "Popen", kept)
    with tracked(attempt, config, LABELS):
        assert started[0].wait(300) == 1
    assert "RuntimeError" in (attempt.folder / "tracking.log").read_text()
    where, failed = capsys.readouterr().out.splitlines()
    assert "offline" in where and "see tracking.log" in failed


def test_tracking_without_a_process_lets_the_run_go_on(tmp_path, monkeypatch, capsys):
    """Without a process the run goes on."""

    def refuse(*arguments, **options):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(tracking.subprocess, "Popen", refuse)
    run(tmp_path)
    assert "runtime.tracking: not started" in capsys.readouterr().out


def test_tracking_ends_a_hanging_tracker_after_its_limit(tmp_path, monkeypatch):
    """A hanging tracker leaves after its limit however the run ended.

    The run is killed; its tracker sees the end of its input, and a hung wandb does not hold it.

    The limit is shortened in the tracker itself, by the fake that it imports.
    """
    slow = "import training.tracking, __main__\n__main__.FINISH_S = 1\n"
    slow += "class Error(Exception): pass\ndef Settings(**_): pass\n"
    slow += "class Run:\n    summary = {}\n    def define_metric(*a, **k): pass\n"
    slow += "    def log(*a): pass\n    def finish(self):\n        import time; time.sleep(600)\n"
    slow += "def init(**_): return Run()\n"
    fake_wandb(tmp_path, monkeypatch, slow)
    config = prepared_config(tmp_path)
    config = replace(config, runtime=replace(config.runtime, tracking="wandb"))
    attempt = claimed(tmp_path / "trial")

    def hang():
        with tracked(attempt, config, LABELS):
            time.sleep(600)

    child = fork(hang, tmp_path / "log")
    eventually(lambda: child_pids(child.pid))
    [pid] = child_pids(child.pid)
    eventually(lambda: "wandb: offline" in (attempt.folder / "tracking.log").read_text())
    child.kill(signal.SIGKILL)
    child.wait()
    eventually(lambda: not Path(f"/proc/{pid}").exists())


def test_tracking_groups_a_trial_by_its_sweep(tmp_path):
    """A trial of a sweep has the sweep for its group."""
    out = tmp_path / "my study"
    more = ("grid.budgets=[1e8]", "grid.sizes=1", "runtime.tracking=wandb")
    asked = request(tmp_path, out, *more)
    data = prepared_data(asked.base)
    plan = plan_grid(asked.base, asked.grid, data.tokens_per_epoch)
    stored = store.store_plan(out, StoredPlan(plan, data.digest, asked.launcher), False)
    machine = this_machine(asked.base.runtime, asked.launcher)
    [state] = sweep.work(asked, stored, machine, wait=True)
    assert state.state == "done"
    place = out / "trials" / state.trial.id / "attempt-001"

    def ended():
        files = list(place.glob("wandb/offline-run-*/run-*.wandb"))
        return [r for f in files for r in transactions(f) if r.HasField("exit")]

    eventually(ended)
    [file] = place.glob("wandb/offline-run-*/run-*.wandb")
    [about, *_] = [record.run for record in transactions(file) if record.HasField("run")]
    assert about.run_group == "my study" and {"1e+08 FLOP", "grid"} <= set(about.tags)


def test_tracking_online_needs_a_key_and_waits_for_none(tmp_path):
    """Online needs a key and no mode waits for one."""
    nothing = {"NETRC": str(tmp_path / "netrc")}
    assert wandb_mode(nothing) == "offline"
    assert wandb_mode(nothing | {"WANDB_MODE": "online"}) == "offline"
    assert wandb_mode(nothing | {"WANDB_API_KEY": "x"}) == "online"
    assert wandb_mode(nothing | {"WANDB_API_KEY": "x", "WANDB_MODE": "offline"}) == "offline"
    assert wandb_mode(nothing | {"WANDB_MODE": "disabled"}) == "disabled"
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password x\n")
    (tmp_path / "netrc").chmod(0o600)
    assert wandb_mode(nothing) == "online"
    assert wandb_mode(nothing | {"WANDB_BASE_URL": "https://wandb.example"}) == "offline"
    (tmp_path / "netrc").write_text("nonsense")
    assert wandb_mode(nothing) == "offline"
