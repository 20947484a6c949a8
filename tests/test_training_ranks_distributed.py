"""Ranks: they agree, fail together, wait for a limited time, and do not change the science."""

import math
import os
import signal
import weakref
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from common.errors import BadInput, StopRequested
from data.loader import Loader
from model.gpt import GPT
from tests.support.kill_harness import Child, fork_ranks, free_port
from tests.support.tiny_training import (
    claimed,
    joined_ranks,
    prepared_config,
    tiny_config,
    together,
    train_once,
)
from training.config import TrainConfig
from training.loop import train, train_and_publish
from training.ranks import distributed
from training.ranks.distributed import Ranks, joined
from training.state import TrainState
from training.trial.attempt import Attempt
from training.trial.metrics import read_metrics
from training.trial.record import publish, read_record
from training.whole_trial import train_in

GPT_FORWARD = GPT.forward


def refuse(text: str) -> None:
    raise BadInput(text)


def training_ranks(config: TrainConfig, attempt: Attempt, folder: Path) -> list[Child]:
    """Two forked ranks that train and publish nothing."""
    return joined_ranks(config, folder, lambda ranks: train(config, attempt, ranks, quiet=True))


def test_distributed_sums_and_messages_reach_every_rank(tmp_path):
    """Sums and messages reach every rank."""

    def body(ranks: Ranks) -> object:
        big = 2.0**53
        return [
            ranks.sum(ranks.rank + 1, 1 / 3, big),
            ranks.broadcast_from_rank0(lambda: {"from": ranks.rank, "text": "ä\n"}),
            ranks.broadcast_from_rank0(lambda: None),
        ]

    expected = [[6.0, 1.0, 3 * 2.0**53], {"from": 0, "text": "ä\n"}, None]
    answers = together(tiny_config(tmp_path), tmp_path, body, n=3)
    assert answers == [expected] * 3


@pytest.mark.parametrize("guilty", [0, 1])
def test_distributed_bad_input_on_one_rank_is_bad_input_on_all(tmp_path, guilty):
    """Bad input on one rank is bad input on all."""

    def body(ranks: Ranks) -> None:
        ranks.on_all_ranks(lambda: ranks.rank == guilty and refuse("shard 7: found nothing"))

    text = "shard 7: found nothing" if guilty == 0 else "rank 1: shard 7: found nothing"
    assert together(tiny_config(tmp_path), tmp_path, body) == [f"BadInput: {text}"] * 2


def test_distributed_bad_input_of_rank_0_alone_leaves_no_rank_waiting(tmp_path):
    """Bad input of rank 0 alone does not leave the others waiting."""

    def body(ranks: Ranks) -> None:
        ranks.broadcast_from_rank0(lambda: refuse("out: a file"))

    assert together(tiny_config(tmp_path), tmp_path, body) == ["BadInput: out: a file"] * 2


def test_distributed_ranks_with_another_config_are_refused(tmp_path):
    """Ranks with another config are refused."""

    def body(ranks: Ranks) -> None:
        ranks.require_same("the config of the ranks", f"digest{ranks.rank}")

    text = "rank 1: the config of the ranks: found digest1, expected digest0 as on rank 0"
    assert together(tiny_config(tmp_path), tmp_path, body) == [f"BadInput: {text}"] * 2


def test_distributed_batch_that_ranks_cannot_share_is_refused_by_all(tmp_path):
    """A batch that ranks cannot share is refused by all."""
    config = prepared_config(tmp_path)
    attempt = claimed(tmp_path / "trial")
    answers = together(config, tmp_path, lambda ranks: str(train(config, attempt, ranks)), n=3)
    assert set(answers) == {
        "BadInput: schedule.batch_tokens: found 8 sequences of 16 tokens a step, expected a "
        "multiple of the 3 ranks"
    }


def train_on_two(config, trial: Path, folder: Path) -> Attempt:
    attempt = claimed(trial)

    def body(ranks: Ranks) -> object:
        record = train(config, attempt, ranks, quiet=True)
        if ranks.is_main:
            publish(attempt, record)
        return [record.status, record.reason]

    first, second = together(config, folder, body)
    assert first == second
    return attempt


