"""What ends a run early: divergence, lack of memory, a defect; and what the run saves then."""

import json
import math
import weakref
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from common.errors import BadInput
from model.gpt import GPT
from tests.support.tiny_training import alone, claimed, prepared_config, together, train_once
from training.loop import train
from training.ranks.distributed import Ranks
from training.state import TrainState
from training.step import PendingStep, StepFunction, begin_step
from training.trial.checkpoint import newest
from training.trial.metrics import read_metrics
from training.trial.record import read_record


def test_train_diverged_says_where_and_saves_nothing_of_it(tmp_path, monkeypatch):
    """A diverged run says where and saves nothing of it."""
    forward, calls = GPT.forward, 0

    def poisoned(self, tokens_BT, targets_BT=None):
        nonlocal calls
        calls += 1
        return forward(self, tokens_BT, targets_BT) * (math.nan if calls == 3 else 1.0)

    monkeypatch.setattr(GPT, "forward", poisoned)
    record = train_once(prepared_config(tmp_path), tmp_path / "trial")
    assert record.status == "diverged" and record.reason and "at step 3" in record.reason
    assert (record.steps, record.loss, record.weights_digest) == (2, None, None)
    names = [path.name for path in (tmp_path / "trial/attempt-001/checkpoints").iterdir()]
    assert sorted(names) == ["step-00000001", "step-00000002"]
    assert read_record(tmp_path / "trial") == record


@pytest.mark.parametrize("steps", [1, 6])
def test_train_does_not_save_weights_that_an_update_made_infinite(tmp_path, steps):
    """Weights that an update made infinite are not saved.

    The loss and the gradient of the step are finite; its rate is not in float32.
    """
    config = prepared_config(tmp_path, steps, optimizer__lr=1e39)
    record = train_once(config, tmp_path / "trial")
    assert record.status == "diverged" and record.steps == 1 and record.loss is None
    assert newest(tmp_path / "trial", print) is None


def test_train_stop_does_not_save_weights_that_are_not_finite(tmp_path):
    """A stop does not save weights that are not finite."""

    def harmful(state: TrainState, stop: bool, save: bool) -> PendingStep:
        pending = begin_step(state, True, save)
        state.model.ln_f.bias.data[0] = math.inf
        return pending

    record = train_once(prepared_config(tmp_path), tmp_path / "trial", harmful)
    assert (record.status, record.reason) == (
        "diverged",
        "weights that are not finite after step 1",
    )
    assert newest(tmp_path / "trial", print) is None


def by_kernel(kernels: Sequence[str], number: int = 4) -> StepFunction:
    """A step whose gradient one of the kernels makes NaN, the loss being what it should."""

    def step(state: TrainState, stop: bool, save: bool) -> PendingStep:
        if state.step + 1 != number or state.environment.sdpa not in kernels:
            return begin_step(state, stop, save)
        hook = state.model.ln_f.weight.register_hook(lambda slope_E: slope_E * math.nan)
        try:
            return begin_step(state, stop, save)
        finally:
            hook.remove()

    return step


@pytest.fixture
def suspect(monkeypatch):
    """The kernel that a CPU has, as cuDNN's is on a GPU."""
    monkeypatch.setattr("training.faults.INSTEAD_OF", {"flash": "math"})


@pytest.mark.parametrize(("every_s", "from_step"), [(0, 3), (1e9, 0)])
def test_train_goes_on_with_another_kernel_after_one_that_fails(
    tmp_path, suspect, every_s, from_step
):
    """From the last checkpoint, and to the same end; without one from the beginning."""
    config = prepared_config(tmp_path, runtime__checkpoint_every_s=every_s)
    calm = train_once(config, tmp_path / "calm")
    record = train_once(config, tmp_path / "trial", by_kernel(["flash"]))
    assert (record.status, record.steps, record.attempts) == ("done", 6, 1)
    assert record.loss == pytest.approx(calm.loss, abs=1e-5)
    assert (record.sdpa, calm.sdpa) == ("math", "flash")
    attempt = tmp_path / "trial/attempt-001"
    assert json.loads((attempt / "runtime.json").read_text())["sdpa"] == "math"
    log = (attempt / "log.txt").read_text()
    assert "at step 4, which flash attention may be the cause of; continuing with math" in log
    assert (f"resumed at step {from_step} from" in log) == (from_step > 0)
    assert [row["step"] for row in read_metrics(tmp_path / "trial")] == [1, 2, 3, 4, 5, 6]


def test_train_ranks_go_on_with_another_kernel_together(tmp_path, suspect):
    config = prepared_config(tmp_path)
    attempt = claimed(tmp_path / "trial")

    def body(ranks: Ranks) -> object:
        record = train(config, attempt, ranks, None, True, by_kernel(["flash"]))
        return [record.status, record.sdpa]

    assert together(config, tmp_path, body) == [["done", "math"]] * 2


def test_train_diverged_with_each_kernel_is_diverged(tmp_path, suspect):
    """A second kernel that finds the same confirms it; there is no third."""
    record = train_once(prepared_config(tmp_path), tmp_path / "t", by_kernel(["flash", "math"]))
    assert (record.status, record.steps, record.sdpa) == ("diverged", 3, "math")
    assert record.reason is not None and record.reason.endswith("gradient norm nan at step 4")


def test_train_keeps_a_kernel_that_was_asked_for(tmp_path, suspect):
    """And says what may help."""
    config = prepared_config(tmp_path, runtime__sdpa="flash")
    record = train_once(config, tmp_path / "trial", by_kernel(["flash"]))
    assert (record.status, record.sdpa) == ("diverged", "flash")
    assert str(record.reason).endswith("may be the cause: try runtime.sdpa=math")


