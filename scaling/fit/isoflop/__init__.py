"""Approach 2: power laws through the minima of IsoFLOP profiles."""

from scaling.fit.isoflop.akima import akima_curve
from scaling.fit.isoflop.budgets import budgets, in_no_budget, is_budget
from scaling.fit.isoflop.estimator import IsoflopFit, fit_isoflop
from scaling.fit.isoflop.leave_out import exponents_without
from scaling.fit.isoflop.profiles import (
    Method,
    Profile,
    all_sizes,
    budgets_at_one_flops,
    find_profiles,
    minima,
    parabola,
    profile_of,
)
from scaling.fit.isoflop.shared_shape import fit_shape, shape_curves
