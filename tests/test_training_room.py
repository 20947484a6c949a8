"""Passes found by trial: the largest that every rank has room for, and nothing else is changed."""

import json
import os
from collections.abc import Callable

import pytest
import torch
from test_training_distributed import together
from tiny_training import alone, claimed, joined_ranks, prepared_config, tiny_config, train_once

from model.gpt import GPT
from train import train_in
from training.dataset import open_data
from training.distributed import Ranks
from training.hardware import decide
from training.loop import train
from training.measure import measure
from training.memory import state_bytes, too_large
from training.record import read_record
from training.room import sequences_that_fit
from training.run import Run, build_run
from training.step import accumulate_gradients

FORWARD = GPT.forward


def cramped(most: Callable[[], int], tried: list[int]) -> Callable[..., torch.Tensor]:
    """GPT.forward where there is memory for so many sequences."""

    def forward(self, tokens_BT, targets_BT=None):
        tried.append(len(tokens_BT))
        if torch.is_grad_enabled() and len(tokens_BT) > most():
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.")
        return FORWARD(self, tokens_BT, targets_BT)

    return forward


def built(config, ranks: Ranks) -> Run:
    return build_run(config, ranks, decide(config, ranks, None), open_data(config, ranks))


def fitting(run: Run, first: int = 8) -> int:
    return sequences_that_fit(run.network, run.config, run.ranks, run.autocast, first, "plain")


@pytest.mark.parametrize(
    ("most", "expected", "sizes"),
    [(8, 8, [8]), (7, 4, [8, 4]), (3, 2, [8, 4, 2]), (1, 1, [8, 4, 2, 1])],
)
def test_passes_are_halved_until_one_fits(tmp_path, monkeypatch, most, expected, sizes):
    tried: list[int] = []
    monkeypatch.setattr(GPT, "forward", cramped(lambda: most, tried))
    assert fitting(built(prepared_config(tmp_path), alone())) == expected
    assert tried == sizes


def test_a_share_that_is_odd_is_cut_into_equal_passes(tmp_path, monkeypatch):
    tried: list[int] = []
    monkeypatch.setattr(GPT, "forward", cramped(lambda: 4, tried))
    config = prepared_config(tmp_path, schedule__batch_tokens=16 * 9, schedule__tokens=16 * 9 * 6)
    assert fitting(built(config, alone()), first=9) == 3


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_trial_leaves_weights_gradients_and_random_state_alone(tmp_path, monkeypatch, precision):
    run = built(prepared_config(tmp_path, precision=precision), alone())
    weights, random = [p.detach().clone() for p in run.parameters], torch.get_rng_state()
    monkeypatch.setattr(GPT, "forward", cramped(lambda: 2, []))
    fitting(run)
    assert all(torch.equal(a, b) for a, b in zip(weights, run.parameters, strict=True))
    assert all(parameter.grad is None for parameter in run.parameters)
    assert torch.equal(torch.get_rng_state(), random)


def test_a_model_of_which_nothing_fits_is_told_what_would(tmp_path, monkeypatch):
    monkeypatch.setattr(GPT, "forward", cramped(lambda: 0, []))
    with pytest.raises(torch.OutOfMemoryError) as caught:
        fitting(built(prepared_config(tmp_path), alone()))
    assert str(caught.value) == (
        "one sequence of 16 tokens does not fit beside 0.0 GB of weights, gradients and moments; "
        "try runtime.loss_head=chunked, a smaller model.block_size or model, or a device with "
        "more memory (more ranks do not help)"
    )
    assert "in 8.6 GB beside" in (text := too_large(tiny_config(tmp_path), "chunked", 2**33))
    assert "loss_head" not in text


def test_another_error_is_not_taken_for_lack_of_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(GPT, "forward", lambda *_: torch.zeros(2) @ torch.zeros(3))
    with pytest.raises(RuntimeError, match="inconsistent tensor size"):
        fitting(built(prepared_config(tmp_path), alone()))


def test_room_is_kept_for_what_the_first_step_allocates(tmp_path, monkeypatch):
    """On a machine that has all that is tried for, but no moments."""
    run = built(prepared_config(tmp_path), alone())
    later = state_bytes(run.config) - 4 * sum(p.numel() for p in run.parameters)
    empty, asked = torch.empty, []

    def limited(*size, **options):
        if options.get("dtype") is torch.uint8:
            asked.append(size)
            raise torch.OutOfMemoryError("no room")
        return empty(*size, **options)

    monkeypatch.setattr("training.room.torch.empty", limited)
    with pytest.raises(torch.OutOfMemoryError, match="one sequence"):
        fitting(run)
    assert asked == [(later,)] * 4


