"""What a change is worth: the compute multiplier of an arm over a baseline."""

from scaling.fit.multiplier.estimator import Asked, multipliers, refused, unchecked_tokens
from scaling.fit.multiplier.frontiers import Arm
