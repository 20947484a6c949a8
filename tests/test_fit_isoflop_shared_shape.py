"""One shape for all profiles."""

import numpy as np
import pytest

from scaling.fit.isoflop.estimator import fit_isoflop
from scaling.fit.laws import PUBLISHED
from tests.support.fit_examples import isoflop_rows, observations


@pytest.mark.parametrize("name", ["hoffmann_printed", "besiroglu", "muennighoff_c4"])
@pytest.mark.parametrize("drifts", [1.0, 1.5])
def test_fit_shape_has_no_bias(name, drifts):
    """One shape for all profiles has no bias however wide the grid."""
    surface = PUBLISHED[name]
    rows = []
    for index, flops in enumerate(np.geomspace(1e17, 1e21, 5)):
        sizes = np.geomspace(1 / 16, 16, 15) * drifts ** (index - 2)
        rows += isoflop_rows(surface, [flops], sizes)
    fitted = fit_isoflop(observations(rows), 0, 0, 0.2, methods=("parabola", "robust"))
    found = fitted.law.methods["robust"]
    assert found.a.value == pytest.approx(surface.a, abs=2e-4)
    assert found.b.value == pytest.approx(surface.b, abs=2e-4)
    assert fitted.robust is not None
    predicted = fitted.robust.d.at(1e24) / surface.optimal_allocation(1e24)[1] - 1
    assert abs(predicted) < 0.01
