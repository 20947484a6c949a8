"""Runs that follow Kaplan's joint law, for tests."""

import numpy as np

from scaling.fit.laws import PUBLISHED, KaplanLaw
from tests.support.fit_examples import observations

KAPLAN = PUBLISHED["kaplan"]
TRUTH = KaplanLaw(np.log(6.4e13), np.log(1.8e13), 0.076, 0.103)
SIZES, DATA = np.geomspace(1e6, 1e9, 6), np.geomspace(2e8, 2e10, 5)


def grid(sigma=0.0, seed=0, sizes=SIZES, data=DATA):
    rng = np.random.default_rng(seed)
    return observations(
        [
            {
                "params": float(n),
                "tokens": float(d),
                "loss": float(KAPLAN.predict_loss(n, d) * np.exp(sigma * rng.normal())),
            }
            for n in sizes
            for d in data
        ]
    )
