"""Table 3 of Hoffmann et al. 2022 for the user's own laws: what it takes to make a size the best.

The paper's nine sizes run from 400M to 10T, whose largest model had 16.2B. Where all runs of a
study are smaller than 400M the sizes are scaled to keep that distance to the largest model.
"""

from collections.abc import Sequence

import numpy as np

from scaling.fit.laws import PUBLISHED, Surface
from scaling.fit.observations import Observations
from scaling.fit.predict import FittedLaw, inverse
from scaling.fit.results.document import Answer, Ladder
from scaling.fit.results.estimate import UNKNOWN, Estimate

SIZES = (400e6, 1e9, 10e9, 67e9, 175e9, 280e9, 520e9, 1e12, 10e12)
_LARGEST = 16.183e9  # the largest of their models, table A9


def ladder_table(observations: Observations, laws: Sequence[FittedLaw]) -> Ladder:
    """The sizes under each law and under Hoffmann's.

    Hoffmann's rows are the closed form of their approach 3 with the digits of the TeX source, at
    the same sizes. They belong to their corpus, tokenizer and count of parameters.
    """
    largest = float(observations.params.max())
    scaled = largest < SIZES[0]
    sizes = [_round(size * largest / _LARGEST) for size in SIZES] if scaled else list(SIZES)
    rows = [inverse(law, "params", size, observations) for law in laws for size in sizes]
    if not rows:
        return Ladder("none", "every law was refused", ())
    note = "the paper's sizes"
    if scaled:
        note = (
            f"the largest run has {largest:.3g} parameters, so the paper's sizes are scaled by "
            f"{largest / _LARGEST:.2g}: as far from it as the paper's were from its own largest"
        )
    rows += [_published(size) for size in sizes]
    return Ladder("scaled" if scaled else "paper", note, tuple(rows))


def _published(size: float) -> Answer:
    law = PUBLISHED["hoffmann"]
    assert isinstance(law, Surface)
    flops = float(np.exp(law.n_opt.log_budget(size)))
    tokens = flops / 6 / size
    return Answer(
        asked="params",
        law="hoffmann",
        flops=Estimate(flops),
        params=Estimate(size),
        n_total=UNKNOWN,
        tokens=Estimate(tokens),
        tokens_per_param=Estimate(tokens / size),
        loss=Estimate(float(law.predict_loss(size, tokens))),
        beyond=None,
        flags=(),
    )


def _round(size: float) -> float:
    return float(f"{size:.2g}")
