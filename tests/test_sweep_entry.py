"""sweep.py from the command line: what it leaves, what it says, and with which status it ends."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import sweep
from configs.cli import run_entry
from scaling.run import store
from tests.support.tiny_sweep import eventually, overrides, pretended_plan, stored
from tests.support.typed import last_of_each
from training.trial.record import read_record

ROOT = Path(__file__).resolve().parent.parent


def call(*argv: str) -> int:
    return run_entry(sweep.main, "sweep", "", argv)


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_run_mode_from_config_to_report_and_again(tmp_path, capsys):
    """A sweep from config to report then again then as its files tell it."""
    out = tmp_path / "out"
    line = overrides(tmp_path, out, "fit.require=[]", "fit.n_bootstrap=50")
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
    assert call("mode=status", f"out={out}", "watch=true", "page=true") == 0
    assert "nothing is left to run" in (out / "status.html").read_text().split("<script", 1)[0]
    text = capsys.readouterr().out
    assert text.count(" done ") == 4 + 1 and "4 planned = 4 done" in text

    assert call(*last_of_each(*line, "grid.budgets=[1e8]")) == 2
    assert "another grid: 0 trials are new and 2 no longer asked for" in capsys.readouterr().err
    assert call(*last_of_each(*line, "evaluation.tokens=256")) == 2
    assert "evaluation.tokens: found 256" in capsys.readouterr().err
    (tmp_path / "text" / "00.txt").write_text("other words")
    assert call(*line) == 2
    assert "data_digest" in capsys.readouterr().err


def test_run_mode_without_done_trial_ends_with_3(tmp_path, capsys):
    """A grid of which nothing is done ends with 3."""
    out = tmp_path / "out"
    line = overrides(tmp_path, out, "grid.budgets=[1e8]", "grid.sizes=1")
    assert call(*line, "optimizer.weight_decay=1e9", "optimizer.grad_clip=1e9") == 3
    text = capsys.readouterr().out
    assert "1 diverged" in text
    (record,) = out.glob("trials/*/record.json")
    assert json.loads(record.read_text())["status"] == "diverged"


def test_damaged_record_is_told_and_trained_again(tmp_path, capsys):
    """A record with another loss is no record: named by status, and made again, the same."""
    out = tmp_path / "out"
    more = ["grid.budgets=[1e8]", "fit.require=[]", "fit.n_bootstrap=50"]
    line = overrides(tmp_path, out, *more)
    assert call(*line) == 0
    path = sorted(out.glob("trials/*/record.json"))[0]
    whole = json.loads(path.read_text())
    path.write_text(path.read_text().replace(f'"loss": {whole["loss"]}', '"loss": 0.5'))
    capsys.readouterr()
    assert call("mode=status", f"out={out}") == 0
    text = capsys.readouterr().out
    assert f"{path}: differs from its own digest" in text and "2 planned = 1 done" in text
    assert "start the run again" in text and "1 waiting" in text
    assert call(*line) == 0
    assert f"{path}: differs from its own digest" in capsys.readouterr().out
    again = json.loads(path.read_text())
    assert again["weights_digest"] == whole["weights_digest"] and again["loss"] == whole["loss"]
    assert (path.parent / "attempt-001" / "record.damaged.json").exists()

    # Nor does anything half-written stay, of a killed writer.
    for place in (out, out / "fit", path.parent, path.parent / "attempt-001"):
        (place / ".x.json.ab.tmp").touch()
    assert call(*line) == 0
    assert not list(out.rglob(".*"))


def test_status_mode_imports_no_torch_and_no_estimator(tmp_path):
    """Their import takes longer than a look at thousands of trials."""
    store.store_plan(tmp_path, stored(pretended_plan(tmp_path, [0])), False)
    code = (
        "import sys, sweep, configs.cli as cli\n"
        f"cli.run_entry(sweep.main, 'sweep', '', ['mode=status', 'out={tmp_path}'])\n"
        "heavy = ('torch', 'wandb', 'scipy.optimize', 'scipy.interpolate', 'pyarrow')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert "1 planned = " in result.stdout, result.stderr
    assert result.stdout.endswith("\n[]\n")


def test_run_mode_stops_with_75_and_resumes(tmp_path):
    """Ctrl c saves and ends with 75 and the same command resumes."""
    out = tmp_path / "out"
    more = ["fit.require=[]", "fit.n_bootstrap=50", "grid.sizes=1", "grid.budgets=[2e9]"]
    line = [sys.executable, "sweep.py", *overrides(tmp_path, out, *more)]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(line, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)
        eventually(lambda: list(out.glob("trials/*/attempt-001/checkpoints/step-*")))
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(300) == 75, (tmp_path / "log").read_text()
    assert "stopped: the same command resumes the sweep" in (tmp_path / "log").read_text()
    (trial,) = (out / "trials").iterdir()
    assert read_record(trial) is None
    assert call("mode=work", f"out={out}") == 0
    record = read_record(trial)
    assert record.status == "done" and record.attempts == 2 and record.bitwise
