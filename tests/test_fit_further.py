"""The laws beside the headline on tables of any kind: a shape, a state, never an exception."""

import json
from dataclasses import replace

import numpy as np
import pytest
from fit_examples import config, observations
from fit_schema import FURTHER, problems

from configs.files import to_json
from scaling.fit.further import fit_further


def any_table(seed):
    """Runs at random or on a grid, on a surface or with losses that mean nothing."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 40))
    params, tokens = 10 ** rng.uniform(3, 11, n), 10 ** rng.uniform(5, 13, n)
    if seed % 3 == 1:
        params, tokens = rng.choice([1e6, 1e7, 1e8], n), rng.choice([1e8, 1e9, 1e10, 1e11], n)
    if seed % 3 == 2:
        tokens = 20 * params
    loss = 1.7 + 400 * params**-0.34 + 400 * tokens**-0.28 + 0.01 * rng.random(n)
    if seed % 4 == 0:
        loss = rng.uniform(1e-3, 50, n)
    rows = np.column_stack([params, tokens, np.minimum(loss, 50)]).tolist()
    names = ("params", "tokens", "loss")
    columns = {
        "lr": rng.choice([1e-4, 3e-4, 1e-3, 3e-3, np.nan], n),
        "batch_tokens": rng.choice([1e4, 1e5, 1e6], n),
    }
    return replace(
        observations([dict(zip(names, row, strict=True)) for row in rows]), columns=columns
    )


@pytest.mark.parametrize("seed", range(24))
def test_any_table_gets_laws_of_the_agreed_shape(seed):
    laws = fit_further(any_table(seed), config("runs=x", f"n_bootstrap={60 * (seed % 2)}"))
    assert [law.name for law in laws] == [
        "kaplan",
        "over_training",
        "learning_curve",
        "lr",
        "batch",
    ]
    for law in laws:
        document = json.loads(to_json(law.document()))
        assert problems(document, FURTHER[f"{law.name}?"], law.name) == []
        assert law.status != "refused" or law.reason


def test_only_the_laws_named_are_fitted():
    laws = fit_further(any_table(1), config("runs=x", "laws=[isoflop,kaplan]", "n_bootstrap=0"))
    assert [law.name for law in laws] == ["kaplan"]
