"""What Hydra's grammar cannot say of key=value: a key typed twice."""

import pytest

from common.errors import BadInput
from configs.load import CONFIG_DIR, compose_config
from configs.overrides import Keys, for_hydra
from configs.typed_words import key_twice
from data.prepare.__main__ import KEYS as PREPARE
from scaling.fit.config import FitConfig
from scaling.run.command import KEYS as SWEEP
from training.trial.command import KEYS as TRAIN

KEYS = Keys({"": FitConfig}, maps=("where", "columns"))


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (
            ["runs=a.csv", "runs=b.csv"],
            "runs: found twice, a.csv and b.csv; give both at once, as 'runs=[a.csv,b.csv]'",
        ),
        (["exclude=[a,b]", "exclude=c"], "as 'exclude=[a,b,c]'"),
        (["where.x=1", "where.x=2"], "as 'where.x=[1,2]'"),
        (["by=x", "by=y"], "by: found twice, x and y; keep one of them"),
        (["columns.loss=x", "columns.loss=y"], "keep one of them"),
    ],
)
def test_for_hydra_refuses_a_key_twice_where_one_would_be_dropped(typed, says):
    """Both values stand in the message, in one list where the field takes lists."""
    with pytest.raises(BadInput) as error:
        for_hydra(typed, KEYS, CONFIG_DIR)
    assert says in str(error.value)


def test_for_hydra_lets_the_last_count_where_a_command_says_so():
    """Code that composes a trial puts its own overrides last."""
    keys = Keys({"": FitConfig}, once=False)
    assert for_hydra(["by=x", "by=y"], keys, CONFIG_DIR)[0] == ["++by='x'", "++by='y'"]


@pytest.mark.parametrize("keys", [TRAIN, SWEEP, PREPARE], ids=["train", "sweep", "prepare"])
def test_every_command_refuses_a_key_twice(keys):
    """Hydra's grammar would let the last count; a plus before the key makes it no other key."""
    typed = (
        ["runtime.data_dir=a", "+runtime.data_dir=b"] if keys is not PREPARE else ["out=a", "out=b"]
    )
    with pytest.raises(BadInput, match="found twice, a and b; keep one of them"):
        for_hydra(typed, keys, CONFIG_DIR)
    assert for_hydra([typed[0], typed[0]], keys, CONFIG_DIR)


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (["grid.arms={a: {}, b: {}, a: {rules.lr_factor: 2}}"], "grid.arms: found a twice in"),
        (["grid.arms={a: {}, 'a': {}}"], "grid.arms: found a twice in"),
        (["grid.arms={a: {rules: {lr_factor: 2, lr_factor: 3}}}"], "found lr_factor twice in"),
        (["grid.tuning.cells=[{flops: 1e9}, {flops: 1e9, flops: 2e9}]"], "found flops twice in"),
        (
            ["grid.arms={a: {}, b: {}}", "grid.arms.b.optimizer=muon"],
            "grid.arms: found beside grid.arms.b.optimizer, and as a whole it replaces all",
        ),
        (
            ["grid.arms.b={}", "grid.arms.b.optimizer=muon"],
            "grid.arms.b: found beside grid.arms.b.",
        ),
    ],
)
def test_for_hydra_refuses_an_entry_of_a_mapping_twice(typed, says):
    """Hydra's grammar would keep the last of them without a word."""
    with pytest.raises(BadInput) as error:
        for_hydra(typed, SWEEP, CONFIG_DIR)
    assert says in str(error.value)


@pytest.mark.parametrize(
    "typed", ["{a: {x: 1}, b: {x: 1}}", "[{x: 1}, {x: 1}]", "{a: 'a: b, a: c', b: {}}", "a:b,a:c"]
)
def test_key_twice_is_of_one_mapping(typed):
    """Two mappings may have one key, and text in quotes has none."""
    assert key_twice(typed) is None


@pytest.mark.parametrize(
    ("typed", "arms"),
    [
        ("grid.arms={a: {}, b: {optimizer: muon}}", {"a": {}, "b": {"optimizer": "muon"}}),
        ("grid.arms.muon={rules.lr_factor: 2}", ["gpt2", "muon", "llama", "lstm"]),
        ("grid.arms.slow={rules.lr_factor: 2}", ["gpt2", "muon", "llama", "lstm", "slow"]),
    ],
)
def test_typed_mapping_replaces_that_of_the_file(typed, arms):
    """As a whole, or an entry of it; entries that are not typed stay where one is."""
    found = compose_config("sweep", ["experiment=arms_smoke", typed], keys=SWEEP)["grid"]["arms"]
    assert found == arms or list(found) == arms
    assert "muon" not in found or found["muon"] in ({"rules.lr_factor": 2}, {"optimizer": "muon"})
    assert typed[:14] != "grid.arms.muon" or found["muon"] == {"rules.lr_factor": 2}
