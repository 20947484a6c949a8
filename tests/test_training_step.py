"""One step: the exact gradient of the global batch, AdamW as written down, nothing not finite."""

import math
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from torch.profiler import profile

from tests.support.tiny_training import built_state, prepared_config, train_once
from training.state import TrainState
from training.step import accumulate_gradients, begin_step
from training.trial.checkpoint import newest
from training.trial.metrics import read_metrics


@pytest.fixture
def state(tmp_path) -> TrainState:
    return built_state(prepared_config(tmp_path))


def gradient(state: TrainState, micro_batch: int) -> tuple[float, torch.Tensor]:
    state.model.zero_grad()
    loss = accumulate_gradients(state.network, *state.batch(0), micro_batch, nullcontext)
    parts = [p.grad.flatten() for p in state.model.parameters() if p.grad is not None]
    return loss.item(), torch.cat(parts)


def test_step_takes_the_batch_of_the_loader(state):
    """A step's tokens and targets are the loader's, as the compiler's graphs expect them."""
    for step in (0, 3):
        for found, expected in zip(
            state.batch(step), state.data.loader.batch(step, 8), strict=True
        ):
            assert torch.equal(found, torch.from_numpy(expected))
            assert found.dtype == torch.int64 and found.is_contiguous()


@pytest.mark.parametrize("micro_batch", [1, 2, 3, 5, 7, 8, 100])
def test_step_micro_batches_change_neither_loss_nor_gradient(state, micro_batch):
    """Micro batches change neither loss nor gradient."""
    loss, expected = gradient(state, 8)
    part_loss, found = gradient(state, micro_batch)
    assert part_loss == pytest.approx(loss, rel=1e-6)
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("chunked", [False, True])
def test_step_casts_weights_once_with_the_gradient_of_casting_in_parts(state, chunked):
    """Weights are cast once a step and the gradient is that of casting in each part.

    Of passes of 2 of 8 sequences in bf16; every matrix but the embeddings is cast.
    """
    state.config = replace(state.config, precision="bf16")
    state.model.chunked_head = chunked
    tokens_BT, targets_BT = state.batch(0)
    for part_BT, part_targets_BT in zip(tokens_BT.split(2), targets_BT.split(2), strict=True):
        with state.autocast():
            loss = state.model(part_BT, part_targets_BT)
        (loss / 4).backward()
    expected = [p.grad.clone() for p in state.parameters]
    state.model.zero_grad()
    with profile(record_shapes=True, acc_events=True) as profiler:
        accumulate_gradients(state.network, *state.batch(0), 2, state.autocast)
    assert all(torch.equal(p.grad, e) for p, e in zip(state.parameters, expected, strict=True))

    block = state.model.h[0]
    for layer in (block.attn.c_attn, block.mlp.c_fc):  # shapes of weights alone
        shape = list(layer.weight.shape)
        casts = [
            event
            for event in profiler.events()
            if event.name == "aten::_to_copy" and event.input_shapes[0] == shape
        ]
        backward = 4 * state.config.model.n_layer  # the gradient's way back, in each part
        assert len(casts) == state.config.model.n_layer + backward


def test_step_micro_batch_hardly_changes_a_whole_run(tmp_path):
    """A whole run hardly depends on the micro batch."""
    config = prepared_config(tmp_path)
    losses = []
    for micro_batch in (None, 3):
        trial = tmp_path / f"micro{micro_batch}"
        runtime = replace(config.runtime, micro_batch=micro_batch)
        train_once(replace(config, runtime=runtime), trial)
        losses.append([row["loss"] for row in read_metrics(trial)])
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_step_learns_one_batch_by_heart(state):
    """One batch is learnt by heart."""
    batch = state.batch(0)
    state.batch = lambda step: batch  # type: ignore[method-assign]
    for _ in range(200):
        state.step = 1  # the peak of the schedule
        last = begin_step(state).result()
    assert last.loss < 0.05


def test_step_takes_the_rate_of_the_schedule(state):
    """The rate is the schedules."""
    before = [p.detach().clone() for p in state.model.parameters()]
    step = begin_step(state).result()
    assert step.lr == pytest.approx(state.config.optimizer.lr / 2)
    assert state.optimizer.param_groups[0]["lr"] == step.lr
    assert any(not torch.equal(a, b) for a, b in zip(before, state.model.parameters(), strict=True))


@pytest.mark.parametrize("limit", [0.01, 1e6, None])
def test_step_applies_a_gradient_of_at_most_the_norm_allowed(state, limit):
    """The gradient that is applied has at most the norm allowed."""
    state.config = replace(state.config, optimizer=replace(state.config.optimizer, grad_clip=limit))
    update, norms = state.optimizer.step, []

    def measured() -> None:
        gradients = torch.cat([p.grad.flatten() for p in state.parameters])
        norms.append(gradients.norm().item())
        update()

    state.optimizer.step = measured
    told = begin_step(state).result().grad_norm  # as it was before clipping
    assert 0.01 < told < 1e6
    assert norms == [pytest.approx(min(told, limit or told), rel=1e-4)]


def test_step_in_bf16_is_near_float32_and_keeps_float32_weights(tmp_path):
    """Bf16 is near float32 and keeps its weights in float32."""
    config = prepared_config(tmp_path)
    exact = train_once(config, tmp_path / "float32")
    record = train_once(replace(config, precision="bf16"), tmp_path / "bf16")
    assert record.precision == "bf16" and record.weights_digest != exact.weights_digest
    assert record.loss == pytest.approx(exact.loss, abs=0.02)
    state = newest(tmp_path / "bf16", print).state
    assert {tensor.dtype for tensor in state["model"].values()} == {torch.float32}
    moments = state["optimizer"]["state"][0]
    assert moments["exp_avg"].dtype == moments["exp_avg_sq"].dtype == torch.float32


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_step_tells_a_loss_or_gradient_that_is_not_finite(state, value, where):
    """What is not finite is told."""
    if where == "loss":
        network = state.network
        state.network = lambda tokens, targets: network(tokens, targets) * value
    else:
        state.model.ln_f.bias.register_hook(lambda gradient: gradient * value)
    assert not begin_step(state).result().is_finite
