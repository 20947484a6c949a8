"""Predicted times: the model recovers what made the measurements; schedules keep their bounds."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.config import GPTConfig
from scaling.plan.cost import CPU_REFERENCE, Measured, StepTime, calibrate, makespan_s
from scaling.plan.ladder import rungs

TOY = GPTConfig(n_layer=2, n_head=1, n_embd=16, block_size=64, vocab_size=256, init_std=0.02)
GPU = StepTime(0.4, 3e-7, 2.5e-12, 2e-6, fixed_s=8.0, error=0.0)


def measurements(truth: StepTime, noise: float = 0.0) -> list[Measured]:
    """Twelve points over depth, width and batch, each off by a factor of about 1 + noise."""
    generator = np.random.default_rng(0)
    points = [(shape, batch) for shape in rungs("grow", TOY)[:4] for batch in (512, 8_192, 131_072)]
    return [
        Measured(shape, batch, truth.step_s(shape, batch) * float(np.exp(error)))
        for (shape, batch), error in zip(points, noise * generator.normal(size=12), strict=True)
    ]


def test_the_step_of_the_reference_machine():
    # In ms: 3.80 for the layers, 4.24 activations, 1.04 arithmetic, 2.19 tokens.
    model = replace(TOY, n_head=2, n_embd=32)
    assert CPU_REFERENCE.step_s(model, 576) == pytest.approx(11.27e-3, rel=1e-3)


def test_a_refit_recovers_the_coefficients():
    fitted = calibrate(measurements(GPU), known=None)
    names = ("per_layer_ms", "per_activation_ms", "per_flop_ms", "per_token_ms")
    assert [getattr(fitted, name) for name in names] == pytest.approx(
        [getattr(GPU, name) for name in names], rel=1e-4
    )
    assert fitted.error < 1e-4


def test_a_refit_states_the_scatter_of_its_measurements():
    assert calibrate(measurements(GPU, noise=0.1), known=None).error == pytest.approx(0.1, rel=0.5)


def test_no_refitted_coefficient_is_negative():
    dispatch_bound = replace(GPU, per_activation_ms=0.0, per_token_ms=0.0)
    fitted = calibrate(measurements(dispatch_bound, noise=0.2), known=None)
    assert min(fitted.per_activation_ms, fitted.per_flop_ms, fitted.per_token_ms) >= 0


@pytest.mark.parametrize("count", [1, 3])
def test_a_few_measurements_rescale_the_known_model(count):
    twice = [replace(m, step_s=2 * m.step_s) for m in measurements(CPU_REFERENCE)[:count]]
    scaled = calibrate(twice, CPU_REFERENCE)
    assert scaled.step_s(TOY, 512) == pytest.approx(2 * CPU_REFERENCE.step_s(TOY, 512))
    assert scaled.error == pytest.approx(CPU_REFERENCE.error / count**0.5)


def test_without_measurements_nothing_is_known_beyond_the_reference():
    assert calibrate([], CPU_REFERENCE) == CPU_REFERENCE
    with pytest.raises(ValueError, match="found 7 measurements, expected 8 or more"):
        calibrate(measurements(GPU)[:7], known=None)


@given(
    st.lists(st.floats(0.01, 100), min_size=1, max_size=30), st.integers(min_value=1, max_value=8)
)
def test_makespan_lies_between_its_bounds(seconds, slots):
    span = makespan_s(seconds, slots)
    assert span >= max(max(seconds), sum(seconds) / slots) * (1 - 1e-9)
    assert span <= (sum(seconds) / slots + max(seconds)) * (1 + 1e-9)


def test_makespan_runs_the_longest_first():
    assert makespan_s([1, 2, 3, 4], slots=2) == 5
    assert makespan_s([1, 2, 3, 4], slots=1) == 10
    assert makespan_s([1, 2, 3, 4], slots=9) == 4
    assert makespan_s([], slots=2) == 0
