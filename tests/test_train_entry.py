"""train.py as a command: what it ends in, what it leaves, and what it does not touch."""

import errno
import hashlib
import json
import math
import os
from pathlib import Path

import pytest
import torch

from data.prepare import prepare
from model.gpt import GPT
from tests.support.tiny_training import claimed, prepared_config, tiny_config
from tests.support.train_command import entry, train_command
from training import loop
from training.trial.folder import read_config
from training.trial.identity import trial_id
from training.trial.metrics import read_metrics
from training.trial.record import read_record


@pytest.fixture
def command(tmp_path):
    return train_command(tmp_path)


def tree(folder: Path) -> dict[str, tuple[str, int]]:
    return {
        str(path): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_run_leaves_the_folder_of_a_trial(command, tmp_path, capsys):
    out = tmp_path / "out"
    assert command(f"out={out}") == 0
    record = read_record(out)
    assert record is not None and record.status == "done" and record.loss is not None
    assert record.id == trial_id(read_config(out))
    assert len(read_metrics(out)) == record.steps == 6
    names = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert {
        "config.yaml",
        "record.json",
        "attempt-001/owner.json",
        "attempt-001/heartbeat",
        "attempt-001/runtime.json",
        "attempt-001/metrics.jsonl",
        "attempt-001/log.txt",
        "attempt-001/checkpoints/step-00000006/state.pt",
        "attempt-001/checkpoints/step-00000006/meta.json",
    } <= names
    output = capsys.readouterr().out
    assert "step 6/6" in output
    end = f"{out}: held-out loss {record.loss:.4f} nats per byte ({record.loss_bpb:.4f} bits per"
    assert end in output and f"more in {out}/record.json" in output


def test_a_finished_run_is_not_touched(command, tmp_path, capsys):
    out = tmp_path / "out"
    assert command(f"out={out}") == 0
    before = tree(out)
    assert command(f"out={out}") == 0
    assert "nothing to do" in capsys.readouterr().out
    assert tree(out) == before


def test_a_damaged_record_is_made_again_from_the_last_checkpoint(command, tmp_path, capsys):
    """And rows of metrics that no run wrote are passed over, a folder in their place too."""
    out = tmp_path / "out"
    assert command(f"out={out}") == 0
    whole = read_record(out)
    (out / "record.json").write_text((out / "record.json").read_text().replace("0", "1"))
    rows = out / "attempt-001" / "metrics.jsonl"
    rows.write_text(rows.read_text().replace('"step": 3', '"step": "<b>"') + "--5\n")
    assert command(f"out={out}") == 0
    assert "record.json: differs from its own digest" in capsys.readouterr().out
    assert read_record(out).weights_digest == whole.weights_digest
    rows.unlink()
    rows.mkdir()
    (out / "record.json").write_text("{}")
    assert command(f"out={out}") == 0
    assert read_record(out).weights_digest == whole.weights_digest


def test_half_written_files_of_killed_writers_go_with_the_next_start(command, tmp_path):
    """Beside a trial that is yet to end, and beside one that has ended."""
    out = tmp_path / "out"
    for _ in range(2):
        left = [out / ".config.yaml.ab.tmp", out / "attempt-001" / ".heartbeat.ab.tmp"]
        for path in left:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        assert command(f"out={out}") == 0
        assert not list(out.rglob(".*"))


def test_a_record_without_a_digest_is_said_to_have_none(command, tmp_path, capsys):
    out = tmp_path / "out"
    assert command(f"out={out}") == 0
    values = json.loads((out / "record.json").read_text())
    del values["digest"]
    (out / "record.json").write_text(json.dumps(values))
    capsys.readouterr()
    assert command(f"out={out}") == 0
    text = capsys.readouterr().out
    assert "nothing to do" in text and "record.json without a digest" in text


def test_its_config_runs_it_again_elsewhere(command, tmp_path):
    assert command(f"out={tmp_path / 'out'}") == 0
    again = ["--config-dir", str(tmp_path / "out"), "--config-name", "config"]
    assert entry(*again, f"out={tmp_path / 'again'}") == 0
    first, second = read_record(tmp_path / "out"), read_record(tmp_path / "again")
    assert first is not None and second is not None
    assert (first.id, first.weights_digest) == (second.id, second.weights_digest)


def test_without_out_the_folder_has_the_name_of_the_trial(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command() == 0
    assert (tmp_path / "runs" / trial_id(tiny_config(tmp_path)) / "record.json").exists()


def test_checkpoints_need_not_be_kept(command, tmp_path):
    assert command(f"out={tmp_path / 'out'}", "keep=none") == 0
    assert not list(tmp_path.glob("out/attempt-*/checkpoints"))
    assert read_record(tmp_path / "out") is not None


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("optimizer.lrr=1", "optimizer.lrr: unknown key; did you mean optimizer.lr?"),
        ("mode=fly", "mode: found 'fly' (str), expected one of run, plan, measure"),
        ("keep=some", "keep: found 'some' (str), expected one of final, none"),
        ("grid=smoke", "grid=smoke: train.py trains one model and reads no grid"),
        ("grid.budgets=[1e9]", "reads no grid"),
        ("launcher=local", "reads no launcher"),
        ("model.vocab_size=300", "model.vocab_size: found 300, expected 256"),
        ("evaluation.tokens=100000000", "evaluation.tokens: found 100000000"),
        ("data.max_epochs=0.001", "expected at most data.max_epochs 0.001"),
        ("data.path=/nowhere", "/nowhere"),
        ("schedule.batch_tokens=100", "found 100, expected a multiple of model.block_size 16"),
        ("runtime.micro_batch=0", "runtime.micro_batch: found 0, expected more than 0"),
        ("precision=fp16", "precision: found 'fp16' (str), expected one of float32, bf16"),
        ("model.n_embd=131072", "expected less than the"),
        ("model.block_size=48", "found 128, expected a multiple of model.block_size 48"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(command, tmp_path, capsys, override, expected):
    assert command(override, f"out={tmp_path / 'out'}") == 2
    captured = capsys.readouterr()
    assert expected in captured.err and captured.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_token_beyond_the_vocabulary_is_refused_before_step_0(command, tmp_path, capsys):
    prepare(prepared_config(tmp_path).data, tmp_path / "shards")
    [shard] = (tmp_path / "shards").glob("*/train_000000.bin")
    data = bytearray(shard.read_bytes())
    data[-2:] = (999).to_bytes(2, "little")
    shard.write_bytes(data)
    assert command(f"out={tmp_path / 'out'}") == 2
    assert "found id 999" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("place", ["a file", "in a file"])
def test_an_out_that_is_no_folder_is_refused(command, tmp_path, capsys, place):
    (tmp_path / "file").write_text("mine")
    out = tmp_path / "file" if place == "a file" else tmp_path / "file" / "out"
    assert command(f"out={out}") == 2
    assert "file" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "mine"


def test_a_trial_with_a_live_owner_is_refused_with_its_name(command, tmp_path, capsys):
    out = tmp_path / "out"
    claimed(out)
    assert command(f"out={out}") == 2
    error = capsys.readouterr().err
    assert f"is being trained by {os.uname().nodename}:{os.getpid()}" in error


def test_an_out_with_another_trial_is_refused_with_the_fields(command, tmp_path, capsys):
    out = tmp_path / "out"
    assert command(f"out={out}") == 0
    assert command(f"out={out}", "optimizer.lr=0.5", "seed=3") == 2
    error = capsys.readouterr().err
    assert "optimizer.lr: 0.01, now 0.5" in error and "seed: 0, now 3" in error


def test_a_diverged_run_ends_in_3_and_stays_ended(command, tmp_path, capsys, monkeypatch):
    forward = GPT.forward
    monkeypatch.setattr(GPT, "forward", lambda *tensors: forward(*tensors) * math.nan)
    assert command(f"out={tmp_path / 'out'}") == 3
    monkeypatch.undo()
    assert command(f"out={tmp_path / 'out'}") == 3
    assert "diverged: loss nan" in capsys.readouterr().out


def test_what_ran_out_of_memory_is_tried_again_when_asked(command, tmp_path, capsys, monkeypatch):
    """On its third step; with shorter passes the same command goes on from the second."""
    forward, calls = GPT.forward, 0

    def hungry(self, tokens_BT, targets_BT=None):
        nonlocal calls
        calls += 1
        if calls >= 3 and len(tokens_BT) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, tokens_BT, targets_BT)

    monkeypatch.setattr(GPT, "forward", hungry)
    monkeypatch.setattr(loop, "held_out_loss", lambda run: 1.0)
    out = tmp_path / "out"
    assert command(f"out={out}", "runtime.micro_batch=8") == 3  # as said, and so not halved
    assert "oom: step 3, micro-batch size 8" in capsys.readouterr().out
    assert command(f"out={out}", "seed=1") == 2  # of another trial nothing is moved
    assert command(f"out={out}", "runtime.micro_batch=1") == 0
    record = read_record(out)
    assert record is not None and (record.status, record.attempts) == ("done", 2)
    assert "resumed at step 2" in (out / "attempt-002/log.txt").read_text()
    assert json.loads((out / "attempt-001/record.json").read_text())["status"] == "oom"


def test_prepared_data_may_be_read_only(command, tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("data.verification.write_atomic", refuse)
    assert command(f"out={tmp_path / 'out'}") == 0


def test_an_out_that_cannot_be_written_is_named(command, tmp_path, monkeypatch, capsys):
    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("training.trial.folder.claim_patiently", refuse)
    assert command(f"out={tmp_path / 'out'}") == 2
    assert f"out: {tmp_path / 'out'}: Read-only file system" in capsys.readouterr().err


def test_data_of_the_hub_that_are_not_prepared_name_the_command(tmp_path, capsys):
    out, data_dir = tmp_path / "out", tmp_path / "data"
    assert entry("experiment=gpt2_124m", f"out={out}", f"runtime.data_dir={data_dir}") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "run python -m data.prepare with the same" in error
    assert not out.exists() and not data_dir.exists()
