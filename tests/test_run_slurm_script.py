"""The sbatch script: what it asks for, that names in it are literal, and when it queues again.

test_run_slurm.py has what is asked of Slurm, test_run_slurm_cluster.py a real one."""

# ruff: noqa: F811 (fixtures that are imported)

import os
import subprocess
from pathlib import Path

import pytest

from configs.cli import Arguments
from configs.load import CONFIG_DIR, compose_config
from scaling.run.command import read_request
from scaling.run.config import SIGNAL_MARGIN_S
from tests.support.pretended_slurm import call, line, pretended  # noqa: F401
from tests.support.typed import last_of_each
from training.device.process import usable_cores


def test_script_text_takes_names_literally(tmp_path, line, pretended, capsys):
    """Z4: the script is run by bash, with a python that notes its words."""
    noting = tmp_path / "py thon"
    noting.write_text(f'#!/bin/bash\nprintf "%s\\n" "$@" > {tmp_path}/words\n')
    noting.chmod(0o755)
    name = f"a b$(touch {tmp_path.name}-canary)`x`';\"%j #"
    base = [word for word in line if not word.startswith("out=")]
    more = [f"out={tmp_path / name}", f"launcher.slurm.python='{noting}'"]
    assert call(*last_of_each(*base, *more, "launcher.slurm.workers=1")) == 0
    script = tmp_path / name / "sweep.sbatch"
    subprocess.run(["bash", script], check=True, cwd=tmp_path)
    assert f"out={tmp_path / name}" in (tmp_path / "words").read_text().splitlines()
    assert not list(Path.cwd().glob("*-canary")) and not list(tmp_path.rglob("*-canary"))
    assert call(*base, f"out={tmp_path}/x\n#SBATCH --uid=0") == 2
    assert "without line breaks" in capsys.readouterr().err


def test_script_text_overrides_plan_by_call(tmp_path, line, pretended):
    """The worker does what this call says otherwise than the plan."""
    assert call(*line) == 0
    more = [
        "launcher.lease_s=7",
        "runtime.log_every_steps=3",
        "data.verify=full",
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
    assert asked.base.data.verify == "full"
    assert asked.fit.exclude == ("a'b,c",) and asked.fit.predict.flops == (1e20,)
    assert asked.fit.require == ()  # the experiment's own


def test_script_text_asks_for_what_yaml_says(tmp_path, line, pretended):
    """The script asks for what the yaml says."""
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
def test_script_requeues_stopped_task(
    tmp_path, line, pretended, status, told, state, restarts, requeued
):
    """When a task queues again."""
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
    assert process.wait(300) == (75 if told and status == 143 else status)
    assert (tmp_path / "asked").exists() == requeued
    assert not requeued or (tmp_path / "asked").read_text() == "requeue 7_2\n"


@pytest.mark.parametrize("status", [0, 3, 75])
def test_script_ends_with_status_of_worker_that_ends_at_once(tmp_path, line, pretended, status):
    """A worker that is gone before the shell's trap ends gives its own status, not the signal's."""
    python, slow_kill = tmp_path / "python", tmp_path / "slow_kill"
    python.write_text(
        f"#!/bin/bash\ntrap 'builtin kill $!; exit {status}' TERM\n"
        f"sleep 60 &\ntouch {tmp_path}/up\nwait\n"
    )
    python.chmod(0o755)
    slow_kill.write_text(
        'kill() { builtin kill "$@"; local was=$?; [ "$1" != -TERM ] || sleep 0.5; return $was; }\n'
    )
    assert call(*line, f"launcher.slurm.python={python}") == 0
    pretended.reply("squeue", "echo COMPLETING")
    process = subprocess.Popen(
        ["bash", tmp_path / "out" / "sweep.sbatch"],
        env=os.environ | {"SLURM_JOB_ID": "9", "BASH_ENV": str(slow_kill)},
    )
    while process.poll() is None and not (tmp_path / "up").exists():
        pass
    process.terminate()
    assert process.wait(300) == status


def test_usable_cores_are_those_of_slurm(monkeypatch):
    """Cores are those that slurm gave."""
    here = usable_cores()
    for given, expected in (("1", 1), ("4096", here), ("2(x2)", here)):
        monkeypatch.setenv("SLURM_CPUS_ON_NODE", given)
        assert usable_cores() == expected