def test_distributed_held_out_loss_is_the_same_on_two_ranks(tmp_path):
    """The held out loss is the same on two ranks.

    At the first step, where both have the same weights to the bit.
    """
    config = prepared_config(tmp_path, 1, optimizer__lr=1e-12)
    one = train_once(config, tmp_path / "one")
    train_on_two(config, tmp_path / "two", tmp_path)
    two = read_record(tmp_path / "two")
    assert two is not None and two.loss == pytest.approx(one.loss, abs=1e-6)


@pytest.fixture(params=[False, True], ids=["at once", "behind"])
def behind(request, monkeypatch):
    """Whether steps are told of when the next is under way, as on a GPU."""
    monkeypatch.setattr(TrainState, "is_async", request.param)


@pytest.mark.parametrize("guilty", [0, 1])
def test_distributed_nan_on_one_rank_stops_all_within_the_step(
    tmp_path, monkeypatch, guilty, behind
):
    """A nan on one rank stops all within the step."""
    forward = GPT.forward
    calls = 0

    def poisoned(self, tokens_BT, targets_BT=None):
        nonlocal calls
        calls += 1
        here = calls == 3 and os.environ["RANK"] == str(guilty)
        return forward(self, tokens_BT, targets_BT) * (math.nan if here else 1.0)

    monkeypatch.setattr(GPT, "forward", poisoned)
    train_on_two(prepared_config(tmp_path), tmp_path / "trial", tmp_path)
    record = read_record(tmp_path / "trial")
    assert record is not None and record.status == "diverged"
    assert "at step 3" in str(record.reason) and record.steps == 2


def test_distributed_out_of_memory_on_one_rank_is_recorded_and_ends_all(tmp_path, monkeypatch):
    """Memory that ends on one rank alone is recorded by it and ends all."""

    def forward(self, tokens_BT, targets_BT=None):
        if os.environ["RANK"] == "1":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return GPT_FORWARD(self, tokens_BT, targets_BT)

    monkeypatch.setattr(GPT, "forward", forward)
    config = prepared_config(tmp_path)
    attempt = claimed(tmp_path / "trial")
    children = joined_ranks(
        config, tmp_path, lambda ranks: train_and_publish(config, attempt, ranks, quiet=True)
    )
    assert [child.wait(300) for child in children] == [1, 1]
    assert "RuntimeError: out of memory: rank 1, step 1" in children[1].log.read_text()
    record = read_record(attempt.trial)
    assert record is not None and record.status == "oom"


@pytest.mark.parametrize(
    ("guilty", "said"), [(0, "BadInput: shard 7"), (1, "RuntimeError: rank 1: shard 7")]
)
def test_distributed_bad_input_met_in_training_is_told_by_its_rank(
    tmp_path, monkeypatch, guilty, said
):
    """Bad input met by one rank while it trains is told by it."""
    batch_windows, calls = Loader.batch_windows, 0

    def truncated(self, *arguments):
        nonlocal calls
        calls += 1
        if calls >= 3 and os.environ["RANK"] == str(guilty):
            raise BadInput("shard 7")
        return batch_windows(self, *arguments)

    monkeypatch.setattr(Loader, "batch_windows", truncated)
    config = prepared_config(tmp_path)
    attempt = claimed(tmp_path / "trial")
    children = training_ranks(config, attempt, tmp_path)
    assert [child.wait(300) for child in children] == [1, 1]
    assert said in children[guilty].log.read_text().splitlines()[-1]


def test_distributed_rank_that_does_not_see_the_folder_trains_all_the_same(tmp_path):
    """A node need not share the folder of a new run: rank 0 alone reads and writes there."""
    config = prepared_config(tmp_path)

    def body(ranks: Ranks) -> object:
        out = tmp_path / "trial" if ranks.is_main else tmp_path / "elsewhere" / "trial"
        return train_in(config, out, ranks).status

    assert together(config, tmp_path, body) == ["done", "done"]
    assert not (tmp_path / "elsewhere").exists()


