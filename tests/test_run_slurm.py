"""What is written for Slurm, and what its odd replies lead to; sbatch and squeue are scripted here.

test_run_slurm_cluster.py has the real ones."""

# ruff: noqa: F811 (fixtures that are imported)

import json
from dataclasses import replace

import pytest

from common.errors import BadInput
from configs.cli import Arguments
from configs.load import CONFIG_DIR
from scaling.plan.cost import flops_exact
from scaling.run import slurm, store, trial_states
from scaling.run.command import read_request
from tests.support.pretended_slurm import call, line, pretended  # noqa: F401
from tests.support.tiny_sweep import done_record
from training.trial.attempt import Watch, claim
from training.trial.record import publish


def test_launch_submits_one_array(tmp_path, line, pretended, capsys):
    """One array is submitted and what follows is told."""
    out = tmp_path / "out"
    assert call(*line) == 0
    said = capsys.readouterr().out
    assert "submitted job 4711: 4 workers for 4 trials" in said  # and not 9
    assert "mode=status" in said and "report.html" in said
    assert pretended.calls == ["squeue", "sbatch"]
    assert json.loads((out / "slurm.json").read_text())["job"] == "4711"
    assert len(store.read_plan(out).plan.trials) == 4 and not (out / "trials").exists()
    assert "--array=0-3\n" in (out / "sweep.sbatch").read_text()


def test_launch_without_submit_only_writes(tmp_path, line, pretended, capsys):
    """Submit false only writes."""
    assert call(*line, "launcher.submit=false") == 0
    assert f"submit: sbatch {tmp_path / 'out' / 'sweep.sbatch'}" in capsys.readouterr().out
    assert pretended.calls == [] and not (tmp_path / "out" / "slurm.json").exists()
    assert store.read_plan(tmp_path / "out").launcher.submit  # the next call may submit


def test_launch_again_needs_force(tmp_path, line, pretended, capsys):
    """A second submission needs force."""
    assert call(*line) == 0
    pretended.reply("squeue", "printf '4711|RUNNING|x\\n4711|PENDING|x\\n1|RUNNING|y|z\\n'")
    for again in (line, [f"out={tmp_path / 'out'}"]):
        capsys.readouterr()
        assert call(*again) == 2
        error = capsys.readouterr().err
        assert "job 4711" in error and "1 RUNNING, 1 PENDING" in error and error.count("\n") == 1
    assert pretended.calls.count("sbatch") == 1
    assert call(*line, "launcher.force=true") == 0
    assert pretended.calls.count("sbatch") == 2
    assert not store.read_plan(tmp_path / "out").launcher.force
    # Gone from the queue, the same command goes on.
    pretended.reply("squeue", "echo '1|RUNNING|y|z'")
    assert call(f"out={tmp_path / 'out'}") == 0
    assert pretended.calls.count("sbatch") == 3


@pytest.mark.parametrize("content", ["{}", "[]", '"12"', '{"job": null}', '{"job": [12]}'])
def test_launch_refuses_a_note_without_its_job(tmp_path, line, pretended, capsys, content):
    """Without the id of what may still be queued nothing more is submitted."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "slurm.json").write_text(content)
    assert call(*line) == 2
    error = capsys.readouterr().err
    assert "slurm.json: found no id under job" in error and error.count("\n") == 1
    assert "sbatch" not in pretended.calls


def test_launch_knows_job_by_name(tmp_path, line, pretended, capsys):
    """sbatch timed out, or this process was killed after it: the job is there all the same."""
    pretended.reply("sbatch", "echo 'Socket timed out on send/recv operation' >&2; exit 1")
    assert call(*line) == 2
    error = capsys.readouterr().err
    assert "sbatch failed: Socket timed out" in error and error.count("\n") == 1
    script = (tmp_path / "out" / "sweep.sbatch").read_text()
    (name,) = [text for text in script.splitlines() if "--job-name=" in text]
    pretended.reply("squeue", f"echo '12|PENDING|{name.partition('=')[2]}'")
    assert call(*line) == 2
    assert "its job 12 is with Slurm still (1 PENDING)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("tool", "reply", "complaint"),
    [
        ("squeue", "echo 'slurm_load_jobs error: Unable to contact' >&2; exit 1", "Unable to con"),
        ("squeue", "echo '<html>'", "squeue said '<html>'"),
        ("squeue", "exit 1", "squeue failed: (nothing)"),
        (
            "sbatch",
            "echo 'sbatch: error: invalid partition specified: x' >&2; exit 1",
            "invalid pa",
        ),
        ("sbatch", "echo 'Welcome!'", "sbatch said 'Welcome!', expected a job id"),
        ("sbatch", "true", "sbatch said '', expected a job id"),
    ],
)
def test_launch_refuses_odd_replies_in_one_line(
    tmp_path, line, pretended, capsys, tool, reply, complaint
):
    """Odd replies are one line and status 2."""
    pretended.reply(tool, reply)
    assert call(*line) == 2
    error = capsys.readouterr().err
    assert complaint in error and error.count("\n") == 1
    assert pretended.calls.count("sbatch") == (tool == "sbatch")
    assert not (tmp_path / "out" / "slurm.json").exists()
    assert tool == "sbatch" or not (tmp_path / "out").exists()


def test_launch_refuses_silent_or_absent_slurm(tmp_path, line, pretended, capsys, monkeypatch):
    """Silence and absence are refused too."""
    monkeypatch.setattr(slurm, "TIMEOUT_S", 0.2)
    pretended.reply("squeue", "exec sleep 20")
    assert call(*line) == 2
    assert "squeue said nothing for 0.2 s" in capsys.readouterr().err
    monkeypatch.setenv("PATH", "/nonexistent")
    assert call(*line) == 2
    assert "found no sbatch on this machine" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_launch_fits_complete_sweep_here(tmp_path, line, pretended, capsys):
    """A sweep with nothing missing is fitted here."""
    assert call(*line) == 0
    out = tmp_path / "out"
    for trial in store.read_plan(out).plan.trials:
        attempt = claim(trial_states.trial_folder(out, trial), Watch())
        tokens, flops = trial.config.schedule.tokens_planned, flops_exact(trial.config)
        record = done_record(trial.config, 1)
        publish(attempt, replace(record, tokens=tokens, flops_exact=flops, flops_6nd=flops))
    pretended.reply("squeue", "exit 1")
    assert call(f"out={out}", "fit.n_bootstrap=50", "fit.require=[]") == 0
    assert pretended.calls == ["squeue", "sbatch"]
    assert len((out / "runs.csv").read_text().splitlines()) == 5
    assert (out / "fit" / "report.html").exists()


def test_launch_goes_on_after_ended_stage(tmp_path, line, pretended, capsys):
    """A stage that ended still has others to come."""
    scout = "+grid.scout={budgets: null, sizes: 3, span: 3}"
    assert call(*line, scout) == 0
    stored = store.read_plan(tmp_path / "out")
    assert stored.plan.stage == "scout" and ": 9 workers for" in capsys.readouterr().out
    for trial in stored.plan.trials:
        attempt = claim(trial_states.trial_folder(tmp_path / "out", trial), Watch())
        publish(attempt, done_record(trial.config, 1))
    assert call(*line, scout) == 0
    assert "9 workers for 0 trials of the scout stage, and" in capsys.readouterr().out


def test_launch_refuses_torchrun(line, pretended, monkeypatch):
    """Torchrun and slurm exclude each other."""
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    with pytest.raises(BadInput, match="found slurm under torchrun"):
        slurm.launch(read_request(Arguments("sweep", tuple(line), CONFIG_DIR)))
