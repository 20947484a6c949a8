"""Training curves at several batches with known constants of Kaplan et al. 2020, section 5."""

import numpy as np

from scaling.fit.envelope.lower_envelope import Trace
from scaling.fit.other_laws.published import critical_batch

N_C, ALPHA_N, S_C, ALPHA_S = 6.5e13, 0.077, 2.1e3, 0.76  # table 3
BATCHES = np.geomspace(3e4, 8e6, 7)


def curve(params, batch, run_sd=0.0, row_sd=0.0, rng=None, rows=300, scale=1.0):
    """The trace of one run: losses in the steps that eq. 1.6 and eq. 5.4 give to them.

    The critical batch is `scale` times Kaplan's.
    """
    rng = rng or np.random.default_rng(0)
    size = (N_C / params) ** ALPHA_N
    loss = size + np.geomspace(4.0, 0.25, 4 * rows)
    steps = S_C / (loss - size) ** (1 / ALPHA_S) * (1 + scale * critical_batch(loss) / batch)
    at = np.geomspace(steps[0], steps[-1], rows)
    loss = np.interp(np.log(at), np.log(steps), loss)
    loss = loss + run_sd * rng.standard_normal() + row_sd * rng.standard_normal(rows)
    noise = critical_batch(loss) / 2  # of the gradient
    return Trace(f"{params:.0e}-{batch:.2e}", params, 6 * params, at, batch * at, loss, 0.0, noise)


def curves(params=(1e8,), batches=BATCHES, run_sd=0.0, row_sd=0.0, seed=0, scale=1.0):
    """A run of each size and batch."""
    rng = np.random.default_rng(seed)
    return [curve(n, b, run_sd, row_sd, rng, scale=scale) for n in params for b in batches]
