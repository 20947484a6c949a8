"""What Hydra's grammar cannot say of key=value: a key typed twice."""

import pytest

from common.errors import BadInput
from configs.load import CONFIG_DIR
from configs.overrides import Keys, for_hydra
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
