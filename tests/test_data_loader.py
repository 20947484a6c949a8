"""Each window once an epoch, from seed and step alone, whatever the ranks and wherever resumed."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import BadInput
from data.loader import Loader, evaluation_windows, require_epochs, shuffle
from data.prepare.shard_writer import ShardWriter
from data.shards import Split, open_shard

T = 8


@pytest.fixture
def split(tmp_path: Path) -> Split:
    """Three shards of 100, 57 and 9 tokens, every id of which says where it stands."""
    shards, start = [], 0
    for name, count in (("a", 100), ("b", 57), ("c", 9)):
        (tmp_path / name).mkdir()
        writer = ShardWriter(tmp_path / name, "train")
        writer.write(np.arange(start, start + count, dtype=np.uint16))
        [entry] = writer.close()
        shards.append(open_shard(tmp_path / name / entry.name))
        start += count
    return Split("train", tuple(shards))


# Where the windows of `split` start: (n - 1) // T of each shard, none across two of them.
STARTS = [*range(0, 96, T), *range(100, 156, T), 157]


def steps(loader: Loader, first: int, last: int, batch: int) -> np.ndarray:
    return np.concatenate([loader.batch(step, batch)[0] for step in range(first, last)])


@given(n=st.integers(1, 3000), seed=st.integers(0, 2**63), epoch=st.integers(0, 100))
def test_shuffle_is_a_permutation(n: int, seed: int, epoch: int) -> None:
    """The order is a permutation."""
    assert sorted(shuffle(np.arange(n), n, seed, epoch)) == list(range(n))


@settings(max_examples=20)
@given(n=st.integers(2**31, 2**50), seed=st.integers(0, 100))
def test_shuffle_finds_any_position_of_a_huge_order_at_once(n: int, seed: int) -> None:
    positions = np.unique(np.linspace(0, n - 1, 1000, dtype=np.int64))
    places = shuffle(positions, n, seed, 0)
    assert len(set(places)) == len(positions)
    assert places.min() >= 0 and places.max() < n
    np.testing.assert_array_equal(shuffle(positions[500:501], n, seed, 0), places[500:501])


def test_shuffle_differs_by_seed_and_epoch() -> None:
    """The order differs by seed and epoch."""
    n = 1000
    orders = [shuffle(np.arange(n), n, seed, epoch) for seed in range(3) for epoch in range(3)]
    for index, order in enumerate(orders):
        for other in (np.arange(n), *orders[:index]):
            assert (order == other).mean() < 0.02


def test_shuffle_looks_random() -> None:
    n = 100_000
    order = shuffle(np.arange(n), n, 0, 0)
    # Uniform 100 x 100 cells of position and place hold 10 each: chi-square within 5 sigma.
    cells = np.bincount(np.arange(n) // 1000 * 100 + order // 1000, minlength=10_000)
    chi_square = ((cells - 10) ** 2 / 10).sum()
    assert abs(chi_square - 99**2) < 5 * np.sqrt(2 * 99**2)
    assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 0.02


def test_batch_sees_every_window_once_an_epoch(split: Split) -> None:
    """An epoch sees every window once."""
    loader = Loader(split, T, seed=0)
    assert loader.windows == len(STARTS) == 20
    assert loader.tokens_per_epoch == 160
    for epoch in range(3):
        tokens_BT = steps(loader, 5 * epoch, 5 * epoch + 5, batch=4)
        assert sorted(tokens_BT[:, 0]) == STARTS
        np.testing.assert_array_equal(tokens_BT - tokens_BT[:, :1], np.tile(np.arange(T), (20, 1)))


def test_batch_targets_are_the_next_tokens(split: Split) -> None:
    tokens_BT, targets_BT = Loader(split, T, seed=0).batch(0, 20)
    assert tokens_BT.dtype == targets_BT.dtype == np.int64
    np.testing.assert_array_equal(targets_BT, tokens_BT + 1)


@pytest.mark.parametrize("batch", [1, 3, 7, 19, 45])
def test_batch_order_does_not_depend_on_its_size(split: Split, batch: int) -> None:
    loader = Loader(split, T, seed=1)
    count = 60 // batch * batch
    np.testing.assert_array_equal(
        steps(loader, 0, 60 // batch, batch), steps(loader, 0, 60, 1)[:count]
    )


@pytest.mark.parametrize("world_size", [1, 2, 3, 4, 6, 12])
def test_batch_is_the_same_for_any_world_size(split: Split, world_size: int) -> None:
    """Any world size sees the same batch."""
    loader = Loader(split, T, seed=0)
    for step in range(4):  # 12 a step: an epoch of 20 ends inside the second
        whole = loader.batch(step, 12)
        parts = [loader.batch(step, 12, rank, world_size) for rank in range(world_size)]
        for index in range(2):
            joined = np.concatenate([part[index] for part in parts])
            np.testing.assert_array_equal(joined, whole[index])


def test_unique_tokens_are_some_windows_seen_again_and_again(split: Split) -> None:
    """Whole windows, the same for every seed, those of fewer tokens among those of more."""
    seen = {}
    for unique in (24, 64):
        loader = Loader(split, T, seed=0, unique_tokens=unique)
        assert loader.windows == unique // T and loader.tokens_per_epoch == unique
        epochs = [steps(loader, e, e + 1, batch=loader.windows)[:, 0] for e in range(4)]
        assert len({tuple(sorted(one)) for one in epochs}) == 1
        assert len({tuple(one) for one in epochs}) > 1  # each epoch has an order of its own
        other = Loader(split, T, seed=7, unique_tokens=unique)
        assert sorted(steps(other, 0, 1, batch=other.windows)[:, 0]) == sorted(epochs[0])
        seen[unique] = set(epochs[0])
    assert seen[24] < seen[64] < set(STARTS)
    assert seen[64] != set(STARTS[:8])
    everything = Loader(split, T, seed=0, unique_tokens=10**9)
    np.testing.assert_array_equal(
        steps(everything, 0, 9, 4), steps(Loader(split, T, seed=0), 0, 9, 4)
    )


def test_batch_that_ranks_cannot_share_is_refused(split: Split) -> None:
    with pytest.raises(BadInput, match="found 8 sequences a step, expected a multiple of the 3"):
        Loader(split, T, seed=0).batch(0, 8, rank=0, world_size=3)


def test_batch_is_a_function_of_the_step(split: Split) -> None:
    """A resumed run sees what a continuous one does."""
    continuous = steps(Loader(split, T, seed=5), 0, 30, 4)
    for stop in (1, 7, 29):
        resumed = steps(Loader(split, T, seed=5), stop, 30, 4)
        np.testing.assert_array_equal(resumed, continuous[4 * stop :])


def test_batch_order_differs_by_seed(split: Split) -> None:
    assert not np.array_equal(
        steps(Loader(split, T, seed=0), 0, 5, 4), steps(Loader(split, T, seed=1), 0, 5, 4)
    )


def test_batch_order_is_pinned() -> None:
    # Another order would make stored runs unrepeatable: then the digests of trials must change.
    assert shuffle(np.arange(10), 10, seed=0, epoch=0).tolist() == [0, 4, 7, 6, 8, 1, 3, 2, 9, 5]


def test_evaluation_windows_are_evenly_spaced(split: Split) -> None:
    windows = evaluation_windows(split, T, n_tokens=5 * T + 3)
    assert windows.shape == (5, T + 1)
    assert windows[:, 0].tolist() == STARTS[::4]
    assert evaluation_windows(split, T, n_tokens=160)[:, 0].tolist() == STARTS


def test_evaluation_windows_may_be_the_first(split: Split) -> None:
    windows = evaluation_windows(split, T, n_tokens=5 * T + 3, windows="first")
    assert windows[:, 0].tolist() == STARTS[:5]


@pytest.mark.parametrize("n_tokens", [161 + T, T - 1])
def test_evaluation_windows_refuse_what_the_split_lacks(split: Split, n_tokens: int) -> None:
    """A held out set that is not there is refused."""
    with pytest.raises(BadInput, match=f"evaluation.tokens: found {n_tokens}, .* 8 .* 160"):
        evaluation_windows(split, T, n_tokens)


def test_require_epochs_refuses_more_than_allowed() -> None:
    assert require_epochs(150, 100, max_epochs=1.5) == 1.5
    with pytest.raises(BadInput) as refusal:
        require_epochs(250, 100, max_epochs=1)
    for part in ("schedule.tokens", "found 250", "2.50 epochs", "100 ", "data.max_epochs 1"):
        assert part in str(refusal.value)


def test_loader_imports_nothing_heavy() -> None:
    heavy = "{'torch', 'transformers', 'datasets', 'pyarrow', 'pandas', 'wandb', 'tiktoken'}"
    code = f"import sys, data.loader, data.prepare; print({heavy} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "set()\n"
