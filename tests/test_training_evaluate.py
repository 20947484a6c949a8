"""The held-out loss: the plain mean over a fixed set, whoever computes which part."""

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

import training.evaluate
from data.manifest import read_manifest
from data.prepare import prepare
from data.shards import open_split
from model.gpt import GPT
from tests.support.tiny_training import alone, prepared_config, tiny_config
from training.dataset import open_data
from training.device.backends import compiled
from training.evaluate import by_distance, evaluate


@pytest.fixture
def model(tmp_path) -> GPT:
    return GPT(tiny_config(tmp_path).model, torch.Generator().manual_seed(0))


@pytest.fixture
def windows() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (37, 17))


def test_evaluate_is_the_mean_over_all_positions(model, windows):
    """It is the mean over all positions."""
    tokens = torch.from_numpy(windows)
    with torch.no_grad():
        expected = model(tokens[:, :-1], tokens[:, 1:]).item()
    assert evaluate(model, windows, alone(), nullcontext) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("tokens_per_chunk", [16, 80, 160, 16 * 37])
def test_evaluate_does_not_depend_on_the_cut_into_chunks(
    model, windows, monkeypatch, tokens_per_chunk
):
    """The cut into chunks does not show."""
    whole = evaluate(model, windows, alone(), nullcontext)
    monkeypatch.setattr(training.evaluate, "safe_micro_batch_tokens", lambda *_: tokens_per_chunk)
    assert evaluate(model, windows, alone(), nullcontext) == pytest.approx(whole, abs=1e-6)


@pytest.mark.parametrize("world_size", [2, 3, 5])
def test_evaluate_by_ranks_that_do_not_divide_the_set(model, windows, monkeypatch, world_size):
    """Ranks share a set that they do not divide.

    Each rank's sum by itself; together they are the value of one rank.
    """
    monkeypatch.setattr(training.evaluate, "safe_micro_batch_tokens", lambda *_: 32)
    whole = evaluate(model, windows, alone(), nullcontext)
    parts = []
    for rank in range(world_size):
        ranks = replace(alone(), rank=rank, world_size=world_size)
        monkeypatch.setattr(type(ranks), "sum", lambda self, *values: list(values))
        parts.append(evaluate(model, windows, ranks, nullcontext))
    assert sum(parts) == pytest.approx(whole, abs=1e-12)


def test_evaluate_draws_nothing_and_leaves_training_mode_on(model, windows):
    """It draws nothing and leaves training mode on."""
    before = torch.get_rng_state()
    evaluate(model, windows, alone(), nullcontext)
    assert torch.equal(before, torch.get_rng_state())
    assert model.training and all(p.grad is None for p in model.parameters())


def test_evaluate_takes_held_out_windows_of_the_validation_split(tmp_path):
    """The held out windows are of the validation split."""
    config = prepared_config(tmp_path)
    data = open_data(config, alone())
    folder = prepare(config.data, tmp_path / "shards")
    split = open_split(folder, read_manifest(folder), "val")
    text = np.concatenate([shard.read(0, shard.n_tokens) for shard in split.shards]).tobytes()
    assert data.windows.shape == (37, 17)
    assert all(window.astype(np.uint16).tobytes() in text for window in data.windows)


@pytest.mark.parametrize(("k", "graphs"), [(36, 1), (37, 2)])
def test_evaluate_compiled_is_the_same_with_few_chunk_sizes(model, windows, monkeypatch, k, graphs):
    """Compiled it is the same and few sizes of chunk are compiled.

    Of at most 7 windows: 36 are cut into 6 times 6, 37 into 5 times 7 and the rest.
    """
    monkeypatch.setattr(training.evaluate, "safe_micro_batch_tokens", lambda *_: 7 * 16)
    expected = evaluate(model, windows[:k], alone(), nullcontext)
    counter = CompileCounterWithBackend("eager")
    network = compiled(model, k, backend=counter)
    for _ in range(2):
        found = evaluate(model, windows[:k], alone(), nullcontext, network)
        assert found == pytest.approx(expected, abs=1e-6)
    assert counter.frame_count == graphs


def test_evaluate_by_position_has_the_same_mean_to_the_bit(model, windows, monkeypatch):
    """Each position's loss by hand; their mean is the loss; the loss is that of no such request."""
    monkeypatch.setattr(training.evaluate, "safe_micro_batch_tokens", lambda *_: 80)
    losses_T = torch.zeros(16, dtype=torch.float64)
    found = evaluate(model, windows, alone(), nullcontext, losses_T=losses_T)
    assert found == evaluate(model, windows, alone(), nullcontext)
    assert losses_T.mean().item() == pytest.approx(found, rel=1e-7)
    tokens = torch.from_numpy(windows)
    with torch.no_grad():
        log_p_BTV = model(tokens[:, :-1])[..., :256].log_softmax(-1)
        expected_T = -log_p_BTV.gather(-1, tokens[:, 1:, None])[..., 0].double().mean(0)
    torch.testing.assert_close(losses_T, expected_T, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("positions", [1, 2, 7, 16, 1000, 1024])
def test_evaluate_by_distance_leaves_no_position_out(positions):
    """Ranges follow each other up to the last position; weighted by length they have the mean."""
    losses_T = torch.arange(positions, dtype=torch.float64) ** 0.5
    found = by_distance(losses_T)
    lasts = [last for last, _ in found]
    assert (
        lasts == sorted(set(lasts))
        and lasts[-1] == positions
        and lasts[:3] == [1, 2, 3][: min(3, positions)]
    )
    lengths = np.diff([0, *lasts])
    assert max(lengths[3:] / lasts[3:], default=0) <= 0.5
    mean = np.dot(lengths, [loss for _, loss in found]) / positions
    assert mean == pytest.approx(losses_T.mean().item())
