"""A sweep directory: made once, read strictly, and the only memory of what was and will be done."""

import json
import os
import re
from dataclasses import replace

import pytest
from tiny_sweep import done_record, loaded, note, pretend, pretended_plan, statuses, stored, work
from tiny_training import tiny_config

from configs.errors import BadInput
from scaling.run import deaths, store
from training.attempt import Watch, claim
from training.config import setting_digest
from training.record import blank_record, publish, read_record


@pytest.fixture
def plan(tmp_path):
    return pretended_plan(tmp_path, range(4))


def test_a_plan_is_read_as_it_was_placed(tmp_path, plan):
    asked = stored(plan)
    assert store.place_plan(tmp_path, asked, extend=False) == asked
    before = (tmp_path / "plan.json").read_bytes()
    assert store.read_plan(tmp_path) == asked
    assert store.place_plan(tmp_path, asked, extend=False) == asked
    assert (tmp_path / "plan.json").read_bytes() == before


def test_another_order_is_the_same_grid(tmp_path, plan):
    store.place_plan(tmp_path, stored(plan), extend=False)
    turned = replace(plan, trials=plan.trials[::-1])
    assert store.place_plan(tmp_path, stored(turned), extend=False).plan == plan


def test_another_setting_is_refused_by_its_field(tmp_path, plan):
    store.place_plan(tmp_path, stored(plan), extend=False)
    base = loaded(tiny_config(tmp_path, evaluation__tokens=64))
    other = replace(plan, base=base, setting=setting_digest(base))
    with pytest.raises(BadInput, match=r"evaluation.tokens: found 64, and this sweep has 592"):
        store.place_plan(tmp_path, stored(other), extend=True)


def test_other_data_is_refused_with_both_digests(tmp_path, plan):
    store.place_plan(tmp_path, stored(plan), extend=False)
    with pytest.raises(BadInput, match="1111111111111111.*0000000000000000"):
        store.place_plan(tmp_path, stored(plan, data_digest="1" * 16), extend=True)


def test_another_grid_is_refused_or_united_by_content(tmp_path, plan):
    store.place_plan(tmp_path, stored(plan), extend=False)
    edited = pretended_plan(tmp_path, (5, 3, 2, 1))  # seed 0 dropped, 5 inserted, order turned
    with pytest.raises(BadInput, match="1 trials are new and 1 no longer.*extend=true"):
        store.place_plan(tmp_path, stored(edited), extend=False)

    united = store.place_plan(tmp_path, stored(edited), extend=True)
    assert {trial.config.seed for trial in united.plan.trials} == {0, 1, 2, 3, 5}
    assert united.stale == (plan.trials[0].id,)
    assert store.read_plan(tmp_path) == united
    # The grid as it was extended, and the sum of both, are what is there.
    assert store.place_plan(tmp_path, stored(edited), extend=False) == united
    with pytest.raises(BadInput, match="another grid"):
        store.place_plan(tmp_path, stored(plan), extend=False)


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda text: text[: len(text) // 2], "not strict JSON"),
        (lambda text: "", "not strict JSON"),
        (lambda text: "[]", "expected a plan"),
        (lambda text: text.replace('"schema": 1', '"schema": 2'), "schema: found 2"),
        (lambda text: re.sub(r'"setting": "\w+"', '"setting": "0"', text), "setting: found 0"),
        (lambda text: text.replace('"n_embd": 16', '"n_embd": 32'), "found a config of id"),
        (lambda text: text.replace('"kind": "local"', '"kind": "moon"'), "launcher.kind"),
        (lambda text: text.replace('"data_digest"', '"date_digest"'), "date_digest"),
        (lambda text: text.replace('"stale": []', '"stale": ["x"]'), "stale"),
    ],
)
def test_a_damaged_plan_is_refused_with_its_path(tmp_path, plan, damage, complaint):
    store.place_plan(tmp_path, stored(plan), extend=False)
    path = tmp_path / "plan.json"
    path.write_text(damage(path.read_text()))
    with pytest.raises(BadInput) as error:
        store.read_plan(tmp_path)
    assert str(path) in str(error.value) and complaint in str(error.value)
    assert "plan.json: plan.json" not in str(error.value)


