"""What is written for Slurm, and what its odd replies lead to; sbatch and squeue are scripted here.

test_run_slurm_cluster.py has the real ones.
"""

# ruff: noqa: F811 (fixtures that are imported)

import json
from dataclasses import replace

import pytest
from pretended_slurm import call, line, pretended  # noqa: F401
from tiny_sweep import done_record

from configs.load import CONFIG_DIR, Arguments
from scaling.plan.cost import flops_exact
from scaling.run import slurm, store
from scaling.run.request import read_request
from training.attempt import Watch, claim
from training.record import publish


def test_one_array_is_submitted_and_what_follows_is_told(tmp_path, line, pretended, capsys):
    out = tmp_path / "out"
    assert call(*line) == 0
    said = capsys.readouterr().out
    assert "submitted job 4711: 4 workers for 4 trials" in said  # and not 9
    assert "mode=status" in said and "report.html" in said
    assert pretended.calls == ["squeue", "sbatch"]
    assert json.loads((out / "slurm.json").read_text())["job"] == "4711"
    assert len(store.read_plan(out).plan.trials) == 4 and not (out / "trials").exists()
    assert "--array=0-3\n" in (out / "sweep.sbatch").read_text()


def test_submit_false_only_writes(tmp_path, line, pretended, capsys):
    assert call(*line, "launcher.submit=false") == 0
    assert f"submit: sbatch {tmp_path / 'out' / 'sweep.sbatch'}" in capsys.readouterr().out
    assert pretended.calls == [] and not (tmp_path / "out" / "slurm.json").exists()
    assert store.read_plan(tmp_path / "out").launcher.submit  # the next call may submit


def test_a_second_submission_needs_force(tmp_path, line, pretended, capsys):
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


def test_a_job_whose_id_was_lost_is_known_by_its_name(tmp_path, line, pretended, capsys):
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
def test_odd_replies_are_one_line_and_status_2(
    tmp_path, line, pretended, capsys, tool, reply, complaint
):
    pretended.reply(tool, reply)
    assert call(*line) == 2
    error = capsys.readouterr().err
    assert complaint in error and error.count("\n") == 1
    assert pretended.calls.count("sbatch") == (tool == "sbatch")
    assert not (tmp_path / "out" / "slurm.json").exists()
    assert tool == "sbatch" or not (tmp_path / "out").exists()


def test_silence_and_absence_are_refused_too(tmp_path, line, pretended, capsys, monkeypatch):
    monkeypatch.setattr(slurm, "TIMEOUT_S", 0.2)
    pretended.reply("squeue", "exec sleep 20")
    assert call(*line) == 2
    assert "squeue said nothing for 0.2 s" in capsys.readouterr().err
    monkeypatch.setenv("PATH", "/nonexistent")
    assert call(*line) == 2
    assert "found no sbatch on this machine" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_sweep_with_nothing_missing_is_fitted_here(tmp_path, line, pretended, capsys):
    assert call(*line) == 0
    out = tmp_path / "out"
    for trial in store.read_plan(out).plan.trials:
        attempt = claim(store.trial_folder(out, trial), Watch())
        tokens, flops = trial.config.schedule.tokens_seen, flops_exact(trial.config)
        record = done_record(trial.config, 1)
        publish(attempt, replace(record, tokens=tokens, flops_exact=flops, flops_6nd=flops))
    pretended.reply("squeue", "exit 1")
    assert call(f"out={out}", "fit.n_bootstrap=50", "fit.require=[]") == 0
    assert pretended.calls == ["squeue", "sbatch"]
    assert len((out / "runs.csv").read_text().splitlines()) == 5
    assert (out / "fit" / "report.html").exists()


def test_a_stage_that_ended_still_has_others_to_come(tmp_path, line, pretended, capsys):
    scout = "+grid.scout={budgets: null, sizes: 3, span: 3}"
    assert call(*line, scout) == 0
    stored = store.read_plan(tmp_path / "out")
    assert stored.plan.stage == "scout" and ": 9 workers for" in capsys.readouterr().out
    for trial in stored.plan.trials:
        attempt = claim(store.trial_folder(tmp_path / "out", trial), Watch())
        publish(attempt, done_record(trial.config, 1))
    assert call(*line, scout) == 0
    assert "9 workers for 0 trials of the stage scout, and" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["launcher.slurm.time=1"], "launcher.slurm.time: found 60 s, expected more than the 90 s"),
        (["launcher.slurm.time=soon"], "launcher.slurm.time: found 'soon', expected as 90"),
        (["launcher.slurm.workers=0"], "launcher.slurm.workers: found 0, expected >= 1"),
        (["launcher.slurm.gpus=0"], "launcher.slurm.gpus: found 0"),
        (["launcher.slurm.mem=lots"], "launcher.slurm.mem: found 'lots', expected as 64G"),
        (["launcher.slurm.partitoin=x"], "launcher.slurm.partitoin: unknown key; did you mean"),
        (["launcher.slurm.extra=[exclusive]"], "launcher.slurm.extra: found 'exclusive'"),
        (['launcher.slurm.setup=["a\nb"]'], "launcher.slurm: found 'a\\nb', expected one line"),
        (["launcher.kind=local"], "launcher.kind: found local"),
        (["mode=plan", "finish=true"], "finish: found with mode=plan, expected mode=work"),
    ],
)
def test_wrong_values_are_one_line(tmp_path, line, pretended, capsys, arguments, complaint):
    assert call(*line, *arguments) == 2
    error = capsys.readouterr().err
    assert complaint in error and error.count("\n") == 1
    assert pretended.calls == [] and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("limit", "seconds"),
    [(90, 5400), ("90:30", 5430), ("2:00:00", 7200), ("1-12", 129600), ("1-0:30", 88200)],
)
def test_time_limits_are_read_as_slurm_reads_them(line, limit, seconds):
    request = read_request(Arguments("sweep", (*line, f"launcher.slurm.time={limit}"), CONFIG_DIR))
    assert request.launcher.slurm.time_s == seconds
