"""Over-training's one exponent: rejected by the surface of two, and by IsoFLOP minima."""

import re
from dataclasses import replace

import numpy as np
import pytest

from scaling.fit.flags import Flag
from scaling.fit.laws import PUBLISHED, Surface
from scaling.fit.other_laws.over_training import fit_over_training
from scaling.fit.other_laws.tied_exponents import against_minima
from scaling.fit.results.estimate import Estimate
from scaling.fit.results.laws import IsoflopLaw, IsoflopMinimum, judged
from tests.support.fit_examples import isoflop_rows, observations, write_csv
from tests.support.fit_grid import over_trained
from tests.support.fit_runs import fitted

UNTIED = Surface(E=1.9, A=8000.0, B=110.0, alpha=0.52, beta=0.22)


@pytest.mark.parametrize(
    ("surface", "rejected"),
    [
        (UNTIED, 0.297),
        (Surface(E=1.9, A=110.0, B=8000.0, alpha=0.22, beta=0.52), 0.703),
        (PUBLISHED["muennighoff_c4"], None),
        (PUBLISHED["besiroglu"], None),  # a = 0.513: the best ratio moves by a sixth
    ],
)
def test_fit_over_training_says_where_its_one_exponent_is_rejected(surface, rejected):
    """The surface beside it denies a = 1/2, and says how the best ratio moves."""
    rows = isoflop_rows(surface, np.geomspace(1e18, 1e21, 4), np.geomspace(1 / 4, 4, 7), 0.002)
    law = fit_over_training(observations(rows), 0, 0)
    told = [flag.text for flag in law.flags if flag.code == "tied_exponents"]
    assert len(told) == (rejected is not None)
    if rejected:
        assert float(re.findall(r"give a = (\S+)", told[0])[0]) == pytest.approx(
            rejected, abs=0.004
        )
        ends = [float(np.divide(*surface.optimal_allocation(c)[::-1])) for c in (1e18, 1e21)]
        found = [float(v) for v in re.findall(r"goes from (\S+) at .* to (\S+) at", told[0])[0]]
        assert found == pytest.approx(ends, rel=0.1)


def test_tied_exponents_are_not_rejected_by_chance():
    """Of runs of one exponent the check rejects it in no more than its 5%."""
    fits = (fit_over_training(over_trained(0.01, seed), 0, 0) for seed in range(40))
    assert sum("tied_exponents" in {flag.code for flag in law.flags} for law in fits) <= 4


def test_tied_exponents_are_not_rejected_by_a_few_runs_far_off():
    """Least squares alone would reject them; the robust surface does not."""
    runs = over_trained(0.002, ratios=(5, 20, 80, 320))
    loss = runs.loss.copy()
    loss[[0, 5]] *= 1.3
    law = fit_over_training(replace(runs, loss=loss), 60, 0)
    assert "tied_exponents" not in {flag.code for flag in law.flags}


def minima_of(a, half_width):
    """An IsoFLOP law of exponent a +-half_width at 95%, whose N* = D* at 1e18 FLOP, and D* C^0.5.

    The highest of its budgets has no minimum.
    """
    found = [IsoflopMinimum(c, *(Estimate(1.0),) * 3, 7, ()) for c in (1e18, 1e19, 1e20)]
    lost = IsoflopMinimum(1e22, *(Estimate(None),) * 3, 7, ())
    return IsoflopLaw(
        **judged(),
        a=Estimate(a, ci95=(a - half_width, a + half_width)),
        b=Estimate(0.5),
        n_coef=Estimate(1e18**-a),
        d_coef=Estimate(1e18**-0.5),
        valleys=(*found, lost),
    )


@pytest.mark.parametrize(
    ("a", "half_width", "ratio"),
    [(0.4, 0.03, 100**0.1), (0.6, 0.05, 100**-0.1), (0.4, 0.11, None), (0.47, 0.01, None)],
)
def test_against_minima_flags_exponents_that_they_reject(a, half_width, ratio):
    """Minima whose interval leaves 1/2 out by an amount that moves D/N reject one exponent."""
    tied = fit_over_training(over_trained(0.002), 0, 0)
    found = against_minima({"over_training": tied, "isoflop": minima_of(a, half_width)})
    told = [flag.text for flag in found["over_training"].flags if flag.code == "tied_exponents"]
    assert len(told) == (ratio is not None)
    if ratio:
        assert found["over_training"].status == "flagged"
        ends = [
            float(v) for v in re.findall(r"goes from (\S+) at 1e\+18 FLOP to (\S+) at", told[0])[0]
        ]
        assert ends == pytest.approx([1.0, ratio], rel=0.01)


def test_against_minima_leaves_other_laws_as_they_are():
    """Nothing is said of a refused law, twice, without IsoFLOP curves, or of FLOP not 6 N D."""
    tied, minima = fit_over_training(over_trained(0.002), 0, 0), minima_of(0.4, 0.03)
    counted = replace(tied, **judged((Flag("flops_mismatch", "1.1 to 4 times 6 N D"),)))
    refused = replace(tied, **judged(reason="too few"))
    once = against_minima({"over_training": tied, "isoflop": minima})
    for laws in ({"over_training": tied}, {"isoflop": minima}, once):
        assert against_minima(laws) == laws
    for law in (refused, counted):
        assert against_minima({"over_training": law, "isoflop": minima})["over_training"] == law


def test_a_fit_asks_the_minima_where_the_surface_says_nothing(tmp_path):
    """Losses that are off by budget hide the exponents from the surface, not from the minima."""
    rows = isoflop_rows(UNTIED, np.geomspace(1e18, 1e20, 5), np.geomspace(1 / 4, 4, 7), 0.002)
    off = dict(
        zip(sorted({row["flops"] for row in rows}), (0.3, -0.3, 0.2, -0.3, 0.3), strict=True)
    )
    for row in rows:
        row["loss"] += off[row["flops"]]
    path = write_csv(tmp_path / "runs.csv", rows)
    asked = (f"runs={path}", "n_bootstrap=200", "require=[]")
    alone = fitted(*asked, "laws=[over_training]").document.laws["over_training"]
    assert "tied_exponents" not in {flag.code for flag in alone.flags}
    law = fitted(*asked, "laws=[isoflop,over_training]").document.laws["over_training"]
    text = next(flag.text for flag in law.flags if flag.code == "tied_exponents")
    assert float(re.findall(r"IsoFLOP curves give a = (\S+)", text)[0]) == pytest.approx(
        0.297, abs=0.02
    )
