"""Approach 3: the surface L = E + A N^-alpha + B D^-beta through all runs."""

from scaling.fit.parametric.bootstrap import refit
from scaling.fit.parametric.estimator import fit_parametric
from scaling.fit.parametric.minimum import minimise, width
from scaling.fit.parametric.newton import ALPHA, BETA, LOWER, UPPER, A, B
from scaling.fit.parametric.result import ParametricFit
