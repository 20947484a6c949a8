"""Real trials, killed and continued, end in the same bits as those that never were.

Sweepers are forked from the test process, which has torch already, and killed without warning.
"""

import random
import time
from dataclasses import replace
from pathlib import Path

import pytest
from kill_harness import fork
from tiny_sweep import alive, child_pids, eventually, request

from configs.errors import BadInput, ExitStatus
from scaling.plan.grid import plan_grid
from scaling.run import local, store
from scaling.run.machine import this_machine
from scaling.run.store import StoredPlan
from training.attempt import attempts
from training.config import trial_id
from training.record import read_record


def place(folder: Path, out: Path, *more: str):
    """A request and its plan, placed without measuring the machine."""
    asked = request(folder, out, "runtime.checkpoint_every_s=60", *more)
    data = local.prepared_data(asked.base)
    plan = plan_grid(asked.base, asked.grid, data.tokens_per_epoch)
    return asked, store.place_plan(out, StoredPlan(plan, data.digest, asked.launcher), False)


def work(asked, stored):
    machine = this_machine(asked.base.runtime, asked.launcher)
    return local.work(asked, stored, machine, wait=True)


def digests(states) -> dict[str, str]:
    return {state.trial.id: state.record.weights_digest for state in states}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A folder with shards, and the weights that its four trials end in."""
    folder = tmp_path_factory.mktemp("sweep")
    states = work(*place(folder, folder / "undisturbed"))
    assert [state.state for state in states] == ["done"] * 4
    assert all(state.record.bitwise and state.attempts == 1 for state in states)
    return folder, digests(states)


def test_killed_and_continued_is_never_killed(undisturbed, tmp_path):
    folder, expected = undisturbed
    asked, stored = place(folder, tmp_path, "runtime.checkpoint_every_s=0.02")
    times = random.Random(1)
    for _ in range(5):
        sweeper = fork(lambda: work(asked, stored), tmp_path / "sweeper.log")
        eventually(lambda sweeper=sweeper: child_pids(sweeper.pid), 60)  # it trains by now
        time.sleep(times.uniform(0.1, 0.6))
        children = child_pids(sweeper.pid)
        sweeper.kill()
        sweeper.wait()
        eventually(lambda children=children: not any(map(alive, children)), 2)
    states = work(asked, stored)
    assert digests(states) == expected
    assert all(state.record.bitwise for state in states)
    assert max(state.attempts for state in states) > 1  # something was indeed cut short
    assert not list(tmp_path.rglob("step-*")) and not list(tmp_path.rglob(".*"))


def test_two_sweepers_at_once_share_the_trials(undisturbed, tmp_path):
    folder, expected = undisturbed
    asked, stored = place(folder, tmp_path)
    sweepers = [fork(lambda: work(asked, stored), tmp_path / f"{index}.log") for index in range(2)]
    assert [sweeper.wait() for sweeper in sweepers] == [0, 0]
    states = store.read_states(tmp_path, stored.plan)
    assert digests(states) == expected
    assert [state.attempts for state in states] == [1] * 4


def test_a_trial_that_diverges_is_recorded_and_the_others_go_on(undisturbed, tmp_path):
    folder, expected = undisturbed
    asked, stored = place(folder, tmp_path)
    first, *others = stored.plan.trials
    wild = replace(first.config, optimizer=replace(first.config.optimizer, lr=1e6, grad_clip=1e6))
    wild_trial = replace(first, id=trial_id(wild), config=wild)
    plan = replace(stored.plan, trials=(wild_trial, *others))
    states = work(asked, replace(stored, plan=plan))
    assert [state.state for state in states] == ["diverged", "done", "done", "done"]
    assert states[0].record.reason and states[0].record.loss is None
    assert local.outcome(states) is ExitStatus.NO_RESULT


def test_an_exception_is_one_line_in_the_record_and_a_traceback_in_the_log(undisturbed, tmp_path):
    folder, _ = undisturbed
    asked, stored = place(folder, tmp_path)
    trial = stored.plan.trials[0]
    broken = replace(trial.config, evaluation=replace(trial.config.evaluation, tokens=10**9))
    trial = replace(trial, id=trial_id(broken), config=broken)
    (state,) = work(asked, replace(stored, plan=replace(stored.plan, trials=(trial,))))
    assert state.state == "failed" and "\n" not in state.record.reason
    log = (attempts(store.trial_folder(tmp_path, trial))[-1] / "log.txt").read_text()
    assert "Traceback" in log


def test_other_data_is_refused_before_any_trial(undisturbed, tmp_path):
    folder, _ = undisturbed
    asked, stored = place(folder, tmp_path)
    with pytest.raises(BadInput, match="data_digest.*" + "f" * 16):
        work(asked, replace(stored, data_digest="f" * 16))
    assert not (tmp_path / "trials").exists()


def test_a_trial_runs_by_hand_from_its_folder(undisturbed):
    """What trials/<id>/config.yaml holds is the trial, and nothing of the machine's choices."""
    from training.trial import read_config

    folder, expected = undisturbed
    for identity in expected:
        trial = folder / "undisturbed" / "trials" / identity
        assert trial_id(read_config(trial)) == identity == read_record(trial).id
