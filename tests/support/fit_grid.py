"""An IsoFLOP grid whose exponents are equal, and the law of its minima, for tests."""

from dataclasses import replace

import numpy as np

from scaling.fit.isoflop.estimator import fit_isoflop
from scaling.fit.laws import PUBLISHED
from tests.support.fit_examples import observations

TIED = PUBLISHED["muennighoff_c4"]
BUDGETS = np.geomspace(1e17, 1e19, 5)
SIZES = np.geomspace(1 / 4, 4, 7)


def law(rows, resamples=0, **changes):
    return fit_isoflop(replace(observations(rows), **changes), resamples, 0, 0.2).law
