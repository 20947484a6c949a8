"""Learning curves, size by size."""

import numpy as np
import pytest

from scaling.fit.other_laws import learning_curve
from scaling.fit.other_laws.learning_curve import fit_learning_curves
from tests.support.fit_examples import observations


def rng(seed=0):
    return np.random.default_rng(seed)


def curves(sizes, floor=1.5, noise=0.0):
    generator = rng(1)
    return observations(
        [
            {
                "params": n,
                "tokens": float(d),
                "loss": float(
                    floor + (1e9 / n) ** 0.3 + (1e9 / d) ** 0.4 + noise * generator.normal()
                ),
            }
            for n, count in sizes.items()
            for d in np.geomspace(1e8, 3e10, count)
        ]
    )


def test_fit_learning_curves_by_size():
    """Each size has its curve and asymptote."""
    law = fit_learning_curves(curves({1e7: 6, 1e8: 5, 1e9: 2}), 50, 0)
    assert law.status == "ok"
    assert [size.params for size in law.sizes] == [1e7, 1e8]
    for size in law.sizes:
        assert size.E.value == pytest.approx(1.5 + (1e9 / size.params) ** 0.3, rel=1e-6)
        assert size.alpha.value == pytest.approx(0.4, rel=1e-6)
        assert size.D_c.value == pytest.approx(1e9, rel=1e-6)


def test_fit_learning_curves_refuses():
    """A table with no size at several amounts of data has no curve."""
    law = fit_learning_curves(curves({1e7: 3, 1e8: 2}), 50, 0)
    assert (law.status, law.reason) == (
        "refused",
        "no size has runs of at least 4 amounts of data",
    )


def test_fit_learning_curves_of_many_sizes_are_those_of_the_most_runs(monkeypatch):
    """And a flag counts all that have enough."""
    monkeypatch.setattr(learning_curve, "MOST_SIZES", 2)
    law = fit_learning_curves(curves({1e7: 6, 2e7: 5, 1e8: 5, 2e8: 7}), 50, 0)
    assert [size.params for size in law.sizes] == [1e7, 2e8]
    (flag,) = law.flags
    assert flag.code == "sizes_left_out" and flag.text.startswith("4 sizes")


def test_fit_learning_curves_say_a_flag_once():
    """By the first size that carries it, and how many more do."""
    law = fit_learning_curves(curves({1e7: 5, 3e7: 5, 1e8: 5}, noise=0.3), 200, 0)
    (flag,) = (flag for flag in law.flags if flag.code == "wide_interval")
    assert flag.text.startswith("N ") and "more size" in flag.text
