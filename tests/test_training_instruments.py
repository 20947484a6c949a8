"""Noise scale and update ratio: what they should be, where they are, and that they only look."""

import math
from contextlib import nullcontext
from dataclasses import replace
from functools import partial

import pytest
import torch
from test_training_distributed import together
from tiny_training import alone, claimed, prepared_config, train_once
from torch._dynamo.utils import counters

from training.dataset import open_data
from training.hardware import decide
from training.instruments import NoiseScale, two_batches
from training.kernels import compiled
from training.loop import train
from training.metrics import read_metrics
from training.run import Run, build_run
from training.step import accumulate_gradients, train_step


def drawn_squares(n: int, draws: int) -> tuple[torch.Tensor, float, float]:
    """|g_n|^2 of `draws` gradients of known G and Sigma, then |G|^2 and tr(Sigma)."""
    generator = torch.Generator().manual_seed(n)
    mean_K = torch.tensor([0.3, -0.2, 0.1], dtype=torch.float64)
    sd_K = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    noise = torch.randn((draws, n, 3), generator=generator, dtype=torch.float64)
    gradients = (mean_K + sd_K * noise).mean(1)
    return gradients.square().sum(1), mean_K.square().sum().item(), sd_K.square().sum().item()


@pytest.mark.parametrize(("small", "large"), [(1, 2), (2, 16), (5, 8)])
def test_both_terms_are_unbiased(small, large):
    draws = 20_000
    small_squares, square, trace = drawn_squares(small, draws)
    large_squares, _, _ = drawn_squares(large, draws)
    found = two_batches(small_squares, small, large_squares, large)
    for values, expected in zip(found, (square, trace), strict=True):
        assert abs(values.mean() - expected) < 4 * values.std() / math.sqrt(draws)


def test_the_scale_is_the_ratio_of_averages():
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
def run(tmp_path) -> Run:
    config = prepared_config(tmp_path, runtime__instruments=True)
    return build_run(config, alone(), decide(config, alone(), None), open_data(config, alone()))


@pytest.mark.parametrize("micro_batch", [2, 3])
def test_the_first_part_is_measured_by_itself(run, micro_batch):
    tokens_BT, targets_BT = (half[:micro_batch] for half in run.batch(0))
    gradients = torch.autograd.grad(run.model(tokens_BT, targets_BT), run.parameters)
    run.environment = replace(run.environment, micro_batch=micro_batch)
    reading = run.reading()
    assert reading is not None
    with reading.gradients():
        accumulate_gradients(run.network, *run.batch(0), micro_batch, nullcontext)
    expected = sum(g.square().sum().item() for g in gradients)
    assert reading.small_square().item() == pytest.approx(expected, rel=1e-4)
    assert not any(p._backward_hooks for p in run.parameters)


def test_the_update_ratio_by_hand(run):
    before = [p.detach().clone() for p in run.parameters if p.ndim >= 2]
    step = train_step(run)
    after = [p.detach() for p in run.parameters if p.ndim >= 2]
    update = sum((a - b).square().sum().item() for a, b in zip(after, before, strict=True))
    size = sum(b.square().sum().item() for b in before)
    assert step.instruments["update_ratio"] == pytest.approx(math.sqrt(update / size), rel=1e-5)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_they_only_look_and_stand_in_the_rows_that_are_logged(tmp_path, optimizer):
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


def test_one_part_on_one_rank_has_no_noise_scale(tmp_path):
    train_once(prepared_config(tmp_path, runtime__instruments=True), tmp_path / "trial")
    assert {row["noise_scale_tokens"] for row in read_metrics(tmp_path / "trial")} == {None}


def test_a_resumed_run_goes_on_with_its_averages(run):
    run.noise = NoiseScale(2.0, 6.0)
    assert run.state()["noise"] == {"square": 2.0, "trace": 6.0}


def test_two_ranks_compare_what_each_has_with_the_whole(tmp_path, run):
    squares = []
    for rank, world_size in ((0, 2), (1, 2), (0, 1)):
        batch = map(torch.from_numpy, run.data.loader.batch(0, 8, rank, world_size))
        gradients = torch.autograd.grad(run.model(*batch), run.parameters)
        squares.append(sum(g.square().sum().item() for g in gradients))
    square, trace = two_batches((squares[0] + squares[1]) / 2, 64, squares[2], 128)
    digests = []
    for instruments in (True, False):
        config = replace(run.config, runtime=replace(run.config.runtime, instruments=instruments))
        attempt = claimed(tmp_path / f"instruments{instruments}")

        def body(ranks, config=config, attempt=attempt):
            return train(config, attempt, ranks, quiet=True).weights_digest

        digests += together(config, tmp_path, body)
    assert len(set(digests)) == 1
    first = read_metrics(tmp_path / "instrumentsTrue")[0]
    assert square > 0 and first["noise_scale_tokens"] == pytest.approx(trace / square, rel=1e-3)


def test_the_compiler_does_not_see_them(tmp_path, monkeypatch):
    """One graph serves steps with and without; hooks in it would break or recompile it."""
    monkeypatch.setattr("training.run.compiled", partial(compiled, backend="aot_eager"))
    config = prepared_config(tmp_path, 4, runtime__micro_batch=4, runtime__instruments=True)
    config = replace(config, runtime=replace(config.runtime, log_every_steps=2, compile=True))
    run = build_run(config, alone(), decide(config, alone(), None), open_data(config, alone()))
    before = counters["stats"]["unique_graphs"]
    steps = [train_step(run) for _ in range(4)]
    assert [bool(step.instruments) for step in steps] == [False, True, False, True]
    assert counters["stats"]["unique_graphs"] - before == 1