def test_train_blames_no_kernel_for_a_loss_that_is_not_finite(tmp_path, suspect):
    """Nor one that has never been seen wrong."""

    def harmful(state: TrainState, stop: bool, save: bool) -> PendingStep:
        state.model.ln_f.bias.data[0] = math.inf
        return begin_step(state, stop, save)

    config = prepared_config(tmp_path)
    record = train_once(config, tmp_path / "loss", harmful)
    assert (record.status, record.steps, record.sdpa) == ("diverged", 0, "flash")
    config = replace(config, runtime=replace(config.runtime, sdpa="math"))
    record = train_once(config, tmp_path / "kernel", by_kernel(["math"]))
    assert (record.status, record.steps, record.sdpa) == ("diverged", 3, "math")


def test_train_out_of_memory_ends_with_its_micro_batch(tmp_path, monkeypatch):
    """Out of memory is an end with its micro batch."""

    def forward(self, tokens_BT, targets_BT=None):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.\nDetails")

    monkeypatch.setattr(GPT, "forward", forward)
    record = train_once(prepared_config(tmp_path), tmp_path / "trial")
    assert record.status == "oom" and record.peak_memory
    assert record.reason == (
        "step 1, micro-batch size 1: CUDA out of memory. Tried to allocate 9 GiB."
    )
    log = (tmp_path / "trial/attempt-001/log.txt").read_text()
    tried = [f"micro-batch size {size}" for size in (8, 4, 2)]
    assert [text in log for text in tried] == [True] * 3


def test_train_out_of_memory_does_not_halve_a_fixed_micro_batch(tmp_path, monkeypatch):
    """What a user fixes is not halved."""

    def forward(self, tokens_BT, targets_BT=None):
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(GPT, "forward", forward)
    config = prepared_config(tmp_path)
    record = train_once(
        replace(config, runtime=replace(config.runtime, micro_batch=4)), tmp_path / "trial"
    )
    assert (record.status, record.reason) == ("oom", "step 1, micro-batch size 4: no room")


def test_train_out_of_memory_goes_on_with_smaller_micro_batches(tmp_path, monkeypatch):
    """Out of memory goes on with smaller passes and the same science.

    Memory ends in the fourth step, for micro-batches of more than two sequences from then on.
    """
    config = prepared_config(tmp_path)
    calm = train_once(config, tmp_path / "calm")
    forward, calls = GPT.forward, 0

    def cramped(self, tokens_BT, targets_BT=None):
        nonlocal calls
        calls += self.training
        if self.training and calls > 3 and len(tokens_BT) > 2:
            raise torch.OutOfMemoryError("no room")
        return forward(self, tokens_BT, targets_BT)

    monkeypatch.setattr(GPT, "forward", cramped)
    record = train_once(config, tmp_path / "trial")
    assert record.status == "done" and record.steps == calm.steps and record.attempts == 1
    assert record.loss == pytest.approx(calm.loss, abs=1e-5)
    environment = json.loads((tmp_path / "trial/attempt-001/runtime.json").read_text())
    assert environment["micro_batch"] == 2 and not record.bitwise
    losses = [[row["loss"] for row in read_metrics(tmp_path / name)] for name in ("calm", "trial")]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_train_out_of_address_space_is_out_of_memory_too(tmp_path, monkeypatch):
    """An address space that ends is out of memory too."""

    def forward(self, tokens_BT, targets_BT=None):
        return torch.empty(1 << 60)

    monkeypatch.setattr(GPT, "forward", forward)
    assert train_once(prepared_config(tmp_path), tmp_path / "trial").status == "oom"


def test_train_raises_a_defect_which_is_no_result(tmp_path, monkeypatch):
    """A defect is not a result."""
    config = prepared_config(tmp_path)
    attempt = claimed(tmp_path / "trial")
    monkeypatch.setattr(GPT, "forward", lambda *_: torch.zeros(2) @ torch.zeros(3))
    with pytest.raises(RuntimeError) as caught:
        train(config, attempt, alone(), quiet=True)
    assert caught.value.__notes__ == ["rank 0, after step 0"]


@pytest.mark.parametrize(("error", "notes"), [
    (RuntimeError("a defect"), ["rank 0, after step 0"]),
    (RuntimeError("rank 1: data.path: found nothing"), []),  # what a rank had to say of bad input
    (BadInput("data.path: found nothing"), []),
])  # fmt: skip
def test_train_names_the_rank_of_a_defect_in_set_up(tmp_path, monkeypatch, error, notes):
    """Among several ranks the one that failed must be found, unless the failure says it itself."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("training.loop.set_up", fail)
    with pytest.raises(type(error)) as caught:
        train(prepared_config(tmp_path), claimed(tmp_path / "trial"), alone(), quiet=True)
    assert getattr(caught.value, "__notes__", []) == notes


def test_train_out_of_memory_frees_the_network_before_the_next_try(tmp_path):
    """Else its weights would fill the memory that the smaller micro-batch needs."""
    first: list[weakref.ref[TrainState]] = []

    def hungry_once(state: TrainState, stop: bool, save: bool) -> PendingStep:
        if not first:
            first.append(weakref.ref(state))
            raise torch.OutOfMemoryError("no room")
        assert first[0]() is None
        return begin_step(state, stop, save)

    record = train_once(prepared_config(tmp_path), tmp_path / "trial", hungry_once)
    assert record.status == "done"
