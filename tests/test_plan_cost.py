"""Predicted times: the model recovers what made the measurements; schedules keep their bounds."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import BadInput
from configs.load import compose_config
from configs.schema import build
from model.config import GPTConfig
from model.flops import flops_per_token_exact
from scaling.plan.cost import (
    CPU_REFERENCE,
    Measured,
    StepTime,
    calibrate,
    flops_exact,
    makespan_s,
)
from scaling.plan.ladder import rungs
from training.config import TrainConfig
from training.device.stated import stated_throughput

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


GPT2 = build(TrainConfig, compose_config("trial", ["precision=bf16"]))


def test_step_time_of_reference_machine():
    """The step of the reference machine."""
    # In ms: 3.80 for the layers, 4.24 activations, 1.04 arithmetic, 2.19 tokens.
    model = replace(TOY, n_head=2, n_embd=32)
    assert CPU_REFERENCE.step_s(model, 576) == pytest.approx(11.27e-3, rel=1e-3)


def test_calibrate_recovers_coefficients():
    """A refit recovers the coefficients."""
    fitted = calibrate(measurements(GPU), known=None)
    names = ("per_layer_ms", "per_activation_ms", "per_flop_ms", "per_token_ms")
    assert [getattr(fitted, name) for name in names] == pytest.approx(
        [getattr(GPU, name) for name in names], rel=1e-4
    )
    assert fitted.error < 1e-4


def test_calibrate_error_is_scatter_of_measurements():
    """A refit states the scatter of its measurements."""
    assert calibrate(measurements(GPU, noise=0.1), known=None).error == pytest.approx(0.1, rel=0.5)


def test_calibrate_gives_no_negative_coefficient():
    """No refitted coefficient is negative."""
    dispatch_bound = replace(GPU, per_activation_ms=0.0, per_token_ms=0.0)
    fitted = calibrate(measurements(dispatch_bound, noise=0.2), known=None)
    assert min(fitted.per_activation_ms, fitted.per_flop_ms, fitted.per_token_ms) >= 0


@pytest.mark.parametrize("count", [1, 3])
def test_calibrate_rescales_known_model_by_few_measurements(count):
    """A few measurements rescale the known model."""
    twice = [replace(m, step_s=2 * m.step_s) for m in measurements(CPU_REFERENCE)[:count]]
    scaled = calibrate(twice, CPU_REFERENCE)
    assert scaled.step_s(TOY, 512) == pytest.approx(2 * CPU_REFERENCE.step_s(TOY, 512))
    assert scaled.error == pytest.approx(CPU_REFERENCE.error / count**0.5)


@pytest.mark.parametrize(
    ("known", "counts"),
    [(None, (12, 2, 2)), (CPU_REFERENCE, (12, 2, 2)), (CPU_REFERENCE, (2, 2, 1))],
)
def test_calibrate_finds_the_multiple_of_each_recipe(known, counts):
    """Llama's and the LSTM's steps beside GPT-2's, from a refit and from a few measurements."""
    truth, multiples = known or GPU, {"gpt2": 1.0, "llama": 1.4, "lstm": 6.0}
    found = calibrate(
        [
            replace(m, step_s=multiples[name] * m.step_s, recipe=name)
            for name, count in zip(multiples, counts, strict=True)
            for m in measurements(truth)[-count:]
        ],
        known,
    )
    assert dict(found.recipes) == pytest.approx(multiples, rel=1e-3)
    shape, batch = rungs("grow", TOY)[1], 8_192
    for name, multiple in multiples.items():
        expected = multiple * truth.step_s(shape, batch)
        assert found.step_s(shape, batch, name) == pytest.approx(expected, rel=1e-3)
    assert found.error < (0.2 if known else 1e-3)


