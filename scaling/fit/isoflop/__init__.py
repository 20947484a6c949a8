"""Approach 2: power laws through the minima of IsoFLOP profiles."""

from scaling.fit.isoflop.akima import RICH_SIZES, akima_curve
from scaling.fit.isoflop.estimator import IsoflopFit, fit_isoflop, parabola_exponent
from scaling.fit.isoflop.profiles import (
    WINDOW_SIZES,
    Method,
    Profile,
    budgets,
    find_profiles,
    minima,
    parabola,
    profile_of,
)
