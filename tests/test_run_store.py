"""A sweep directory: made once, read strictly, and the only memory of what was and will be done."""

import re
from contextlib import suppress
from dataclasses import replace

import pytest

from common.errors import BadInput
from scaling.plan.grid import plan_grid
from scaling.run import store
from tests.support.plan_examples import SMOKE
from tests.support.tiny_sweep import (
    loaded,
    pretended_plan,
    stored,
)
from tests.support.tiny_training import tiny_config
from training.trial.identity import setting_digest


@pytest.fixture
def plan(tmp_path):
    return pretended_plan(tmp_path, range(4))


def test_read_plan_returns_stored_plan(tmp_path, plan):
    """A plan is read as it was placed."""
    asked = stored(plan)
    assert store.store_plan(tmp_path, asked, extend=False) == asked
    before = (tmp_path / "plan.json").read_bytes()
    assert store.read_plan(tmp_path) == asked
    assert store.store_plan(tmp_path, asked, extend=False) == asked
    assert (tmp_path / "plan.json").read_bytes() == before


def test_store_plan_ignores_order_of_trials(tmp_path, plan):
    """Another order is the same grid."""
    store.store_plan(tmp_path, stored(plan), extend=False)
    turned = replace(plan, trials=plan.trials[::-1])
    assert store.store_plan(tmp_path, stored(turned), extend=False).plan == plan


def test_store_plan_refuses_another_setting_by_field(tmp_path, plan):
    """Another setting is refused by its field."""
    store.store_plan(tmp_path, stored(plan), extend=False)
    base = loaded(tiny_config(tmp_path, evaluation__tokens=64))
    other = replace(plan, base=base, setting=setting_digest(base))
    with pytest.raises(BadInput, match=r"evaluation.tokens: found 64, and this sweep has 592"):
        store.store_plan(tmp_path, stored(other), extend=True)


def test_store_plan_refuses_other_data(tmp_path, plan):
    """Other data is refused with both digests."""
    store.store_plan(tmp_path, stored(plan), extend=False)
    with pytest.raises(BadInput, match="1111111111111111.*0000000000000000"):
        store.store_plan(tmp_path, stored(plan, data_digest="1" * 16), extend=True)


def test_store_plan_refuses_or_merges_another_grid(tmp_path, plan):
    """Another grid is refused or united by content."""
    store.store_plan(tmp_path, stored(plan), extend=False)
    edited = pretended_plan(tmp_path, (5, 3, 2, 1))  # seed 0 dropped, 5 inserted, order turned
    with pytest.raises(BadInput, match="1 trials are new and 1 no longer.*extend=true"):
        store.store_plan(tmp_path, stored(edited), extend=False)

    merged = store.store_plan(tmp_path, stored(edited), extend=True)
    assert {trial.config.seed for trial in merged.plan.trials} == {0, 1, 2, 3, 5}
    assert merged.stale == (plan.trials[0].id,)
    assert store.read_plan(tmp_path) == merged
    # The grid as it was extended, and the sum of both, are what is there.
    assert store.store_plan(tmp_path, stored(edited), extend=False) == merged
    with pytest.raises(BadInput, match="another grid"):
        store.store_plan(tmp_path, stored(plan), extend=False)


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
def test_read_plan_refuses_damage_with_path(tmp_path, plan, damage, complaint):
    """A damaged plan is refused with its path: by its digest, and by what it says without one."""
    store.store_plan(tmp_path, stored(plan), extend=False)
    path = tmp_path / "plan.json"
    whole = path.read_text()
    path.write_text(damage(whole))
    with pytest.raises(BadInput, match=rf"{path}: .*(digest|not strict JSON|expected a plan)"):
        store.read_plan(tmp_path)
    path.write_text(damage(re.sub(r',\n  "digest": "\w{16}"', "", whole)))
    with pytest.raises(BadInput) as error:
        store.read_plan(tmp_path)
    assert str(path) in str(error.value) and complaint in str(error.value)
    assert "plan.json: plan.json" not in str(error.value)


def test_read_plan_shows_a_changed_byte(tmp_path, plan):
    """Of a byte changed anywhere the plan is refused, or reads as before."""
    store.store_plan(tmp_path, stored(plan), extend=False)
    path = tmp_path / "plan.json"
    whole, read = path.read_bytes(), store.read_plan(tmp_path)
    for place in range(0, len(whole), 7):
        path.write_bytes(
            whole[:place] + bytes([whole[place] ^ 1 << place % 5]) + whole[place + 1 :]
        )
        with suppress(BadInput):
            assert store.read_plan(tmp_path) == read


def test_read_plan_refuses_missing_plan(tmp_path, plan):
    """No plan and no folder."""
    with pytest.raises(BadInput, match="plan.json: not found"):
        store.read_plan(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="out: .*file: found a file, expected a folder"):
        store.store_plan(tmp_path / "file", stored(plan), extend=False)


def test_store_plan_adds_arms_to_grid_without(tmp_path):
    """A grid's trials become its baseline's, if that changes nothing, and other arms are added."""
    base, grid = SMOKE
    store.store_plan(tmp_path, stored(plan_grid(base, grid, None)), extend=False)
    armed = replace(grid, arms={"gpt2": {}, "muon": {"optimizer.name": "muon"}})
    asked = stored(plan_grid(base, armed, None))
    with pytest.raises(BadInput, match="8 trials are new and 0 no longer asked for; extend=true"):
        store.store_plan(tmp_path, asked, extend=False)
    both = store.store_plan(tmp_path, asked, extend=True)
    assert both.plan == asked.plan and both.stale == ()
    renamed = replace(grid, arms={"one": {}, "muon": {"optimizer.name": "muon"}})
    again = store.store_plan(tmp_path, stored(plan_grid(base, renamed, None)), extend=True).plan
    assert {name for trial in again.trials for name, _ in trial.arms} == {"one", "muon"}