def test_calibrate_of_several_recipes_needs_and_claims_no_more_than_it_has():
    """Each multiple is one unknown more: the error claimed is the error made."""
    rng, claimed, made = np.random.default_rng(1), [], []
    names = ["gpt2"] * 5 + ["llama", "lstm", "lstm"]
    points = [measurements(GPU)[place] for place in (0, 3, 5, 8, 11, 4, 1, 10)]
    with pytest.raises(ValueError, match="found 7 measurements, expected 8 or more"):
        some = zip(points[:7], names, strict=False)
        calibrate([replace(m, recipe=name) for m, name in some], known=None)
    for _ in range(40):
        noisy = [
            replace(m, recipe=name, step_s=m.step_s * float(np.exp(0.05 * rng.normal())))
            for m, name in zip(points, names, strict=True)
        ]
        found = calibrate(noisy, known=None)
        claimed.append(found.error)
        made += [
            found.step_s(m.model, m.batch_tokens, name) / m.step_s - 1
            for m in measurements(GPU)
            for name in ("gpt2", "llama", "lstm")
        ]
    assert np.median(claimed) == pytest.approx(np.sqrt(np.mean(np.square(made))), rel=0.6)


def test_calibrate_without_measurements_keeps_reference():
    """Without measurements nothing is known beyond the reference."""
    assert calibrate([], CPU_REFERENCE) == CPU_REFERENCE
    with pytest.raises(ValueError, match="found 5 measurements, expected 6 or more"):
        calibrate(measurements(GPU)[:5], known=None)


@given(
    st.lists(st.floats(0.01, 100), min_size=1, max_size=30), st.integers(min_value=1, max_value=8)
)
def test_makespan_lies_between_its_bounds(seconds, slots):
    span = makespan_s(seconds, slots)
    assert span >= max(max(seconds), sum(seconds) / slots) * (1 - 1e-9)
    assert span <= (sum(seconds) / slots + max(seconds)) * (1 + 1e-9)


def test_makespan_runs_longest_first():
    """Makespan runs the longest first."""
    assert makespan_s([1, 2, 3, 4], parallel=2) == 5
    assert makespan_s([1, 2, 3, 4], parallel=1) == 10
    assert makespan_s([1, 2, 3, 4], parallel=9) == 4
    assert makespan_s([], parallel=2) == 0


def test_stated_throughput_is_share_of_peak():
    """Tier M, 1e19 FLOP, on one H200 at 40% of 989e12: 7.2 h at a width of 768 and more."""
    rate = stated_throughput("NVIDIA H200", None, "bf16", ranks=1, packed=1)
    flops = flops_exact(GPT2) + flops_per_token_exact(GPT2.model) * GPT2.evaluation.tokens / 3
    assert rate.trial_s(GPT2) * 1e19 / flops / 3600 == pytest.approx(7.1, abs=0.1)
    narrow = replace(GPT2, model=replace(GPT2.model, n_embd=192, n_head=3))
    ratio = flops_per_token_exact(narrow.model) / flops_per_token_exact(GPT2.model)
    assert rate.trial_s(narrow) == pytest.approx(4 * ratio * rate.trial_s(GPT2))
    two = stated_throughput("H200", None, "bf16", ranks=2, packed=1)
    assert two.trial_s(GPT2) == pytest.approx(rate.trial_s(GPT2) / 2)


def test_stated_throughput_shares_device_among_packed_trials():
    """Packed trials share a device that none of them fills."""
    alone, packed = (stated_throughput("H200", None, "bf16", 1, packed) for packed in (1, 4))
    small = replace(GPT2, model=replace(GPT2.model, n_embd=192, n_head=3))
    assert packed.trial_s(small) == alone.trial_s(small)
    assert packed.trial_s(GPT2) == pytest.approx(4 * alone.trial_s(GPT2))


def test_stated_throughput_prefers_tflops_to_device():
    """A stated rate counts before the name of a device."""
    rate = stated_throughput("an abacus", 100.0, "bf16", ranks=1, packed=1)
    by_rate = flops_exact(GPT2) / 1e14
    assert rate.trial_s(GPT2) == pytest.approx(by_rate, rel=0.1) and rate.error is None
    assert stated_throughput(None, None, "bf16", 1, 1) is None
    with pytest.raises(BadInput, match="launcher.device: found 'abacus'.* A100, L40S"):
        stated_throughput("abacus", None, "bf16", 1, 1)
