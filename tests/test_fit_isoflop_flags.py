"""Flags of the profiles taken together."""

import numpy as np
import pytest

from scaling.fit.config import IsoflopConfig
from scaling.fit.isoflop.estimator import fit_isoflop
from scaling.fit.laws import PUBLISHED
from scaling.fit.observations import Exclusion
from tests.support.fit_examples import isoflop_rows, observations
from tests.support.fit_grid import BUDGETS, SIZES, TIED, law


def test_drift_flags_a_moving_grid():
    """A drifting grid is flagged with the exponent without it."""
    surface = PUBLISHED["hoffmann_printed"]
    rows = []
    for index, flops in enumerate(np.geomspace(1e17, 1e21, 5)):
        sizes = np.geomspace(1 / 4, 4, 7) * 1.4 ** (index - 2)
        rows += isoflop_rows(surface, [flops], sizes)
    asked = IsoflopConfig("parabola")
    fitted = fit_isoflop(observations(rows), 0, 0, 0.2, asked).law
    text = next(flag.text for flag in fitted.flags if flag.code == "drifting_centre")
    assert "one skewed shape for all IsoFLOP curves gives a = 0.4516" in text
    assert law(rows).method == "robust" and law(rows).status == "ok"
    steady = law(isoflop_rows(surface, BUDGETS, SIZES))
    assert "drifting_centre" not in {flag.code for flag in steady.flags}


def test_lost_edges_states_the_shift():
    """A missing edge run is flagged with the shift of the exponent."""
    rows = isoflop_rows(PUBLISHED["besiroglu"], BUDGETS, SIZES, 0.005)
    lost = rows.pop()
    gone = Exclusion("big", "status oom", lost["flops_budget"], lost["params"])
    fitted = law(rows, excluded=(gone,))
    without = law([row for row in rows if row["flops_budget"] != lost["flops_budget"]])
    text = next(flag.text for flag in fitted.flags if flag.code == "edge_valley")
    stated = float(text.split("without this IsoFLOP curve a = ")[1].split(",")[0])
    same = without.methods[fitted.method].a.value
    assert stated == pytest.approx(same, abs=2e-3)


def test_with_flags_marks_odd_curvature():
    """An odd curvature is flagged at its profile."""
    rows = isoflop_rows(TIED, BUDGETS, SIZES)
    for row in rows:
        if row["flops"] == BUDGETS[2]:
            row["loss"] += 0.6 * np.log(row["params"] / TIED.optimal_allocation(BUDGETS[2])[0]) ** 2
    profiles = law(rows).valleys
    assert [flag.code for flag in profiles[2].flags] == ["curvature"]
