"""train.py under the real torchrun: one model on two ranks, a stop, and the launcher's death."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.tiny_sweep import eventually
from tests.support.tiny_training import prepared_config, train_once
from training.trial.attempt import Claimed, Watch, claim
from training.trial.folder import write_config
from training.trial.metrics import read_metrics
from training.trial.record import read_record

ROOT = Path(__file__).resolve().parent.parent


def torchrun(config, folder: Path, out: Path, script="train.py", **more) -> subprocess.Popen[str]:
    """Two ranks of train.py on `config`; `more` goes into their environment."""
    write_config(folder / "config", config)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    script = [script, "--config-dir", str(folder / "config"), "--config-name", "config"]
    return subprocess.Popen(
        [*launcher, *script, f"out={out}"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_ranks_train_the_same_model_as_one(tmp_path):
    """Under torchrun, by the script, with an uneven last micro-batch and evaluation on the way."""
    config = prepared_config(tmp_path)
    config = replace(config, runtime=replace(config.runtime, micro_batch=3, evaluate_every_steps=2))
    one = train_once(config, tmp_path / "one")
    launcher = torchrun(config, tmp_path, tmp_path / "two")
    output, errors = launcher.communicate(timeout=300)
    assert launcher.returncode == 0, errors
    assert output.count("  held-out ") == 3  # rank 0 alone speaks
    two = read_record(tmp_path / "two")
    assert two is not None and two.status == "done" and two.world_size == 2
    assert two.loss == pytest.approx(one.loss, abs=1e-5)
    rows = zip(read_metrics(tmp_path / "one"), read_metrics(tmp_path / "two"), strict=True)
    for row_of_one, row_of_two in rows:
        for name in ("loss", "grad_norm", "val_loss"):
            assert row_of_two.get(name) == pytest.approx(row_of_one.get(name), abs=1e-5)
        assert row_of_one["tokens"] == row_of_two["tokens"]


def test_a_stop_of_the_launcher_is_saved_by_the_ranks(tmp_path):
    config = prepared_config(tmp_path, 40_000, runtime__checkpoint_every_s=1e6)
    out = tmp_path / "out"
    launcher = torchrun(config, tmp_path, out)
    eventually(lambda: read_metrics(out))
    launcher.send_signal(signal.SIGTERM)
    _, errors = launcher.communicate(timeout=300)
    assert launcher.returncode != 0  # torchrun's own; the record, here its absence, is the truth
    assert errors.count("stopped: after step") == 1
    [saved] = out.glob("attempt-001/checkpoints/*")
    assert int(saved.name[5:]) == read_metrics(out)[-1]["step"]
    assert read_record(out) is None


def test_ranks_end_with_their_launcher_and_are_owners_until_then(tmp_path):
    config = prepared_config(tmp_path, 40_000, runtime__checkpoint_every_s=1e6)
    out = tmp_path / "out"
    launcher = torchrun(config, tmp_path, out)
    eventually(lambda: read_metrics(out))
    assert isinstance(claim(out, Watch()), Claimed)
    launcher.kill()
    launcher.communicate(timeout=300)  # ends when the ranks, who hold its pipes, have ended
    [saved] = out.glob("attempt-001/checkpoints/*")
    assert int(saved.name[5:]) == read_metrics(out)[-1]["step"]
    # A process that ends closes its pipes first.
    eventually(lambda: not isinstance(claim(out, Watch()), Claimed))


RANKS_TIMEOUT_S = 12  # a rank is silent for seconds on a busy machine, and has no fault
SILENT = f"no answer (runtime.timeout_s={RANKS_TIMEOUT_S})"
FAULTS = {
    "1:30:SIGKILL": ("exited without an error report", "Signal 9 (SIGKILL)", 60),
    "0:30:SIGSTOP": (SILENT, "no answer", RANKS_TIMEOUT_S + 60),
    "0:30:SIGKILL": ("exited without an error report", "Signal 9 (SIGKILL)", 60),
    "0:30:raise": ("ValueError: something strange", "ValueError: something strange", 60),
    "1:30:raise": ("ValueError: something strange", "ValueError: something strange", 60),
    "0:30:exit": ("exited without an error report", "exited without an error report", 60),
    "1:30:exit": ("exited without an error report", "exited without an error report", 60),
    "1:30:SIGSTOP": (SILENT, "no answer", RANKS_TIMEOUT_S + 60),
}
QUICK = ["1:30:SIGKILL"]  # a hung rank: tests/test_training_ranks_heartbeat.py


@pytest.mark.parametrize(
    "fault", [*QUICK, *(pytest.param(f, marks=pytest.mark.slow) for f in FAULTS if f not in QUICK)]
)
def test_a_rank_that_fails_ends_the_job_soon_and_is_named(tmp_path, fault):
    """`python -m pytest -s -m "" tests/test_train_torchrun.py -k soon` prints the seconds."""
    rank = fault[0]
    reason, said, limit_s = FAULTS[fault]
    config = prepared_config(tmp_path, 40_000, runtime__checkpoint_every_s=1e6)
    if fault.endswith("SIGSTOP"):  # else a busy machine would be taken for one that hangs
        config = replace(config, runtime=replace(config.runtime, timeout_s=RANKS_TIMEOUT_S))
    out, time_file = tmp_path / "out", tmp_path / "time"
    launcher = torchrun(
        config,
        tmp_path,
        out,
        "tests/support/faulty_rank.py",
        FAULT=fault,
        FAULT_TIME=str(time_file),
    )
    _, errors = launcher.communicate(timeout=300)
    seconds = time.time() - float(time_file.read_text())
    print(f"\n{fault}: {seconds:.1f} s")
    assert launcher.returncode == 1 and seconds < limit_s
    record = read_record(out)
    assert record is not None and record.status == "failed" and record.reason is not None
    assert record.reason.startswith(f"rank {rank}") and ", after step 30: " in record.reason
    assert reason in record.reason
    summary = errors[errors.index("FAILED") :]  # torchrun's own: who, how, and what was raised
    assert said in summary
    assert f"rank      : {rank} " in summary or fault.endswith("exit")  # that is no failure to it