def test_no_plan_and_no_folder(tmp_path, plan):
    with pytest.raises(BadInput, match="plan.json: not found"):
        store.read_plan(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="out: .*file: found a file, expected a folder"):
        store.place_plan(tmp_path / "file", stored(plan), extend=False)


def test_states_come_from_the_folder_alone_and_add_up(tmp_path, plan):
    done, diverged, running, waiting = (
        (trial, store.trial_folder(tmp_path, trial)) for trial in plan.trials
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
    owner = store.read_states(tmp_path, plan)[2].owner
    assert owner is not None and owner.endswith(str(os.getpid()))


def test_a_record_of_another_trial_is_refused(tmp_path, plan):
    one, other = (store.trial_folder(tmp_path, trial) for trial in plan.trials[:2])
    publish(claim(one, Watch()), done_record(plan.trials[0].config, 1))
    other.mkdir()
    (one / "record.json").rename(other / "record.json")
    with pytest.raises(BadInput, match=f"id: found {plan.trials[0].id}, expected"):
        store.read_states(tmp_path, plan)


def test_retry_keeps_the_old_record_and_lets_the_trial_run_again(tmp_path, plan):
    flag = tmp_path / "mended"

    def act(config, attempt):
        if config.seed < 2 and not flag.exists():
            status = "failed" if config.seed else "oom"
            publish(attempt, blank_record(config, attempt.number, status, "a passing cause"))
            return 3
        return None

    work(tmp_path, plan, pretend(act))
    assert statuses(tmp_path, plan)["failed"] == statuses(tmp_path, plan)["oom"] == 1
    assert store.retry(tmp_path, plan, ("oom",)) == (plan.trials[0].id,)
    assert store.retry(tmp_path, plan, ("oom",)) == ()
    assert statuses(tmp_path, plan)["waiting"] == 1

    note(flag)
    work(tmp_path, plan, pretend(act))
    counts = statuses(tmp_path, plan)
    assert counts["done"] == 3 and counts["failed"] == 1
    folder = store.trial_folder(tmp_path, plan.trials[0])
    assert json.loads((folder / "attempt-001/record.json").read_text())["status"] == "oom"
    assert read_record(folder).attempts == 2


def test_retry_leaves_alone_what_another_process_began_meanwhile(tmp_path, plan, monkeypatch):
    trial = plan.trials[0]
    folder = store.trial_folder(tmp_path, trial)
    first = claim(folder, Watch())
    publish(first, blank_record(trial.config, 1, "oom", "a passing cause"))

    def read_and_be_overtaken(path):
        record = read_record(path)
        if record:  # here another retry moves it, and a worker claims the trial
            (path / "record.json").rename(first.folder / "record.json")
            first.release()
            assert claim(path, Watch()).number == 2
        return record

    monkeypatch.setattr(store, "read_record", read_and_be_overtaken)
    assert store.retry(tmp_path, plan, ("oom",)) == ()
    monkeypatch.undo()
    assert statuses(tmp_path, plan)["running"] == 1
    assert not (folder / "attempt-002" / "released").exists()


def test_retry_knows_what_can_run_again(tmp_path, plan):
    with pytest.raises(BadInput, match="found 'diverged', expected oom or failed"):
        store.retry(tmp_path, plan, ("diverged",))


def test_deaths_count_until_a_new_step_is_saved(tmp_path):
    trial = tmp_path / "trial"

    def die(saved_step: int | None) -> int:
        attempt = claim(trial, Watch())
        if saved_step is not None:
            (attempt.checkpoints / f"step-{saved_step:08d}").mkdir(parents=True)
        reason = deaths.note(attempt, -9)
        assert "SIGKILL" in reason
        attempt.release()
        return deaths.fruitless(trial)

    assert [die(step) for step in (None, None, 3, None, 3, 7, None)] == [1, 2, 0, 1, 2, 0, 1]
    (store.attempts(trial)[-1] / "record.json").write_text("{}")  # a retry
    assert deaths.fruitless(trial) == 0
    assert die(None) == 1
