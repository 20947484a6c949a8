"""sweep.py from the command line: what it leaves, what it says, and with which status it ends."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_sweep import eventually, overrides, pretended_plan, stored

import sweep
from configs.load import run_entry
from scaling.run import store
from training.record import read_record

ROOT = Path(__file__).resolve().parent.parent


def call(*argv: str) -> int:
    return run_entry(sweep.main, "sweep", "", argv)


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_plan_tells_the_cost_and_prepares_data_but_leaves_out_alone(tmp_path, capsys):
    out = tmp_path / "out"
    assert call(*overrides(tmp_path, out), "mode=plan", "launcher.price_per_hour=3600") == 0
    text = capsys.readouterr().out
    assert "4 trials in 4 cells, 6e+08 FLOP" in text and "predicted" in text and "+-" in text
    assert "price: " in text and not out.exists()
    assert list((tmp_path / "shards").rglob("manifest.json"))


def test_a_plan_for_a_machine_that_is_not_here_needs_no_data_and_no_measurement(tmp_path, capsys):
    line = overrides(tmp_path, tmp_path / "out")
    stated = ["mode=plan", "launcher.device=H200", "launcher.devices=64", "data.path=/not/there"]
    assert call(*line, *stated, "launcher.price_per_hour=3") == 0
    text = capsys.readouterr().out
    assert "with 64 at a time" in text and "measuring" not in text
    assert "data: /not/there is not there, epochs are not checked" in text
    assert "time: H200 at 40% of its" in text and "in 151 GB" in text
    assert "price: " in text and "64 devices" in text and "isoflop     stands in 0%" in text
    assert call(*line, "mode=plan", "launcher.device=abacus") == 2
    assert "launcher.device: found 'abacus'" in capsys.readouterr().err


def test_a_sweep_from_config_to_report_then_again_then_as_its_files_tell_it(tmp_path, capsys):
    out = tmp_path / "out"
    line = [*overrides(tmp_path, out), "fit.require=[]", "fit.n_bootstrap=50"]
    assert call(*line) == 0
    text = capsys.readouterr().out
    assert "4 planned = 4 done + 0 diverged" in text and "[4/4]" in text
    assert f"report: {out / 'fit' / 'report.html'}" in text
    assert (out / "fit" / "report.html").exists() and (out / "fit" / "fit.json").exists()
    assert len((out / "runs.csv").read_text().splitlines()) == 5
    plan = store.read_plan(out)
    predicted = [trial.predicted_s for trial in plan.plan.trials]
    assert all(predicted) and predicted == sorted(predicted, reverse=True)

    # Again: no trial is touched, and what the sweep asks of its fit (require=[]) still holds.
    before = files(out / "trials") | {out: (out / "plan.json").read_bytes()}
    assert call(f"out={out}") == 0
    assert json.loads((out / "fit" / "fit.json").read_text())["options"]["n_bootstrap"] == 50
    assert call(f"out={out}", "fit.require=[isoflop]") == 4
    assert files(out / "trials") | {out: (out / "plan.json").read_bytes()} == before

    # An archive that lets no table be written can be looked at all the same.
    (out / "runs.csv").unlink()
    (out / "runs.csv").mkdir()
    capsys.readouterr()
    assert call("mode=status", f"out={out}", "watch=true") == 0
    text = capsys.readouterr().out
    assert text.count(" done ") == 4 + 1 and "4 planned = 4 done" in text

    assert call(*line, "grid.budgets=[1e8]") == 2
    assert "another grid: 0 trials are new and 2 no longer asked for" in capsys.readouterr().err
    assert call(*line, "evaluation.tokens=256") == 2
    assert "evaluation.tokens: found 256" in capsys.readouterr().err
    (tmp_path / "text" / "00.txt").write_text("other words")
    assert call(*line) == 2
    assert "data_digest" in capsys.readouterr().err


def test_a_grid_of_which_nothing_is_done_ends_with_3(tmp_path, capsys):
    out = tmp_path / "out"
    line = [*overrides(tmp_path, out), "grid.budgets=[1e8]", "grid.sizes=1"]
    assert call(*line, "grid.rules.lr_factor=1e9", "optimizer.grad_clip=1e9") == 3
    text = capsys.readouterr().out
    assert "1 diverged" in text
    (record,) = out.glob("trials/*/record.json")
    assert json.loads(record.read_text())["status"] == "diverged"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["experiment=smoke"], "out: missing; mode=run needs a folder"),
        (["out={out}"], "plan.json: not found"),
        (["mode=work", "out={out}"], "plan.json: not found"),
        (["mode=status", "out={out}"], "plan.json: not found"),
        (["mode=plan"], "grid: missing"),
        (["mode=work", "out={out}", "retry=[oom]"], "retry: found with mode=work"),
        (["mode=status", "out={out}", "extend=true"], "extend: found with mode=status"),
        (["mode=fly", "out={out}"], "expected one of run, plan, work, status"),
        (["experiment=smoke", "out={out}", "launcher.lease=3"], "launcher.lease: unknown key"),
        (["experiment=smoke", "out={out}", "launcher.lease_s=0"], "launcher.lease_s: found 0"),
        (["experiment=smoke", "out={out}", "retry=[diverged]"], "retry[0]: found 'diverged'"),
        (["experiment=smoke", "out={out}", "fit.n_bootstrp=5"], "fit.n_bootstrp: unknown key; did"),
        (["experiment=smoke", "out={out}", "fit.delta=2"], "fit.delta: found 2"),
        (["experiment=smoke", "out={out}", "fit.predict.flops=[0]"], "fit.predict.flops: found 0"),
        (["experiment=smoke", "out={out}", "fit=3"], "fit: found 3"),
        (["experiment=smoke", "out={out}", "fit.runs=x"], "fit.runs: a sweep fits its own runs"),
        (["experiment=smoke", "out="], "out: missing; mode=run needs a folder"),
        (["experiment=smoke", "out={out}", "model.vocab_size=99"], "model.vocab_size: found 99"),
        (["experiment=smoke", "out={out}", "runtime.device=cuda"], "runtime.device: found no GPU"),
    ],
)
def test_bad_input_is_one_line_status_2_and_nothing_written(
    tmp_path, capsys, monkeypatch, arguments, complaint
):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    out = tmp_path / "out"
    words = [word.format(out=out) for word in arguments]
    assert call(*words) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and complaint in error and not out.exists()


def test_without_a_grid_trials_cannot_be_changed(tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "plan.json").write_text("{")
    assert call(f"out={out}") == 2
    assert f"{out / 'plan.json'}: not strict JSON" in capsys.readouterr().err


def test_under_torchrun_one_process_a_node_works_and_one_plans(tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert call("nonsense, which only rank 0 tells") == 0
    monkeypatch.setenv("LOCAL_RANK", "0")
    start = time.monotonic()
    assert call(*overrides(tmp_path, out), "runtime.timeout_s=0.6") == 2
    assert 0.5 < time.monotonic() - start < 10 and not out.exists()


def test_two_nodes_of_torchrun_end_well_though_one_has_nothing_left_to_claim(tmp_path):
    """Two real agents and one trial: who leaves early, or tells of it, fails the other node too."""
    out = tmp_path / "out"
    more = ["grid.budgets=[1e9]", "grid.sizes=1", "launcher.devices=1", "fit.require=[]"]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def agent(rank: int) -> subprocess.Popen[str]:
        where = [f"--node_rank={rank}", "--master_addr=127.0.0.1", f"--master_port={port}"]
        launcher = ["torch.distributed.run", "--nnodes=2", "--nproc_per_node=1", *where]
        return subprocess.Popen(
            [sys.executable, "-m", *launcher, "sweep.py", *overrides(tmp_path, out), *more],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    agents = [agent(rank) for rank in (0, 1)]
    try:
        said = [process.communicate(timeout=120)[0] for process in agents]
    finally:
        for process in agents:
            process.kill()
    assert [process.returncode for process in agents] == [0, 0], "\n".join(said)
    assert "report: " in said[0] and "report: " not in said[1]
    assert all("1 planned = 1 done" in text for text in said)


def test_the_refusal_of_one_node_is_told(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    assert call(*overrides(tmp_path, tmp_path / "out"), "runtime.timeout_s=0.1") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "error: the node of rank 3: " in error


def test_status_imports_neither_torch_nor_an_estimator(tmp_path):
    """Their import takes longer than a look at thousands of trials."""
    store.place_plan(tmp_path, stored(pretended_plan(tmp_path, [0])), False)
    code = (
        "import sys, sweep, configs.load as load\n"
        f"load.run_entry(sweep.main, 'sweep', '', ['mode=status', 'out={tmp_path}'])\n"
        "heavy = ('torch', 'wandb', 'scipy.optimize', 'scipy.interpolate', 'pyarrow')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert "1 planned = " in result.stdout, result.stderr
    assert result.stdout.endswith("\n[]\n")


def test_ctrl_c_saves_and_ends_with_75_and_the_same_command_resumes(tmp_path):
    out = tmp_path / "out"
    more = ["fit.require=[]", "fit.n_bootstrap=50", "grid.sizes=1", "grid.budgets=[2e9]"]
    line = [sys.executable, "sweep.py", *overrides(tmp_path, out), *more]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(line, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)
        eventually(lambda: list(out.glob("trials/*/attempt-001/checkpoints/step-*")), 60)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(30) == 75, (tmp_path / "log").read_text()
    assert "stopped: the same command resumes the sweep" in (tmp_path / "log").read_text()
    (trial,) = (out / "trials").iterdir()
    assert read_record(trial) is None
    assert call("mode=work", f"out={out}") == 0
    record = read_record(trial)
    assert record.status == "done" and record.attempts == 2 and record.bitwise
