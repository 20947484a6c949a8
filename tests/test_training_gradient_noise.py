"""Noise scale and update ratio: what they should be, where they are, and that they only look."""

import math
from contextlib import nullcontext
from dataclasses import replace
from functools import partial

import pytest
import torch
from test_training_ranks_distributed import together
from torch._dynamo.utils import counters

from tests.support.tiny_training import built_state, claimed, prepared_config, train_once
from training.device.backends import compiled
from training.gradient_noise import NoiseScale, two_batches
from training.loop import train
from training.state import TrainState
from training.step import accumulate_gradients, begin_step
from training.trial.metrics import read_metrics


def drawn_squares(n: int, draws: int) -> tuple[torch.Tensor, float, float]:
    """|g_n|^2 of `draws` gradients of known G and Sigma, then |G|^2 and tr(Sigma)."""
    generator = torch.Generator().manual_seed(n)
    mean_K = torch.tensor([0.3, -0.2, 0.1], dtype=torch.float64)
    sd_K = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    noise = torch.randn((draws, n, 3), generator=generator, dtype=torch.float64)
    gradients = (mean_K + sd_K * noise).mean(1)
    return gradients.square().sum(1), mean_K.square().sum().item(), sd_K.square().sum().item()


@pytest.mark.parametrize(("small", "large"), [(1, 2), (2, 16), (5, 8)])
def test_gradient_noise_terms_are_unbiased(small, large):
    """Both terms are unbiased."""
    draws = 20_000
    small_squares, square, trace = drawn_squares(small, draws)
    large_squares, _, _ = drawn_squares(large, draws)
    found = two_batches(small_squares, small, large_squares, large)
    for values, expected in zip(found, (square, trace), strict=True):
        assert abs(values.mean() - expected) < 4 * values.std() / math.sqrt(draws)


def test_gradient_noise_scale_is_the_ratio_of_averages():
    """The scale is the ratio of averages."""
    scale = NoiseScale()
    assert scale.value is None
    scale.add(1.0, 9.0)
    assert scale.value == pytest.approx(9.0)
    for _ in range(500):
        scale.add(3.0, 3.0)
        scale.add(1.0, 9.0)
    assert scale.value == pytest.approx(3.0, rel=0.06)  # 6 / 2; the mean of the ratios is 5
    assert NoiseScale(1.0, -1.0).value is NoiseScale(-1.0, 1.0).value is None


@pytest.fixture
def state(tmp_path) -> TrainState:
    return built_state(prepared_config(tmp_path, runtime__instruments=True))


@pytest.mark.parametrize("micro_batch", [2, 3])
def test_gradient_noise_measures_the_first_part_by_itself(state, micro_batch):
    """The first part is measured by itself."""
    tokens_BT, targets_BT = (half[:micro_batch] for half in state.batch(0))
    gradients = torch.autograd.grad(state.model(tokens_BT, targets_BT), state.parameters)
    state.environment = replace(state.environment, micro_batch=micro_batch)
    reading = state.noise_probe()
    assert reading is not None
    with reading.gradients():
        accumulate_gradients(state.network, *state.batch(0), micro_batch, nullcontext)
    expected = sum(g.square().sum().item() for g in gradients)
    assert reading.small_square().item() == pytest.approx(expected, rel=1e-4)
    assert not any(p._backward_hooks for p in state.parameters)


def test_gradient_noise_update_ratio_equals_a_hand_computation(state):
    """The update ratio by hand."""
    before = [p.detach().clone() for p in state.parameters if p.ndim >= 2]
    step = begin_step(state).result()
    after = [p.detach() for p in state.parameters if p.ndim >= 2]
    update = sum((a - b).square().sum().item() for a, b in zip(after, before, strict=True))
    size = sum(b.square().sum().item() for b in before)
    assert step.instruments["update_ratio"] == pytest.approx(math.sqrt(update / size), rel=1e-5)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_gradient_noise_probe_only_looks_and_fills_logged_rows(tmp_path, optimizer):
    """They only look and stand in the rows that are logged."""
    config = prepared_config(tmp_path, 8, optimizer__name=optimizer, runtime__micro_batch=3)
    plain = train_once(config, tmp_path / "plain")
    runtime = replace(config.runtime, instruments=True, log_every_steps=2)
    seen = train_once(replace(config, runtime=runtime), tmp_path / "seen")
    assert seen.weights_digest == plain.weights_digest and seen.id == plain.id
    rows = read_metrics(tmp_path / "seen")
    assert [row["step"] for row in rows] == [2, 4, 6, 8]
    assert all(1e-5 < row["update_ratio"] < 1 for row in rows)
    assert all(row["noise_scale_tokens"] is None or row["noise_scale_tokens"] > 0 for row in rows)
    assert any(row["noise_scale_tokens"] for row in rows)
    assert all(row["peak_memory"] > 1e7 and row["mfu"] is None for row in rows)  # on a CPU
    assert "update_ratio" not in read_metrics(tmp_path / "plain")[0]


def test_gradient_noise_of_one_part_on_one_rank_is_unknown(tmp_path):
    """One part on one rank has no noise scale."""
    train_once(prepared_config(tmp_path, runtime__instruments=True), tmp_path / "trial")
    assert {row["noise_scale_tokens"] for row in read_metrics(tmp_path / "trial")} == {None}


def test_gradient_noise_of_a_resumed_run_keeps_its_averages(state):
    """A resumed run goes on with its averages."""
    state.noise = NoiseScale(2.0, 6.0)
    assert state.snapshot()["noise"] == {"square": 2.0, "trace": 6.0}


def test_gradient_noise_of_two_ranks_compares_each_with_the_whole(tmp_path, state):
    """Two ranks compare what each has with the whole."""
    squares = []
    for rank, world_size in ((0, 2), (1, 2), (0, 1)):
        batch = map(torch.from_numpy, state.data.loader.batch(0, 8, rank, world_size))
        gradients = torch.autograd.grad(state.model(*batch), state.parameters)
        squares.append(sum(g.square().sum().item() for g in gradients))
    square, trace = two_batches((squares[0] + squares[1]) / 2, 64, squares[2], 128)
    digests = []
    for instruments in (True, False):
        config = replace(
            state.config, runtime=replace(state.config.runtime, instruments=instruments)
        )
        attempt = claimed(tmp_path / f"instruments{instruments}")

        def body(ranks, config=config, attempt=attempt):
            return train(config, attempt, ranks, quiet=True).weights_digest

        digests += together(config, tmp_path, body)
    assert len(set(digests)) == 1
    first = read_metrics(tmp_path / "instrumentsTrue")[0]
    assert square > 0 and first["noise_scale_tokens"] == pytest.approx(trace / square, rel=1e-3)


@pytest.mark.slow
def test_gradient_noise_probe_is_invisible_to_the_compiler(tmp_path, monkeypatch):
    """The compiler does not see them.

    One graph serves steps with and without; hooks in it would break or recompile it.
    """
    monkeypatch.setattr("training.state.compiled", partial(compiled, backend="aot_eager"))
    config = prepared_config(tmp_path, 4, runtime__micro_batch=4, runtime__instruments=True)
    config = replace(config, runtime=replace(config.runtime, log_every_steps=2, compile=True))
    state = built_state(config)
    before = counters["stats"]["unique_graphs"]
    steps = [begin_step(state).result() for _ in range(4)]
    assert [bool(step.instruments) for step in steps] == [False, True, False, True]
    assert counters["stats"]["unique_graphs"] - before == 1