def test_distributed_two_ranks_killed_and_continued_end_in_the_same_bits(tmp_path, monkeypatch):
    """Two ranks killed and continued end in the same bits."""
    config = prepared_config(tmp_path)
    train_on_two(config, tmp_path / "whole", tmp_path)
    trial = tmp_path / "trial"
    attempt = claimed(trial)
    children = training_ranks(config, attempt, tmp_path)
    children[0].until(lambda: len(read_metrics(trial)) >= 3)
    children[1].kill()
    assert children[1].wait() == -9
    children[0].kill()
    children[0].wait()
    attempt.release()
    train_on_two(config, trial, tmp_path)
    whole, record = read_record(tmp_path / "whole"), read_record(trial)
    assert whole is not None and record is not None
    assert record.attempts == 2 and record.bitwise
    assert record.weights_digest == whole.weights_digest


def test_distributed_signal_to_one_rank_stops_all_at_the_same_step(tmp_path, behind):
    """A signal to one rank stops all at the same step."""
    config = prepared_config(tmp_path, 4000, runtime__checkpoint_every_s=0.1)
    attempt = claimed(tmp_path / "trial")
    children = training_ranks(config, attempt, tmp_path)
    children[0].until(lambda: read_metrics(attempt.trial))
    children[1].kill(signal.SIGTERM)
    assert [child.wait(300) for child in children] == [1, 1]
    texts = [child.log.read_text().strip().splitlines()[-1] for child in children]
    assert texts[0] == texts[1] and "StopRequested: after step" in texts[0]
    saved = max(path.name for path in attempt.checkpoints.iterdir())
    assert f"step {int(saved[5:])} of" in texts[0]
    rows = read_metrics(attempt.trial)
    assert [row["step"] for row in rows] == list(range(1, int(saved[5:]) + 1))


@pytest.mark.parametrize("error", [BadInput, StopRequested])
@pytest.mark.parametrize("first", ["both", "rank 0 alone"])
def test_distributed_ranks_that_end_by_agreement_may_join_again(tmp_path, error, first):
    """Ranks that end by agreement, or that lose their trial to another owner, leave no group.

    A process that serves takes its next task; and at the end of the process a thread of the group
    aborted it now and then.
    """
    ports = free_port(), free_port()
    gone: list[weakref.ref] = []

    def rank() -> int:
        for task, port in enumerate(ports):
            os.environ["MASTER_PORT"] = str(port)
            with suppress(error), joined(tiny_config(tmp_path).runtime) as ranks:
                assert ranks.sum(1.0) == [2.0]
                if task == 0 and (first == "both" or ranks.is_main):
                    raise error("the end")
            assert not torch.distributed.is_initialized()
            # Its end waits for its thread, and that for the interpreter's lock: it ends later.
            assert len(distributed._left) == 2 and all(distributed._left)
            gone.append(weakref.ref(distributed._left[0]))
        del ranks
        assert gone[0]() is None and gone[1]() is not None  # no more than one is kept
        return 0

    assert [child.wait() for child in fork_ranks(rank, 2, tmp_path)] == [0, 0]


def test_distributed_threads_and_device_are_the_process_s_own(tmp_path):
    """Threads and device are this process own."""
    with joined(tiny_config(tmp_path).runtime) as ranks:
        assert ranks == Ranks(0, 1, 1, torch.device("cpu"), 60)


def test_distributed_mps_is_refused_where_torch_has_none_and_for_several_ranks(
    tmp_path, monkeypatch
):
    """An Apple machine's GPU is one rank's, and where there is none that is one line."""
    runtime = replace(tiny_config(tmp_path).runtime, device="mps")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(BadInput, match="^runtime.device: found mps, which torch has not here"):
        joined(runtime).__enter__()
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    with joined(runtime) as ranks:
        assert (ranks.device.type, ranks.kind) == ("mps", "cpu")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(BadInput, match="^runtime.device: found mps for 2 ranks"):
        joined(runtime).__enter__()
