"""From losses of two frontiers to compute."""

import numpy as np
import pytest

from scaling.fit.isoflop.frontier import Minima
from scaling.fit.multiplier.conversion import convert, irreducible_loss
from tests.support.arms import BUDGETS, LAW

ALL = np.arange(len(BUDGETS))
NONE = np.full(len(BUDGETS), -1)
GAMMA = LAW.alpha * LAW.beta / (LAW.alpha + LAW.beta)


def _frontier(k=1.0, budgets=BUDGETS):
    n, d = LAW.optimal_allocation(k * budgets)
    own = LAW.optimal_allocation(budgets)
    return Minima(
        *(row[None] for row in (*map(np.log, own), np.log(budgets), LAW.predict_loss(n, d)))
    )


@pytest.mark.parametrize("partner", [ALL, NONE], ids=["at one budget", "by the law"])
@pytest.mark.parametrize("pinned", [LAW.E, None], ids=["pinned", "fitted"])
@pytest.mark.parametrize("k", [1.0, 2.0, 0.6], ids=str)
def test_convert_inverts_the_frontier(k, partner, pinned):
    """k is exact where E is that of the law, and within 0.2% where the losses tell it."""
    found = convert(_frontier(), _frontier(k), partner, pinned)
    exact = 1e-9 if pinned else 2e-3
    assert np.exp(found.log_k) == pytest.approx(k, rel=exact)
    assert np.exp(found.log_k_data) == pytest.approx(k**LAW.b, rel=exact)
    assert np.exp(found.log_k_size) == pytest.approx(k**LAW.a, rel=exact)
    assert found.gamma == pytest.approx(GAMMA, rel=1e-9 if pinned else 0.02)


def test_irreducible_loss_is_that_of_the_law():
    """Two exact frontiers tell E; a constant above both raises it by itself."""
    E = irreducible_loss(_frontier(), _frontier(1.4))
    assert pytest.approx(LAW.E, abs=0.01) == E


def test_irreducible_loss_is_at_least_zero_and_below_every_loss():
    """Losses that rise, or fall as no law does, give an E within its bounds."""
    rng = np.random.default_rng(0)
    loss = 2 + rng.random((50, 5))
    log_c = np.broadcast_to(np.log(BUDGETS), loss.shape)
    E = irreducible_loss(*(Minima(log_c, log_c, log_c, one) for one in (loss, loss + 0.1)))
    assert (E >= -1e-12).all() and (loss.min(axis=1) > E).all()


def test_convert_passes_over_a_lost_minimum():
    """A resample without the minimum of one budget has no k there, and has one elsewhere."""
    arm = _frontier(1.5)
    arm.loss[0, 1] = np.nan
    found = convert(_frontier(), arm, ALL)
    assert np.isnan(found.log_k[0, 1])
    assert np.exp(np.delete(found.log_k, 1)) == pytest.approx(1.5, rel=5e-3)
