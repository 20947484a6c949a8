"""The laws beside the headline on tables of any kind: a shape, a state, never an exception."""

import json
from dataclasses import replace

import numpy as np
import pytest

from common.files import to_json
from scaling.fit.dispatch import fit_other_laws
from scaling.fit.registry import LAWS
from scaling.fit.results.json_form import to_json as parts_to_json
from tests.support.fit_examples import config, observations
from tests.support.json_schema import problems

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
        "unique_tokens": tokens / rng.choice([1, 2, 5, 30], n),
        "vocab_size": np.full(n, 5e4),
    }
    return replace(
        observations([dict(zip(names, row, strict=True)) for row in rows]), columns=columns
    )


@pytest.mark.parametrize("seed", range(24))
def test_fit_other_laws_have_their_types(seed):
    """Any table gets laws of the agreed shape."""
    asked = f"laws=[{','.join(NAMES)}]"
    laws = fit_other_laws(
        any_table(seed), config("runs=x", asked, f"n_bootstrap={60 * (seed % 2)}")
    )
    assert list(laws) == NAMES
    for name, law in laws.items():
        document = json.loads(to_json(parts_to_json(law)))
        assert problems(document, LAWS[name].result_type) == []
        assert law.status != "refused" or law.reason


@pytest.mark.parametrize("seed", range(12))
def test_laws_fitted_where_named_have_their_types(seed):
    """So do the laws that are fitted only where they are named, on any table."""
    names = ["coupled", "bounded", "data_constrained", "batch_with_size"]
    asked = f"laws=[{','.join(names)}]"
    laws = fit_other_laws(any_table(seed), config("runs=x", asked, f"n_bootstrap={9 * (seed % 2)}"))
    assert list(laws) == names
    for name, law in laws.items():
        document = json.loads(to_json(parts_to_json(law)))
        assert problems(document, LAWS[name].result_type) == []
        assert law.status != "refused" or law.reason


def test_fit_other_laws_fits_only_the_named():
    """Only the laws named are fitted."""
    laws = fit_other_laws(any_table(1), config("runs=x", "laws=[isoflop,kaplan]", "n_bootstrap=0"))
    assert list(laws) == ["kaplan"]


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
def test_fit_other_laws_unasked_need_a_varied_column(cells, rates, tried):
    """A rate has a law unasked only where several cells vary it."""
    found = fit_other_laws(sweep_of_rates(cells, rates), config("runs=x", "n_bootstrap=0"))
    assert list(found) == NAMES[:3] + ["lr"] * tried


def test_fit_other_laws_refuses_with_a_reason():
    """A law asked for by name is refused with the reason."""
    table = sweep_of_rates(5, 1)
    laws = fit_other_laws(table, config("runs=x", "laws=[lr,batch]", "n_bootstrap=0"))
    rate, batch = laws["lr"], laws["batch"]
    assert rate.reason == "no (N, D) was run with several values of lr"
    assert batch.reason == "no (N, D) was run with several values of batch_tokens"
