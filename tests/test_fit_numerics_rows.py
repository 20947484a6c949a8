"""Runs in logarithms about their means, and the surface there and back."""

from dataclasses import astuple

import numpy as np
import pytest

from scaling.fit.laws import PUBLISHED, Surface
from scaling.fit.numerics import Rows

N, D = np.geomspace(1e7, 1e9, 12), np.geomspace(1e9, 3e10, 12)[::-1].copy()
SURFACE = PUBLISHED["besiroglu"]
assert isinstance(SURFACE, Surface)


def test_rows_are_centred():
    rows = Rows.of(N, D, SURFACE.predict_loss(N, D))
    assert rows.log_n.mean() == pytest.approx(0, abs=1e-12)
    assert rows.log_d + rows.centre[1] == pytest.approx(np.log(D))


def test_rows_surface_inverts_theta():
    rows = Rows.of(N, D, SURFACE.predict_loss(N, D))
    theta = rows.theta(SURFACE)
    assert astuple(rows.surface(theta))[:5] == pytest.approx(astuple(SURFACE)[:5], rel=1e-12)
    both = rows.surface(np.stack([theta, theta]))
    assert pytest.approx(np.full(2, SURFACE.A)) == both.A
    centred = theta[0] + theta[1] * np.exp(-theta[3] * rows.log_n)
    assert centred + theta[2] * np.exp(-theta[4] * rows.log_d) == pytest.approx(rows.loss)


def test_rows_members_have_their_own_losses():
    losses = np.arange(36.0).reshape(3, 12) + 1
    rows = Rows.of(N, D, losses)
    assert rows.members(slice(1, 3)).loss.tolist() == losses[1:].tolist()
    same = Rows.of(N, D, losses[0])
    assert same.members(slice(1, 3)) is same
