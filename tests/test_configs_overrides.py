"""What Hydra's grammar cannot say of key=value: a key typed twice."""

import pytest

from common.errors import BadInput
from configs.load import CONFIG_DIR
from configs.overrides import Keys, for_hydra
from scaling.fit.config import FitConfig

KEYS = Keys({"": FitConfig}, maps=("where", "columns"), once=True)


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
    assert for_hydra(["by=x", "by=y"], Keys({"": FitConfig}), CONFIG_DIR)[0] == [
        "++by='x'",
        "++by='y'",
    ]
