"""Predicted times: the model recovers what made the measurements; schedules keep their bounds."""

import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_plan_grid import experiment

from configs.errors import BadInput
from configs.load import build, compose_config
from model.config import GPTConfig
from model.flops import flops_per_token_exact
from scaling.plan import bill
from scaling.plan.cost import (
    CPU_REFERENCE,
    Measured,
    StepTime,
    calibrate,
    flops_exact,
    makespan_s,
    stated_rate,
)
from scaling.plan.grid import plan_grid
from scaling.plan.ladder import rungs
from scaling.plan.space import Device, disk, memory_of
from scaling.plan.stages import foreseen
from scaling.plan.table import print_plan, totals
from scaling.run.planning import all_of, total_cost
from training.config import TrainConfig

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


GPT2 = build(TrainConfig, compose_config("trial", ["precision=bf16"]))


def test_hours_of_a_stated_device_are_flop_over_its_share_of_the_peak():
    """Tier M, 1e19 FLOP, on one H200 at 40% of 989e12: 7.2 h at a width of 768 and more."""
    rate = stated_rate("NVIDIA H200", None, "bf16", ranks=1, packed=1)
    flops = flops_exact(GPT2) + flops_per_token_exact(GPT2.model) * GPT2.evaluation.tokens / 3
    assert rate.trial_s(GPT2) * 1e19 / flops / 3600 == pytest.approx(7.1, abs=0.1)
    narrow = replace(GPT2, model=replace(GPT2.model, n_embd=192, n_head=3))
    ratio = flops_per_token_exact(narrow.model) / flops_per_token_exact(GPT2.model)
    assert rate.trial_s(narrow) == pytest.approx(4 * ratio * rate.trial_s(GPT2))
    two = stated_rate("H200", None, "bf16", ranks=2, packed=1)
    assert two.trial_s(GPT2) == pytest.approx(rate.trial_s(GPT2) / 2)


def test_packed_trials_share_a_device_that_none_of_them_fills():
    alone, packed = (stated_rate("H200", None, "bf16", 1, packed) for packed in (1, 4))
    small = replace(GPT2, model=replace(GPT2.model, n_embd=192, n_head=3))
    assert packed.trial_s(small) == alone.trial_s(small)
    assert packed.trial_s(GPT2) == pytest.approx(4 * alone.trial_s(GPT2))


def test_a_stated_rate_counts_before_the_name_of_a_device():
    rate = stated_rate("an abacus", 100.0, "bf16", ranks=1, packed=1)
    by_rate = flops_exact(GPT2) / 1e14
    assert rate.trial_s(GPT2) == pytest.approx(by_rate, rel=0.1) and rate.error is None
    assert stated_rate(None, None, "bf16", 1, 1) is None
    with pytest.raises(BadInput, match="launcher.device: found 'abacus', whose peak is not known"):
        stated_rate("abacus", None, "bf16", 1, 1)


def test_what_a_plan_costs_is_said_in_lines_that_fit_a_terminal():
    base, grid = experiment("quickstart", "model.n_layer=12")
    rate = stated_rate("H200", None, "bf16", 1, 1)
    plan = plan_grid(base, replace(grid, budgets=(1e13,)), None, rate)
    cost = totals(plan, 8, rate)
    device = Device("cuda", memory_of("H200"))
    lines = [
        bill.data_line(plan, None, "/data/fineweb"),
        bill.data_line(plan, 20_000_000, ""),
        bill.time_line(rate),
        bill.time_line(CPU_REFERENCE),
        bill.memory_line(plan, device, 1),
        bill.disk_line(disk(plan, 8, False, 10**10), 10**6),
        *bill.price_line(cost, 8, 2.5),
    ]
    assert "data: /data/fineweb is not there, epochs are not checked" in lines[0]
    assert lines[2].startswith("time: H200 at 40% of its bf16 peak from width 768 on")
    assert "1 MB are free" in lines[5]
    assert "data not counted" in bill.disk_line(disk(plan, 8, False, None), 10**12)
    price = 8 * 2.5 * cost.wall_s / 3600
    assert lines[6].startswith(f"price: {price:.2f} +-50%: 8 devices for ")
    assert bill.price_line(cost, 8, 0) == []
    assert max(map(len, lines)) <= 100
    page = io.StringIO()
    print_plan(plan, cost, None, device, page)
    assert max(map(len, page.getvalue().splitlines())) <= 100
    assert "memory" in page.getvalue()


def test_a_trial_of_two_stages_is_paid_for_once():
    base, grid = experiment("isoflop_m")
    plans = foreseen(base, grid, None, stated_rate("H200", None, "bf16", 1, 1))
    assert len(plans) == 2 and len(all_of(plans).trials) < sum(len(p.trials) for p in plans)
    cost = total_cost(plans, 1)
    assert cost.wall_s == pytest.approx(cost.slot_s)


def test_a_plan_of_very_many_cells_has_a_line_a_budget():
    base, grid = experiment("quickstart")
    budgets = tuple(2.5e10 * 1.02**k for k in range(60))
    plan = plan_grid(base, replace(grid, budgets=budgets, min_steps=900), 30_000_000)
    page = io.StringIO()
    print_plan(plan, totals(plan, slots=2, step_time=None), file=page)
    lines = page.getvalue().splitlines()
    assert len(lines) == 60 + 1 + 40 + 1 and max(map(len, lines)) <= 100
    assert lines[0] == "2.5e+10 FLOP, grid: 4 cells, 2x8 to 2x24, 12 trials"
    assert lines[-1] == f"left out: {len(plan.left_out) - 40} cells more"
