"""The law that a plan assumes: a fit's, a named one, or one moved to the grid's centre."""

import json
from dataclasses import replace

import pytest

from common.errors import BadInput
from configs.load import compose_config
from configs.schema import build
from scaling.fit.laws import PUBLISHED, Surface
from scaling.fit.results.estimate import Estimate
from scaling.fit.results.laws import ParametricLaw, judged
from scaling.plan.config import CentreConfig
from scaling.plan.grid import plan_grid
from scaling.plan.precision.assumed_law import (
    QUICKSTART,
    Constants,
    PrecisionConfig,
    assume_law,
    centred,
)
from tests.support.fit_document import document
from tests.support.plan_examples import CORPUS, experiment

BESIROGLU = PUBLISHED["besiroglu"]

DEFAULTS = build(PrecisionConfig, compose_config("sweep")["foresight"])

PLAN = plan_grid(*experiment("quickstart"), CORPUS)


def n_quickstart(budget: float) -> float:
    return QUICKSTART.optimal_allocation(budget)[0] ** -QUICKSTART.alpha


@pytest.mark.parametrize("exponent", [0.35, 0.5, 0.73])
def test_centred_law_has_its_optimum_at_the_centre(exponent):
    """A law moved to the centre has its optimum there and its IsoFLOP curves as deep."""
    centre = CentreConfig(flops=1e12, tokens_per_param=30, exponent=exponent)
    law = centred(QUICKSTART, centre)
    for budget in (1e10, 1e12, 1e15):
        assert law.optimal_allocation(budget)[0] == pytest.approx(centre.n_effective(budget))
    for of in (law, QUICKSTART):
        n, d = of.optimal_allocation(1e12)
        falls = of.alpha * of.A * n**-of.alpha
        assert falls == pytest.approx(of.beta * of.B * d**-of.beta)
        assert falls == pytest.approx(QUICKSTART.alpha * QUICKSTART.A * n_quickstart(1e12))
    assert law.alpha + law.beta == pytest.approx(QUICKSTART.alpha + QUICKSTART.beta)


def test_assume_law_takes_fit_in_sweep_directory(tmp_path):
    """A fit in the sweep directory is the prior unless a law is named."""
    constants = {"E": 1.0, "A": 50.0, "B": 80.0, "alpha": 0.5, "beta": 0.4}
    assert (
        assume_law(PLAN, DEFAULTS, tmp_path).name
        == "quickstart's surface moved to the grid's centre"
    )
    (tmp_path / "fit").mkdir()
    path = tmp_path / "fit" / "fit.json"
    path.write_text("{")
    assert assume_law(PLAN, DEFAULTS, tmp_path).name.startswith("quickstart's")
    estimates = {name: Estimate(value) for name, value in constants.items()}
    law = ParametricLaw(**judged(), **estimates)
    path.write_text(json.dumps(document(laws={"parametric": law}).to_json()))
    assert assume_law(PLAN, DEFAULTS, tmp_path).law == Surface(**constants)
    law = replace(law, E=Estimate(None, bound="low"))
    path.write_text(json.dumps(document(laws={"parametric": law}).to_json()))
    assert assume_law(PLAN, DEFAULTS, tmp_path).name.startswith("quickstart's")
    named = replace(DEFAULTS, law="besiroglu")
    assert assume_law(PLAN, named, tmp_path).law == BESIROGLU
    given = replace(DEFAULTS, law=Constants(**constants))
    assert assume_law(PLAN, given, tmp_path).law == Surface(**constants)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"law": "kaplan"}, "foresight.law: found 'kaplan', expected one of hoffmann"),
        ({"law": {"E": 1}}, "foresight.law.A: missing"),
        ({"law": [1]}, "foresight.law: found [1] (list), expected text, or a group of fields"),
        (
            {"law": {"E": 1, "A": 0, "B": 1, "alpha": 1, "beta": 1}},
            "foresight.law.A: found 0.0, expected more",
        ),
        ({"noise": -0.1}, "foresight.noise: found -0.1, expected nats"),
        ({"target_flops": 0}, "foresight.target_flops: found 0, expected above 0"),
        ({"target_flops": 1e300}, "foresight.target_flops: found 1e+300, expected above 0 and"),
        ({"simulations": 3}, "foresight.simulations: found 3, expected 40"),
        ({"seed": -1}, "foresight.seed: found -1"),
    ],
)
def test_precision_config_refuses_impossible_law(change, complaint):
    """A prior that cannot be is refused."""
    values = compose_config("sweep")["foresight"] | change
    with pytest.raises(BadInput) as refusal:
        build(PrecisionConfig, values, "foresight")
    assert complaint in str(refusal.value)
