"""Public tables give their published exponents: nine IsoFLOP budgets, seeds, minima alone."""

import os
from pathlib import Path

import numpy as np
import pytest

from common.errors import BadInput
from scaling.fit.isoflop import fit_isoflop
from scaling.fit.numerics import Rows, regress
from scaling.fit.observations import Observations, observe
from scaling.fit.other_laws.kaplan import fit_kaplan
from scaling.fit.parametric import minimise
from scaling.fit.table.inputs import read_inputs
from tests.support.fit_examples import config

pytestmark = pytest.mark.needs_reference


def reference(name: str) -> Path:
    return Path(os.environ["REFERENCE_DIR"], name)


def runs_of(name: str, *overrides: str) -> Observations:
    asked = config(f"runs={reference(name)}", *overrides)
    return observe(read_inputs(asked).runs, asked)


def columns_of(name: str) -> np.ndarray:
    """A table as NumPy reads it, by column."""
    return np.genfromtxt(reference(name), delimiter=",", names=True, dtype=None, encoding="utf-8")


def slope(flops: np.ndarray, values: np.ndarray) -> float:
    """That of the unweighted line in logs."""
    line = regress(np.log(flops)[None], np.log(values)[None], np.ones(len(flops)))
    return float(line.slope[0])


# chinchilla_isoflop.md: Huber width, (E, A, B, alpha, beta), objective.
@pytest.mark.parametrize(
    ("delta", "optimum", "value"),
    [
        (1e-3, (1.872234, 819.0028, 3614.266, 0.3776957, 0.3927811), 5.792621908e-4),
        (1e9, (1.908079, 1050.445, 6452.917, 0.3927003, 0.4197873), 3.281786456e-3),
    ],
)
def test_surface_of_nine_isoflop_budgets(delta, optimum, value):
    """Hoffmann's nine budgets have the certified surfaces."""
    runs = runs_of("chinchilla_isoflop.csv")
    rows = Rows.of(runs.params, runs.tokens, runs.loss)
    point = minimise(rows, delta)
    found = rows.surface(point.theta)
    assert point.objective == pytest.approx(value, rel=1e-8)
    assert (found.E, found.A, found.B, found.alpha, found.beta) == pytest.approx(optimum, rel=1e-5)


def test_isoflop_law_of_nine_budgets():
    """The headline is within 0.025 of least squares, 0.5104, which its 90% interval holds."""
    law = fit_isoflop(runs_of("chinchilla_isoflop.csv"), 200, 0, 0.2).law
    assert law.a.value == pytest.approx(0.510451, abs=0.025)
    assert law.a.ci90[0] < 0.510451 < law.a.ci90[1]
    assert len(law.valleys) == 9


def test_size_law_of_dense_baselines():
    """Six sizes, one of three seeds: alpha 0.0786 without an irreducible loss, 0.127 with one."""
    runs = runs_of("routing_dense_curves.csv")
    assert len(runs) == 6
    forms = fit_kaplan(runs, 100, 0, 0.2).L_N.forms
    assert forms.power.alpha.value == pytest.approx(0.0786210, abs=1e-6)
    assert forms.power.N_c.value == pytest.approx(3.57e13, rel=2e-3)
    assert forms.floor.E.value == pytest.approx(1.009780, rel=1e-4)
    assert forms.floor.alpha.value == pytest.approx(0.1273444, rel=1e-4)
    assert forms.floor.squares / 2 == pytest.approx(3.599e-6, rel=1e-3)


def test_losses_below_a_unigram_model_are_refused():
    """A loss that is negative in every row is no cross entropy, and a log of it is not taken."""
    names = ("columns.params=params_non_vocab", "columns.tokens=characters")
    names = (*names, "where.vocab_size=4096")
    with pytest.raises(BadInput, match=r"loss: found -\d.*above 0 .*no cross entropy"):
        runs_of("vocab_scaling.csv", *names, "columns.loss=loss_unigram_normalised")


def test_best_vocabulary_grows_slower_than_the_model():
    """Of the runs that set a record: N without vocabulary 0.474, vocabulary 0.437, text 0.564."""
    table = columns_of("vocab_scaling.csv")
    table = table[np.argsort(table["flops"], kind="stable")]
    loss = table["loss_unigram_normalised"]
    table = table[loss < np.minimum.accumulate(np.append(np.inf, loss[:-1]))]
    assert len(table) == 111
    exponents = (0.4738, 0.4365, 0.5642)
    for name, exponent in zip(
        ("params_non_vocab", "params_vocab", "characters"), exponents, strict=True
    ):
        assert slope(table["flops"], table[name]) == pytest.approx(exponent, abs=1e-4)
    settled = table[table["flops"] > 2.18e17]
    assert slope(settled["flops"], settled["params_non_vocab"]) == pytest.approx(0.5036, abs=1e-3)


@pytest.mark.parametrize(
    ("convention", "a", "b"),
    [("kaplan", 0.5361, 0.4889), ("all", 0.3745, 0.5008), ("matrices", 0.6965, 0.4058)],
)
def test_minima_alone_under_three_conventions(convention, a, b):
    """One sweep has three exponents, by what a parameter is; in none does a + b have to be 1."""
    table = columns_of("nanochat_vertices.csv")
    rows = table[table["convention"] == convention]
    assert slope(rows["flops"], rows["params_opt"]) == pytest.approx(a, abs=1e-4)
    assert slope(rows["flops"], rows["tokens_opt"]) == pytest.approx(b, abs=1e-4)


@pytest.mark.parametrize(
    ("model", "a", "b", "of_budget"),
    [
        ("Transformer++", 0.55188, 0.55063, (0.24, 0.31)),
        ("Mamba", 0.38771, 0.48687, (0.47, 0.64)),
        ("Hyena", 0.50404, 0.49868, (0.80, 0.97)),
        ("StripedHyena", 0.48337, 0.53871, (0.80, 0.97)),
    ],
)
def test_minima_whose_exponents_do_not_add_to_one(model, a, b, of_budget):
    """a + b is 1.10 for Transformer++, where 6 N D is a quarter of C and grows faster than it."""
    table = columns_of("evo_vertices.csv")
    rows = {
        name: table[(table["model"] == model) & (table["variable"] == name)]
        for name in ("params", "tokens")
    }
    n, d = rows["params"], rows["tokens"]
    assert slope(n["flops"], n["value"]) == pytest.approx(a, abs=1e-5)
    assert slope(d["flops"], d["value"]) == pytest.approx(b, abs=1e-5)
    share = 6 * n["value"] * d["value"] / n["flops"]
    assert of_budget[0] - 0.01 < share.min() < share.max() < of_budget[1] + 0.01