def test_ranks_agree_on_what_fits_all_of_them_and_then_train_as_if_nothing_had_been(
    tmp_path, monkeypatch
):
    config = prepared_config(tmp_path)

    def gradient(ranks: Ranks, tries: bool) -> tuple[int, list[float]]:
        run = built(config, ranks)
        tried: list[int] = []
        size = 4
        if tries:
            with monkeypatch.context() as patch:
                most = 1 if ranks.rank == 1 else 100
                patch.setattr(GPT, "forward", cramped(lambda: most, tried))
                size = fitting(run, first=4)
            assert tried == [4, 2, 1]
        accumulate_gradients(run.network, *run.batch(0), 1, run.autocast)
        return size, [p.grad.double().sum().item() for p in run.parameters]

    def body(ranks: Ranks) -> object:
        return [gradient(ranks, tries) for tries in (False, True)]

    [[(_, calm), (size, found)], other] = together(config, tmp_path, body)
    assert size == other[1][0] == 1
    assert found == calm == other[1][1]


def test_ranks_with_passes_of_two_sizes_give_up_together(tmp_path, monkeypatch):
    """As GPUs of two sizes have: the one at a single sequence has room, the other has not."""
    config = prepared_config(tmp_path, runtime__timeout_s=5)

    def body(ranks: Ranks) -> object:
        monkeypatch.setattr(GPT, "forward", cramped(lambda: 1 - ranks.rank, []))
        with pytest.raises(torch.OutOfMemoryError, match="one sequence"):
            fitting(built(config, ranks), first=1 + ranks.rank)
        return None

    together(config, tmp_path, body)


def test_ranks_that_ran_out_of_memory_go_on_with_half_when_started_again(tmp_path, monkeypatch):
    """They end, since they would have to agree on it; the same command shall not end so again."""
    config, out = prepared_config(tmp_path, 2), tmp_path / "out"
    monkeypatch.setattr(GPT, "forward", cramped(lambda: 2, []))
    for statuses, status, passes in (([1, 1], "oom", 4), ([0, 0], "done", 2)):
        children = joined_ranks(config, tmp_path, lambda ranks: train_in(config, out, ranks))
        assert [child.wait() for child in children] == statuses
        record = read_record(out)
        assert record is not None and record.status == status
        environment = out / f"attempt-{record.attempts:03d}/runtime.json"
        assert json.loads(environment.read_text())["micro_batch"] == passes


def test_what_fits_is_recorded_and_not_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr("training.room.TRIED_ON", ("cpu",))
    tried: list[int] = []
    monkeypatch.setattr(GPT, "forward", cramped(lambda: 2, tried))
    config = prepared_config(tmp_path, 1)
    attempt = claimed(tmp_path / "trial")
    record = train(config, attempt, alone(), quiet=True)
    assert record.status == "done" and record.first_step_s is not None
    assert json.loads((attempt.folder / "runtime.json").read_text())["micro_batch"] == 2
    assert tried[:7] == [8, 4, 2, 2, 2, 2, 2]  # the trial, and the four passes of the step
    assert "2 sequences a pass fit, of 8 estimated" in (attempt.folder / "log.txt").read_text()
    attempt.release()
    tried.clear()
    train(config, claimed(tmp_path / "trial"), alone(), quiet=True)
    assert 4 not in tried


def test_passes_that_are_fixed_are_measured_as_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr("training.room.TRIED_ON", ("cpu",))
    monkeypatch.setattr("training.measure.MEASURE_S", 0.01)
    config = prepared_config(tmp_path, runtime__micro_batch=4)
    assert "4 sequences" in measure(config, alone())
    monkeypatch.setattr(GPT, "forward", cramped(lambda: 3, []))
    with pytest.raises(torch.OutOfMemoryError):
        measure(config, alone())


def test_a_trial_of_which_nothing_fits_ends_with_a_record(tmp_path, monkeypatch):
    monkeypatch.setattr("training.room.TRIED_ON", ("cpu",))
    monkeypatch.setattr(GPT, "forward", cramped(lambda: 0, []))
    record = train_once(prepared_config(tmp_path), tmp_path / "trial")
    assert record.status == "oom" and record.reason is not None
    assert record.reason.startswith("one sequence of 16 tokens does not fit beside")


def test_ranks_of_which_one_is_short_of_memory_train_to_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr("training.room.TRIED_ON", ("cpu",))
    short = cramped(lambda: 1 if os.environ["RANK"] == "1" else 100, [])
    monkeypatch.setattr(GPT, "forward", short)
    config = prepared_config(tmp_path, 2)
    attempt = claimed(tmp_path / "trial")

    def body(ranks: Ranks) -> object:
        return train(config, attempt, ranks, quiet=True).status

    assert together(config, tmp_path, body) == ["done", "done"]
    assert json.loads((attempt.folder / "runtime.json").read_text())["micro_batch"] == 1
