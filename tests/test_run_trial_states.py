"""The states of trials from their folders, and retrying."""

import json
import os

import pytest

from common.errors import BadInput
from scaling.run import trial_states
from tests.support.tiny_sweep import (
    done_record,
    note,
    pretend,
    pretended_plan,
    statuses,
    work,
)
from training.trial.attempt import Watch, claim
from training.trial.record import blank_record, publish, read_record


@pytest.fixture
def plan(tmp_path):
    return pretended_plan(tmp_path, range(4))


def test_read_states_count_a_damaged_record_as_none(tmp_path, plan):
    """A trial whose record is damaged waits, by name; started again it is trained again."""
    work(tmp_path, plan, pretend(lambda config, attempt: None))
    folder = trial_states.trial_folder(tmp_path, plan.trials[1])
    record = (folder / "record.json").read_text()
    (folder / "record.json").write_text(record.replace('"loss": 2.5', '"loss": 1.5'))
    states = trial_states.read_states(tmp_path, plan)
    assert [state.state for state in states] == ["done", "waiting", "done", "done"]
    assert str(folder / "record.json") in states[1].damage and states[1].record is None
    assert trial_states.retry(tmp_path, plan, ("failed",)) == ()


def test_read_states_add_up(tmp_path, plan):
    """States come from the folder alone and add up."""
    done, diverged, running, waiting = (
        (trial, trial_states.trial_folder(tmp_path, trial)) for trial in plan.trials
    )
    publish(claim(done[1], Watch()), done_record(done[0].config, 1))
    publish(claim(diverged[1], Watch()), blank_record(diverged[0].config, 1, "diverged", None))
    claim(running[1], Watch())
    claim(waiting[1], Watch()).release()
    counts = statuses(tmp_path, plan)
    assert counts == {
        "planned": 4,
        **{"done": 1, "diverged": 1, "oom": 0, "failed": 0},
        **{"running": 1, "waiting": 1},
    }
    assert counts["planned"] == sum(counts.values()) - counts["planned"]
    owner = trial_states.read_states(tmp_path, plan)[2].owner
    assert owner is not None and owner.endswith(str(os.getpid()))


def test_read_states_refuse_record_of_another_trial(tmp_path, plan):
    """A record of another trial is refused."""
    one, other = (trial_states.trial_folder(tmp_path, trial) for trial in plan.trials[:2])
    publish(claim(one, Watch()), done_record(plan.trials[0].config, 1))
    other.mkdir()
    (one / "record.json").rename(other / "record.json")
    with pytest.raises(BadInput, match=f"id: found {plan.trials[0].id}, expected"):
        trial_states.read_states(tmp_path, plan)


def test_retry_keeps_old_record(tmp_path, plan):
    """Retry keeps the old record and lets the trial run again."""
    flag = tmp_path / "mended"

    def act(config, attempt):
        if config.seed < 2 and not flag.exists():
            status = "failed" if config.seed else "oom"
            publish(attempt, blank_record(config, attempt.number, status, "a passing cause"))
            return 3
        return None

    work(tmp_path, plan, pretend(act))
    assert statuses(tmp_path, plan)["failed"] == statuses(tmp_path, plan)["oom"] == 1
    assert trial_states.retry(tmp_path, plan, ("oom",)) == (plan.trials[0].id,)
    assert trial_states.retry(tmp_path, plan, ("oom",)) == ()
    assert statuses(tmp_path, plan)["waiting"] == 1

    note(flag)
    work(tmp_path, plan, pretend(act))
    counts = statuses(tmp_path, plan)
    assert counts["done"] == 3 and counts["failed"] == 1
    folder = trial_states.trial_folder(tmp_path, plan.trials[0])
    assert json.loads((folder / "attempt-001/record.json").read_text())["status"] == "oom"
    assert read_record(folder).attempts == 2


def test_retry_leaves_trial_begun_meanwhile(tmp_path, plan, monkeypatch):
    """Retry leaves alone what another process began meanwhile."""
    trial = plan.trials[0]
    folder = trial_states.trial_folder(tmp_path, trial)
    first = claim(folder, Watch())
    publish(first, blank_record(trial.config, 1, "oom", "a passing cause"))

    def read_and_be_overtaken(path):
        record = read_record(path)
        if record:  # here another retry moves it, and a worker claims the trial
            (path / "record.json").rename(first.folder / "record.json")
            first.release()
            assert claim(path, Watch()).number == 2
        return record

    monkeypatch.setattr(trial_states, "read_record", read_and_be_overtaken)
    assert trial_states.retry(tmp_path, plan, ("oom",)) == ()
    monkeypatch.undo()
    assert statuses(tmp_path, plan)["running"] == 1
    assert not (folder / "attempt-002" / "released").exists()


def test_retry_refuses_other_statuses(tmp_path, plan):
    """Retry knows what can run again."""
    with pytest.raises(BadInput, match="found 'diverged', expected oom or failed"):
        trial_states.retry(tmp_path, plan, ("diverged",))
