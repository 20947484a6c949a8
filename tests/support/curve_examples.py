"""Training curves on a known surface, and the envelope fitted to them, for tests."""

import numpy as np

from scaling.fit.envelope.estimator import fit_envelope
from scaling.fit.envelope.lower_envelope import Trace
from scaling.fit.laws import PUBLISHED
from tests.support.fit_examples import observations

SURFACE = PUBLISHED["besiroglu"]
SIZES = 1e8 * 2.0 ** np.arange(8)


def traces(sizes=SIZES, horizons=(400.0,), rate=lambda n: 6 * n, settled=0.0, sigma=0.0, seed=0):
    """Curves of a surface, 400 rows each, 1000 steps apart, from a tenth of a token a parameter."""
    rng = np.random.default_rng(seed)
    found = []
    for n in sizes:
        for horizon in horizons:
            tokens = np.geomspace(0.1 * n, horizon * n, 400)
            loss = SURFACE.predict_loss(n, tokens) + sigma * rng.standard_normal()
            step = 1000.0 * np.arange(1, 401)
            end = settled * tokens[-1]
            found.append(Trace(f"{n:g}-{horizon:g}", n, rate(n), step, tokens, loss, end))
    return found


def finals(curves):
    return observations(
        [
            {
                "params": t.params,
                "tokens": t.tokens[-1],
                "loss": t.loss[-1],
                "flops": t.tokens[-1] * t.flops_per_token,
            }
            for t in curves
        ]
    )


def fitted(curves, n_bootstrap=0):
    return fit_envelope(finals(curves), n_bootstrap, 0, curves)
