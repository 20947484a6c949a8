"""Approach 3: the surface L = E + A N^-alpha + B D^-beta through all runs."""

from scaling.fit.parametric.bootstrap import refit, without_each
from scaling.fit.parametric.estimator import ParametricFit, fit_parametric
from scaling.fit.parametric.minimum import minimise, width
from scaling.fit.parametric.newton import ALPHA, BETA, LOWER, UPPER, A, B, E
