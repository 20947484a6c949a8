"""What is written for Slurm, and what its odd replies lead to; sbatch and squeue are scripted here.

test_run_slurm_cluster.py has the real ones.
"""

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_sweep import done_record, overrides

import sweep
from configs.errors import BadInput
from configs.load import CONFIG_DIR, Arguments, compose_config, run_entry
from scaling.plan.cost import flops_exact
from scaling.run import slurm, store
from scaling.run.config import SIGNAL_MARGIN_S
from scaling.run.request import read_request
from training.attempt import Watch, claim
from training.process import usable_cores
from training.record import publish


def call(*argv: str) -> int:
    return run_entry(sweep.main, "sweep", "", argv)


class Pretended:
    """Slurm's commands as scripts that note each call and reply as told; no reply: a job id."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir()
        for name in ("sbatch", "squeue"):
            path = folder / name
            # %q: one word of the shell a word, whatever is in it.
            path.write_text(
                f'#!/bin/bash\nprintf "{name}" >> {folder}/calls\n'
                f'printf " %q" "$@" >> {folder}/calls\necho >> {folder}/calls\n'
                f"[ ! -e {folder}/{name}.reply ] || . {folder}/{name}.reply\n"
            )
            path.chmod(0o755)
        self.reply("sbatch", "echo 4711")

    def reply(self, name: str, shell: str) -> None:
        (self.folder / f"{name}.reply").write_text(shell)

    @property
    def calls(self) -> list[str]:
        path = self.folder / "calls"
        return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def pretended(tmp_path, monkeypatch):
    tools = Pretended(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{tools.folder}:{os.environ['PATH']}")
    return tools


@pytest.fixture
def line(tmp_path):
    return [*overrides(tmp_path, tmp_path / "out"), "launcher=slurm", "launcher.slurm.workers=9"]


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


def test_names_are_literal_and_line_breaks_refused(tmp_path, line, pretended, capsys):
    """Z4: the script is run by bash, with a python that notes its words."""
    noting = tmp_path / "py thon"
    noting.write_text(f'#!/bin/bash\nprintf "%s\\n" "$@" > {tmp_path}/words\n')
    noting.chmod(0o755)
    name = f"a b$(touch {tmp_path.name}-canary)`x`';\"%j #"
    base = [word for word in line if not word.startswith("out=")]
    more = [f"out={tmp_path / name}", f"launcher.slurm.python='{noting}'"]
    assert call(*base, *more, "launcher.slurm.workers=1") == 0
    script = tmp_path / name / "sweep.sbatch"
    subprocess.run(["bash", script], check=True, cwd=tmp_path)
    assert f"out={tmp_path / name}" in (tmp_path / "words").read_text().splitlines()
    assert not list(Path.cwd().glob("*-canary")) and not list(tmp_path.rglob("*-canary"))
    assert call(*base, f"out={tmp_path}/x\n#SBATCH --uid=0") == 2
    assert "without line breaks" in capsys.readouterr().err


def test_the_worker_does_what_this_call_says_otherwise_than_the_plan(tmp_path, line, pretended):
    assert call(*line) == 0
    more = [
        "launcher.lease_s=7",
        "runtime.log_every_steps=3",
        'fit.exclude=["a\'b,c"]',
        "keep=final",
    ]
    assert call(*line, *more, "fit.predict.flops=[1e20]") == 0
    script = (tmp_path / "out" / "sweep.sbatch").read_text()
    (command,) = [text for text in script.splitlines() if "mode=work" in text]
    words = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {command.rstrip('& ')}"], capture_output=True, text=True
    ).stdout.split("\0")[2:-1]
    asked = read_request(Arguments("sweep", tuple(words), CONFIG_DIR))
    assert asked.command.mode == "work" and asked.command.finish and asked.command.keep == "final"
    assert asked.launcher.lease_s == 7 and asked.base.runtime.log_every_steps == 3
    assert asked.fit.exclude == ("a'b,c",) and asked.fit.predict.flops == (1e20,)
    assert asked.fit.require == ()  # the experiment's own


def test_the_script_asks_for_what_the_yaml_says(tmp_path, line, pretended):
    more = {
        **{"partition": "gpu", "account": "lab", "qos": "low", "constraint": '"a|b"'},
        **{"time": "1-0", "cpus": 8, "gpus": "a100:8", "mem": "64G"},
        **{"extra": '["--exclude=n7"]', "setup": "[module load cuda]", "prefix": '"run --in box"'},
    }
    assert call(*line, *(f"launcher.slurm.{name}={value}" for name, value in more.items())) == 0
    script = (tmp_path / "out" / "sweep.sbatch").read_text()
    head, _, body = script.partition("\n\n")
    options = [text.removeprefix("#SBATCH ") for text in head.splitlines()[3:]]
    assert {
        *("--requeue", "--open-mode=append", f"--signal=B:TERM@{60 + SIGNAL_MARGIN_S}"),
        *("--partition=gpu", "--account=lab", "--qos=low", '--constraint="a|b"', "--time=1-0"),
        *("--cpus-per-task=8", "--gpus-per-node=a100:8", "--mem=64G", "--exclude=n7"),
    } <= set(options)
    assert "\nmodule load cuda\n" in body and "\nrun --in box " in body
    default = compose_config("sweep", ["launcher=slurm"])["launcher"]["slurm"]
    assert set(more) <= set(default)


@pytest.mark.parametrize(
    ("status", "told", "state", "restarts", "requeued"),
    [
        (0, False, "RUNNING", 0, False),
        (75, True, "RUNNING", 0, True),
        (75, True, "COMPLETING", 0, False),  # scancel, preemption, a lost node
        (75, True, "RUNNING", 50, False),
        (75, True, "", 0, False),  # squeue is down
        (143, True, "RUNNING", 0, True),  # told before python could listen
        (143, False, "RUNNING", 0, False),
        (2, False, "RUNNING", 0, False),
        (0, True, "RUNNING", 0, False),
    ],
)
def test_when_a_task_queues_again(
    tmp_path, line, pretended, status, told, state, restarts, requeued
):
    python = tmp_path / "python"
    wait = f"trap 'exit {status}' TERM; touch {tmp_path}/up; while :; do sleep 0.02; done"
    python.write_text(f"#!/bin/bash\n{wait if told else f'exit {status}'}\n")
    scontrol = pretended.folder / "scontrol"
    scontrol.write_text(f'#!/bin/bash\necho "$@" > {tmp_path}/asked\n')
    python.chmod(0o755)
    scontrol.chmod(0o755)
    assert call(*line, f"launcher.slurm.python={python}") == 0
    pretended.reply("squeue", f"echo {state}")
    job = {"SLURM_JOB_ID": "9", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "2"}
    process = subprocess.Popen(
        ["bash", tmp_path / "out" / "sweep.sbatch"],
        env=os.environ | job | {"SLURM_RESTART_COUNT": str(restarts)},
    )
    while told and process.poll() is None and not (tmp_path / "up").exists():
        pass
    if told:
        process.terminate()
    assert process.wait(20) == (75 if told and status == 143 else status)
    assert (tmp_path / "asked").exists() == requeued
    assert not requeued or (tmp_path / "asked").read_text() == "requeue 7_2\n"


def test_cores_are_those_that_slurm_gave(monkeypatch):
    here = usable_cores()
    for given, expected in (("1", 1), ("4096", here), ("2(x2)", here)):
        monkeypatch.setenv("SLURM_CPUS_ON_NODE", given)
        assert usable_cores() == expected


def test_torchrun_and_slurm_exclude_each_other(line, pretended, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    with pytest.raises(BadInput, match="found slurm under torchrun"):
        slurm.launch(read_request(Arguments("sweep", tuple(line), CONFIG_DIR)))
