"""The laws beside the headline on tables of any kind: a shape, a state, never an exception."""

import json
from dataclasses import replace

import numpy as np
import pytest
from fit_examples import config, observations
from fit_schema import FURTHER, problems

from configs.files import to_json
from scaling.fit.further import fit_further

NAMES = ["kaplan", "over_training", "learning_curve", "lr", "batch"]


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
    asked = f"laws=[{','.join(NAMES)}]"
    laws = fit_further(any_table(seed), config("runs=x", asked, f"n_bootstrap={60 * (seed % 2)}"))
    assert [law.name for law in laws] == NAMES
    for law in laws:
        document = json.loads(to_json(law.document()))
        assert problems(document, FURTHER[f"{law.name}?"], law.name) == []
        assert law.status != "refused" or law.reason


def test_only_the_laws_named_are_fitted():
    laws = fit_further(any_table(1), config("runs=x", "laws=[isoflop,kaplan]", "n_bootstrap=0"))
    assert [law.name for law in laws] == ["kaplan"]


def sweep_of_rates(cells, rates):
    """Runs of so many (N, D), each with so many learning rates and one batch size."""
    rows = [
        (1e6 * 4**cell, 20e6 * 4**cell * 3 ** (cell % 2), 1e-3 * 2.0**rate)
        for cell in range(cells)
        for rate in range(rates)
    ]
    params, tokens, lr = np.array(rows).T
    loss = 2 + 100 * params**-0.3 + 0.01 * np.log(lr / 2e-3) ** 2
    names = ("params", "tokens", "loss")
    points = [dict(zip(names, row, strict=True)) for row in np.column_stack([params, tokens, loss])]
    columns = {"lr": lr, "batch_tokens": np.full(len(lr), 5e5)}
    return replace(observations(points), columns=columns)


@pytest.mark.parametrize(("cells", "rates", "tried"), [(5, 3, True), (5, 2, False), (2, 5, False)])
def test_a_rate_has_a_law_unasked_only_where_several_cells_vary_it(cells, rates, tried):
    found = fit_further(sweep_of_rates(cells, rates), config("runs=x", "n_bootstrap=0"))
    assert [law.name for law in found] == NAMES[:3] + ["lr"] * tried


def test_a_law_asked_for_by_name_is_refused_with_the_reason():
    table = sweep_of_rates(5, 1)
    rate, batch = fit_further(table, config("runs=x", "laws=[lr,batch]", "n_bootstrap=0"))
    assert rate.reason == "no (N, D) was run with several values of lr"
    assert batch.reason == "no (N, D) was run with several values of batch_tokens"
