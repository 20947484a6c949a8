"""Passes found by trial: the largest that every rank has room for, and nothing else is changed."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from test_training_ranks_distributed import together
from torch._dynamo.exc import BackendCompilerFailed
from torch._dynamo.testing import CompileCounterWithBackend

from model.gpt import GPT
from tests.support.tiny_training import (
    alone,
    claimed,
    joined_ranks,
    prepared_config,
    tiny_config,
    train_once,
)
from training.dataset import open_data
from training.device.backends import compiled
from training.device.memory import state_bytes, too_large
from training.device.micro_batch import autotune, size_that_fits
from training.environment import decide
from training.loop import train
from training.ranks.distributed import Ranks
from training.state import TrainState, build_state
from training.step import accumulate_gradients, begin_step
from training.throughput import measure
from training.trial.record import read_record
from training.whole_trial import train_in

FORWARD = GPT.forward


def cramped(most: Callable[[], int], tried: list[int]) -> Callable[..., torch.Tensor]:
    """GPT.forward where there is memory for so many sequences."""

    def forward(self, tokens_BT, targets_BT=None):
        tried.append(len(tokens_BT))
        if torch.is_grad_enabled() and len(tokens_BT) > most():
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.")
        return FORWARD(self, tokens_BT, targets_BT)

    return forward


def built(config, ranks: Ranks) -> TrainState:
    return build_state(config, ranks, decide(config, ranks, None), open_data(config, ranks))


def fitting(state: TrainState, first: int = 8) -> int:
    return size_that_fits(state, first)


@pytest.mark.parametrize(
    ("most", "expected", "sizes"),
    [(8, 8, [8]), (7, 4, [8, 4]), (3, 2, [8, 4, 2]), (1, 1, [8, 4, 2, 1])],
)
def test_micro_batch_is_halved_until_it_fits(tmp_path, monkeypatch, most, expected, sizes):
    """Passes are halved until one fits."""
    tried: list[int] = []
    monkeypatch.setattr(GPT, "forward", cramped(lambda: most, tried))
    assert fitting(built(prepared_config(tmp_path), alone())) == expected
    assert tried == sizes


def test_micro_batch_cuts_an_odd_share_into_equal_parts(tmp_path, monkeypatch):
    """A share that is odd is cut into equal passes."""
    tried: list[int] = []
    monkeypatch.setattr(GPT, "forward", cramped(lambda: 4, tried))
    config = prepared_config(tmp_path, schedule__batch_tokens=16 * 9, schedule__tokens=16 * 9 * 6)
    assert fitting(built(config, alone()), first=9) == 3


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_micro_batch_probe_leaves_weights_gradients_and_random_state(
    tmp_path, monkeypatch, precision
):
    """A trial leaves weights gradients and random state alone."""
    state = built(prepared_config(tmp_path, precision=precision), alone())
    weights, random = [p.detach().clone() for p in state.parameters], torch.get_rng_state()
    monkeypatch.setattr(GPT, "forward", cramped(lambda: 2, []))
    fitting(state)
    assert all(torch.equal(a, b) for a, b in zip(weights, state.parameters, strict=True))
    assert all(parameter.grad is None for parameter in state.parameters)
    assert torch.equal(torch.get_rng_state(), random)


def test_micro_batch_tells_what_would_help_where_nothing_fits(tmp_path, monkeypatch):
    """A model of which nothing fits is told what would."""
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


def test_micro_batch_takes_no_other_error_for_lack_of_memory(tmp_path, monkeypatch):
    """Another error is not taken for lack of memory."""
    monkeypatch.setattr(GPT, "forward", lambda *_: torch.zeros(2) @ torch.zeros(3))
    with pytest.raises(RuntimeError, match="inconsistent tensor size"):
        fitting(built(prepared_config(tmp_path), alone()))


@pytest.mark.parametrize("text", ["CUDA out of memory.", None])
def test_micro_batch_is_halved_where_memory_ends_inside_the_compiler(tmp_path, text):
    """Which wraps what it meets, torch's error or Triton's plain one, in an error of its own."""
    state = built(prepared_config(tmp_path), alone())

    def cramped_compiler(graph: torch.fx.GraphModule, inputs: Sequence[torch.Tensor]) -> Any:
        if len(inputs[-1]) > 2:
            if text is not None:
                raise torch.OutOfMemoryError(text)
            raise RuntimeError("Triton Error [CUDA]: out of memory")
        return graph

    state.network = compiled(state.model, tmp_path, cramped_compiler)
    assert fitting(state) == 2


def test_micro_batch_takes_another_error_of_the_compiler_for_a_defect(tmp_path):
    """It is raised as it is, and nothing is halved."""
    state, tried = built(prepared_config(tmp_path), alone()), []

    def broken(graph: torch.fx.GraphModule, inputs: Sequence[torch.Tensor]) -> Any:
        tried.append(len(inputs))
        raise ValueError("a defect")

    state.network = compiled(state.model, tmp_path, broken)
    with pytest.raises(BackendCompilerFailed, match="a defect"):
        fitting(state)
    assert len(tried) == 1


def test_micro_batch_leaves_memory_for_what_the_first_step_allocates(tmp_path, monkeypatch):
    """Room is kept for what the first step allocates.

    On a machine that has all that is tried for, but no moments.
    """
    state = built(prepared_config(tmp_path), alone())
    later = state_bytes(state.config) - 4 * sum(p.numel() for p in state.parameters)
    empty, asked = torch.empty, []

    def limited(*size, **options):
        if options.get("dtype") is torch.uint8:
            asked.append(size)
            raise torch.OutOfMemoryError("no room")
        return empty(*size, **options)

    monkeypatch.setattr("training.device.micro_batch.torch.empty", limited)
    with pytest.raises(torch.OutOfMemoryError, match="one sequence"):
        fitting(state)
    assert asked == [(later,)] * 4


def test_micro_batch_of_ranks_is_one_that_fits_all_of_them(tmp_path, monkeypatch):
    """Ranks agree on what fits all of them and then train as if nothing had been."""
    config = prepared_config(tmp_path)

    def gradient(ranks: Ranks, tries: bool) -> tuple[int, list[float]]:
        state = built(config, ranks)
        tried: list[int] = []
        size = 4
        if tries:
            with monkeypatch.context() as patch:
                most = 1 if ranks.rank == 1 else 100
                patch.setattr(GPT, "forward", cramped(lambda: most, tried))
                size = fitting(state, first=4)
            assert tried == [4, 2, 1]
        accumulate_gradients(state.network, *state.batch(0), 1, state.autocast)
        return size, [p.grad.double().sum().item() for p in state.parameters]

    def body(ranks: Ranks) -> object:
        return [gradient(ranks, tries) for tries in (False, True)]

    [[(_, calm), (size, found)], other] = together(config, tmp_path, body)
    assert size == other[1][0] == 1
    assert found == calm == other[1][1]


def test_micro_batch_of_ranks_of_two_sizes_gives_up_together(tmp_path, monkeypatch):
    """Ranks with micro-batches of two sizes give up together.

    As GPUs of two sizes have: the one at a single sequence has room, the other has not.
    """
    config = prepared_config(tmp_path, runtime__timeout_s=5)

    def body(ranks: Ranks) -> object:
        monkeypatch.setattr(GPT, "forward", cramped(lambda: 1 - ranks.rank, []))
        with pytest.raises(torch.OutOfMemoryError, match="one sequence"):
            fitting(built(config, ranks), first=1 + ranks.rank)
        return None

    together(config, tmp_path, body)


def test_micro_batch_of_ranks_out_of_memory_is_half_when_restarted(tmp_path, monkeypatch):
    """Ranks that ran out of memory go on with half when started again.

    They end, since they would have to agree on it; the same command shall not end so again.
    """
    config, out = prepared_config(tmp_path, 2), tmp_path / "out"
    monkeypatch.setattr(GPT, "forward", cramped(lambda: 2, []))
    for statuses, status, passes in (([1, 1], "oom", 4), ([0, 0], "done", 2)):
        children = joined_ranks(config, tmp_path, lambda ranks: train_in(config, out, ranks))
        assert [child.wait() for child in children] == statuses
        record = read_record(out)
        assert record is not None and record.status == status
        environment = out / f"attempt-{record.attempts:03d}/runtime.json"
        assert json.loads(environment.read_text())["micro_batch"] == passes


def test_micro_batch_that_fits_is_recorded_and_not_tried_again(tmp_path, monkeypatch):
    """What fits is recorded and not tried again."""
    monkeypatch.setattr("training.device.micro_batch.TRIED_ON", ("cpu",))
    tried: list[int] = []
    monkeypatch.setattr(GPT, "forward", cramped(lambda: 2, tried))
    config = prepared_config(tmp_path, 1)
    attempt = claimed(tmp_path / "trial")
    record = train(config, attempt, alone(), quiet=True)
    assert record.status == "done" and record.first_step_s is not None
    assert json.loads((attempt.folder / "runtime.json").read_text())["micro_batch"] == 2
    assert tried[:7] == [8, 4, 2, 2, 2, 2, 2]  # the trial, and the four passes of the step
    assert "micro-batch size 2 fits (estimated 8)" in (attempt.folder / "log.txt").read_text()
    attempt.release()
    tried.clear()
    train(config, claimed(tmp_path / "trial"), alone(), quiet=True)
    assert 4 not in tried


@pytest.mark.parametrize(("size", "last", "precision"), [(8, 0, "float32"), (3, 1, "bf16")])
def test_micro_batch_is_compiled_once_for_the_trial_and_the_steps(
    tmp_path, monkeypatch, size, last, precision
):
    """Steps run the graph that the trial has compiled, and add one for a smaller last part."""
    monkeypatch.setattr("training.device.micro_batch.TRIED_ON", ("cpu",))
    state = built(prepared_config(tmp_path, precision=precision), alone())
    state.environment = replace(state.environment, micro_batch=size)
    counter = CompileCounterWithBackend("eager")
    state.network = compiled(state.model, tmp_path, counter)
    autotune(state, lambda _: None)
    assert (state.environment.micro_batch, counter.frame_count) == (size, 1)
    for _ in range(2):
        assert begin_step(state).result().is_finite
    assert counter.frame_count == 1 + last


def test_micro_batch_that_is_fixed_is_measured_as_it_is(tmp_path, monkeypatch):
    """Passes that are fixed are measured as they are."""
    monkeypatch.setattr("training.device.micro_batch.TRIED_ON", ("cpu",))
    monkeypatch.setattr("training.throughput.MEASURE_S", 0.01)
    config = prepared_config(tmp_path, runtime__micro_batch=4)
    assert "4 sequences" in measure(config, alone())
    monkeypatch.setattr(GPT, "forward", cramped(lambda: 3, []))
    with pytest.raises(torch.OutOfMemoryError):
        measure(config, alone())


def test_micro_batch_of_a_trial_that_never_fits_ends_with_a_record(tmp_path, monkeypatch):
    """A trial of which nothing fits ends with a record."""
    monkeypatch.setattr("training.device.micro_batch.TRIED_ON", ("cpu",))
    monkeypatch.setattr(GPT, "forward", cramped(lambda: 0, []))
    record = train_once(prepared_config(tmp_path), tmp_path / "trial")
    assert record.status == "oom" and record.reason is not None
    assert record.reason.startswith("one sequence of 16 tokens does not fit beside")


def test_micro_batch_of_ranks_with_one_short_of_memory_trains_to_the_end(tmp_path, monkeypatch):
    """Ranks of which one is short of memory train to the end."""
    monkeypatch.setattr("training.device.micro_batch.TRIED_ON", ("cpu",))
    short = cramped(lambda: 1 if os.environ["RANK"] == "1" else 100, [])
    monkeypatch.setattr(GPT, "forward", short)
    config = prepared_config(tmp_path, 2)
    attempt = claimed(tmp_path / "trial")

    def body(ranks: Ranks) -> object:
        return train(config, attempt, ranks, quiet=True).status

    assert together(config, tmp_path, body) == ["done", "done"]
    assert json.loads((attempt.folder / "runtime.json").read_text())["micro_batch"] == 1
