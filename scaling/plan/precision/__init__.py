"""The precision to expect of a plan's fit; simulate.py, which loads the estimators, by name."""

from scaling.plan.precision.assumed_law import AssumedLaw, PrecisionConfig, assume_law
from scaling.plan.precision.result import ExpectedPrecision, LawPrecision, precision_lines
