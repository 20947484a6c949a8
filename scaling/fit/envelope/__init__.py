"""Approach 1: power laws along the lower envelope of the training curves."""

from scaling.fit.envelope.estimator import EnvelopeFit, fit_envelope, traces_of
from scaling.fit.envelope.lower_envelope import LowerEnvelope, Trace, lower_envelope
