"""Real trials, killed and continued, end in the same bits as those that never were.

Sweepers are forked from the test process, which has torch already, and killed without warning."""

import random
import time
from dataclasses import replace

import pytest

from common.errors import BadInput, ExitStatus
from scaling.run import sweep, trial_states
from tests.support.kill_harness import fork
from tests.support.real_sweep import digests, place, work
from tests.support.tiny_sweep import alive, child_pids, eventually
from training.trial.attempt import attempts
from training.trial.identity import trial_id
from training.trial.record import read_record


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A folder with shards, and the weights that its four trials end in."""
    folder = tmp_path_factory.mktemp("sweep")
    states = work(*place(folder, folder / "undisturbed"))
    assert [state.state for state in states] == ["done"] * 4
    assert all(state.record.bitwise and state.attempts == 1 for state in states)
    return folder, digests(states)


def test_work_killed_and_continued_gives_same_bits(undisturbed, tmp_path):
    """Killed and continued is never killed."""
    folder, expected = undisturbed
    asked, stored = place(folder, tmp_path, "runtime.checkpoint_every_s=0.02")
    times = random.Random(1)
    for _ in range(5):
        sweeper = fork(lambda: work(asked, stored), tmp_path / "sweeper.log")
        # It trains by now, or all was trained before this kill.
        eventually(lambda pid=sweeper.pid: child_pids(pid) or not alive(pid))
        time.sleep(times.uniform(0.05, 0.5))
        children = child_pids(sweeper.pid)
        sweeper.kill()
        sweeper.wait()
        eventually(lambda children=children: not any(map(alive, children)))
    states = work(asked, stored)
    assert digests(states) == expected
    assert all(state.record.bitwise for state in states)
    assert max(state.attempts for state in states) > 1  # something was indeed cut short
    assert not list(tmp_path.rglob("step-*")) and not list(tmp_path.rglob(".*"))


def test_work_by_two_shares_trials(undisturbed, tmp_path):
    """Two sweepers at once share the trials."""
    folder, expected = undisturbed
    asked, stored = place(folder, tmp_path)
    sweepers = [fork(lambda: work(asked, stored), tmp_path / f"{index}.log") for index in range(2)]
    assert [sweeper.wait() for sweeper in sweepers] == [0, 0]
    states = trial_states.read_states(tmp_path, stored.plan)
    assert digests(states) == expected
    assert [state.attempts for state in states] == [1] * 4


CONSTANT = (
    *("schedule=constant", "grid.rules.batch=toy_size", "grid.rules.warmup=size"),
    *("grid.ladder=[2x8]", "grid.sizes=1", "grid.budgets=[1e9,1.5e9]"),
    "data.max_epochs=9",
)


def test_work_with_shared_trunks_gives_same_bits(undisturbed, tmp_path):
    """A grid trained with trunks ends as without, and what its branches began with was not paid."""
    folder, _ = undisturbed
    plain = work(*place(folder, tmp_path / "plain", *CONSTANT))
    shared = work(*place(folder, tmp_path / "shared", *CONSTANT, "+grid.trunk=true"))
    assert digests(shared) == digests(plain)
    spent = [state.record.flops_spent for state in shared if state.record.flops_spent is not None]
    exact = [state.record.flops_exact for state in shared if state.record.flops_spent is not None]
    assert spent and all(own < whole for own, whole in zip(spent, exact, strict=True))
    assert not any(state.record.flops_spent for state in plain)


def test_work_records_divergence_and_goes_on(undisturbed, tmp_path):
    """A trial that diverges is recorded and the others go on."""
    folder, expected = undisturbed
    asked, stored = place(folder, tmp_path)
    first, *others = stored.plan.trials
    wild = replace(first.config, optimizer=replace(first.config.optimizer, lr=1e6, grad_clip=1e6))
    wild_trial = replace(first, id=trial_id(wild), config=wild)
    plan = replace(stored.plan, trials=(wild_trial, *others))
    states = work(asked, replace(stored, plan=plan))
    assert [state.state for state in states] == ["diverged", "done", "done", "done"]
    assert states[0].record.reason and states[0].record.loss is None
    assert sweep.outcome(states) is ExitStatus.NO_RESULT


def test_work_records_exception_in_one_line(undisturbed, tmp_path):
    """An exception is one line in the record and a traceback in the log."""
    folder, _ = undisturbed
    asked, stored = place(folder, tmp_path)
    trial = stored.plan.trials[0]
    broken = replace(trial.config, evaluation=replace(trial.config.evaluation, tokens=10**9))
    trial = replace(trial, id=trial_id(broken), config=broken)
    (state,) = work(asked, replace(stored, plan=replace(stored.plan, trials=(trial,))))
    assert state.state == "failed" and "\n" not in state.record.reason
    log = (attempts(trial_states.trial_folder(tmp_path, trial))[-1] / "log.txt").read_text()
    assert "Traceback" in log


def test_work_refuses_other_data(undisturbed, tmp_path):
    """Other data is refused before any trial."""
    folder, _ = undisturbed
    asked, stored = place(folder, tmp_path)
    with pytest.raises(BadInput, match="data_digest.*" + "f" * 16):
        work(asked, replace(stored, data_digest="f" * 16))
    assert not (tmp_path / "trials").exists()


def test_trial_runs_by_hand_from_its_folder(undisturbed):
    """What trials/<id>/config.yaml holds is the trial, and nothing of the machine's choices."""
    from training.trial.folder import read_config

    folder, expected = undisturbed
    for identity in expected:
        trial = folder / "undisturbed" / "trials" / identity
        assert trial_id(read_config(trial)) == identity == read_record(trial).id
