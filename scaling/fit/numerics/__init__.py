"""Numerical methods that several laws share: resampling, least squares, weighted regression."""

from scaling.fit.numerics.bootstrap import (
    FEWEST_RESAMPLES,
    LEVELS,
    Sampled,
    bayesian_weights,
    case_weights,
    estimate,
    estimates,
    generator,
    normal_draws,
    robust_sd,
    t_scale,
)
from scaling.fit.numerics.huber import by_differences, huber, solve_huber
from scaling.fit.numerics.identifiability import identify
from scaling.fit.numerics.levenberg_marquardt import RESAMPLE, Model, Solved, solve
from scaling.fit.numerics.rows import Rows
from scaling.fit.numerics.weighted_regression import (
    FEWEST_POINTS,
    between_profiles,
    inverse_variances,
    regress,
)
