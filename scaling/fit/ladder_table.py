"""Table 3 of Hoffmann et al. 2022 for the user's own laws: what it takes to make a size the best.

The paper's nine sizes run from 400M to 10T, whose largest model had 16.2B. Where all runs of a
study are smaller than 400M the sizes are scaled to keep that distance to the largest model.
"""

from typing import Any

import numpy as np

from scaling.fit.isoflop import IsoflopFit
from scaling.fit.laws import PUBLISHED, UNKNOWN, Estimate, Surface
from scaling.fit.observations import Observations
from scaling.fit.parametric import ParametricFit
from scaling.fit.prediction import inverse, oracles

SIZES = (400e6, 1e9, 10e9, 67e9, 175e9, 280e9, 520e9, 1e12, 10e12)
_LARGEST = 16.183e9  # the largest of their models, table A9


def ladder_table(
    observations: Observations, isoflop: IsoflopFit | None, parametric: ParametricFit | None
) -> dict[str, Any]:
    """The entry `ladder` of fit.json: rows like those of `answers`, of each law and Hoffmann's.

    Hoffmann's rows are the closed form of their approach 3 with the digits of the TeX source, at
    the same sizes. They belong to their corpus, tokenizer and count of parameters.
    """
    largest = float(observations.params.max())
    scaled = largest < SIZES[0]
    sizes = [_round(size * largest / _LARGEST) for size in SIZES] if scaled else list(SIZES)
    rows = [
        inverse(oracle, "params", size, observations)
        for oracle in oracles(observations, isoflop, parametric)
        for size in sizes
    ]
    if not rows:
        return {"sizes": "none", "note": "no law stands to fill the table", "rows": []}
    note = "the paper's sizes"
    if scaled:
        note = (
            f"the largest run has {largest:.3g} parameters, so the paper's sizes are scaled by "
            f"{largest / _LARGEST:.2g}: as far from it as the paper's were from its own largest"
        )
    rows += [_published(size) for size in sizes]
    return {"sizes": "scaled" if scaled else "paper", "note": note, "rows": rows}


def _published(size: float) -> dict[str, Any]:
    law = PUBLISHED["hoffmann"]
    assert isinstance(law, Surface)
    flops = float(np.exp(law.log_budget_of_size(size)))
    tokens = flops / 6 / size
    values = {
        "flops": flops,
        "params": size,
        "tokens": tokens,
        "tokens_per_param": tokens / size,
        "loss": float(law.predict_loss(size, tokens)),
    }
    return {
        "asked": "params",
        "law": "hoffmann",
        **{name: Estimate(value).document() for name, value in values.items()},
        "n_total": UNKNOWN.document(),
        "beyond": None,
        "flags": [],
    }


def _round(size: float) -> float:
    return float(f"{size:.2g}")
