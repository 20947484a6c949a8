"""One step: the exact gradient of the global batch, AdamW as written down, nothing not finite."""

import json
import math
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from tiny_training import alone, claimed, prepared_config, train_once
from torch.profiler import profile

from model.gpt import GPT
from training.checkpoint import newest
from training.dataset import open_data
from training.hardware import decide
from training.loop import describe, train
from training.metrics import MetricsLog, read_metrics
from training.record import read_record
from training.run import Run, build_run
from training.step import Begun, Step, accumulate_gradients, train_step


@pytest.fixture
def run(tmp_path) -> Run:
    config = prepared_config(tmp_path)
    return build_run(config, alone(), decide(config, alone(), None), open_data(config, alone()))


def gradient(run: Run, micro_batch: int) -> tuple[float, torch.Tensor]:
    run.model.zero_grad()
    loss = accumulate_gradients(run.network, *run.batch(0), micro_batch, nullcontext)
    parts = [p.grad.flatten() for p in run.model.parameters() if p.grad is not None]
    return loss.item(), torch.cat(parts)


@pytest.mark.parametrize("micro_batch", [1, 2, 3, 5, 7, 8, 100])
def test_micro_batches_change_neither_loss_nor_gradient(run, micro_batch):
    loss, expected = gradient(run, 8)
    part_loss, found = gradient(run, micro_batch)
    assert part_loss == pytest.approx(loss, rel=1e-6)
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("chunked", [False, True])
def test_weights_are_cast_once_a_step_and_the_gradient_is_that_of_casting_in_each_part(
    run, chunked
):
    """Of passes of 2 of 8 sequences in bf16; every matrix but the embeddings is cast."""
    run.config = replace(run.config, precision="bf16")
    run.model.chunked_head = chunked
    tokens_BT, targets_BT = run.batch(0)
    for part_BT, part_targets_BT in zip(tokens_BT.split(2), targets_BT.split(2), strict=True):
        with run.autocast():
            loss = run.model(part_BT, part_targets_BT)
        (loss / 4).backward()
    expected = [p.grad.clone() for p in run.parameters]
    run.model.zero_grad()
    with profile(record_shapes=True, acc_events=True) as profiler:
        accumulate_gradients(run.network, *run.batch(0), 2, run.autocast)
    assert all(torch.equal(p.grad, e) for p, e in zip(run.parameters, expected, strict=True))

    block = run.model.h[0]
    for layer in (block.attn.c_attn, block.mlp.c_fc):  # shapes of weights alone
        shape = list(layer.weight.shape)
        casts = [
            event
            for event in profiler.events()
            if event.name == "aten::_to_copy" and event.input_shapes[0] == shape
        ]
        backward = 4 * run.config.model.n_layer  # the gradient's way back, in each part
        assert len(casts) == run.config.model.n_layer + backward


def test_a_whole_run_hardly_depends_on_the_micro_batch(tmp_path):
    config = prepared_config(tmp_path)
    losses = []
    for micro_batch in (None, 3):
        trial = tmp_path / f"micro{micro_batch}"
        runtime = replace(config.runtime, micro_batch=micro_batch)
        train_once(replace(config, runtime=runtime), trial)
        losses.append([row["loss"] for row in read_metrics(trial)])
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_one_batch_is_learnt_by_heart(run):
    batch = run.batch(0)
    run.batch = lambda step: batch  # type: ignore[method-assign]
    for _ in range(200):
        run.step = 1  # the peak of the schedule
        last = train_step(run)
    assert last.loss < 0.05


def test_the_rate_is_the_schedules(run):
    before = [p.detach().clone() for p in run.model.parameters()]
    step = train_step(run)
    assert step.lr == pytest.approx(run.config.optimizer.lr / 2)
    assert run.optimizer.param_groups[0]["lr"] == step.lr
    assert any(not torch.equal(a, b) for a, b in zip(before, run.model.parameters(), strict=True))


@pytest.mark.parametrize("limit", [0.01, 1e6])
def test_the_gradient_that_is_applied_has_at_most_the_norm_allowed(run, limit):
    run.config = replace(run.config, optimizer=replace(run.config.optimizer, grad_clip=limit))
    update, norms = run.optimizer.step, []

    def measured() -> None:
        gradients = torch.cat([p.grad.flatten() for p in run.parameters])
        norms.append(gradients.norm().item())
        update()

    run.optimizer.step = measured
    told = train_step(run).grad_norm  # as it was before clipping
    assert 0.01 < told < 1e6
    assert norms == [pytest.approx(min(told, limit), rel=1e-4)]


def test_bits_per_byte_by_hand(run, tmp_path):
    """A loss of 6 bits a token of 3 bytes of text is 2 bits a byte."""
    manifest = run.data.manifest
    val = replace(manifest.val, text_bytes=3 * manifest.val.tokens)
    run.data = replace(run.data, manifest=replace(manifest, val=val))
    run.loss = 6 * math.log(2)
    record = describe(run, claimed(tmp_path / "trial"), "done", None)
    assert record.loss_bpb == pytest.approx(2.0)
    assert describe(run, claimed(tmp_path / "other"), "diverged", "why").loss_bpb is None


def test_bf16_is_near_float32_and_keeps_its_weights_in_float32(tmp_path):
    config = prepared_config(tmp_path)
    exact = train_once(config, tmp_path / "float32")
    record = train_once(replace(config, precision="bf16"), tmp_path / "bf16")
    assert record.precision == "bf16" and record.weights_digest != exact.weights_digest
    assert record.loss == pytest.approx(exact.loss, abs=0.02)
    state = newest(tmp_path / "bf16", print).state
    assert {tensor.dtype for tensor in state["model"].values()} == {torch.float32}
    moments = state["optimizer"]["state"][0]
    assert moments["exp_avg"].dtype == moments["exp_avg_sq"].dtype == torch.float32


def test_the_record_tells_the_highest_of_the_spikes(run, tmp_path):
    attempt = claimed(tmp_path / "trial")
    losses = [3.0] * 30
    losses[14], losses[21] = 4.0, 5.5
    log = MetricsLog(attempt.folder)
    for step, loss in enumerate(losses, 1):
        log.write({"step": step, "loss": loss})
    log.close()
    record = describe(run, attempt, "diverged", "why")
    assert (record.spikes, record.spike_step, record.spike_nats) == (2, 22, 2.5)
    calm = describe(run, claimed(tmp_path / "calm"), "diverged", "why")
    assert (calm.spikes, calm.spike_step, calm.spike_nats) == (0, None, None)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_what_is_not_finite_is_told(run, value, where):
    if where == "loss":
        network = run.network
        run.network = lambda tokens, targets: network(tokens, targets) * value
    else:
        run.model.ln_f.bias.register_hook(lambda gradient: gradient * value)
    assert not train_step(run).is_finite


def test_a_diverged_run_says_where_and_saves_nothing_of_it(tmp_path, monkeypatch):
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
def test_weights_that_an_update_made_infinite_are_not_saved(tmp_path, steps):
    """The loss and the gradient of the step are finite; its rate is not in float32."""
    config = prepared_config(tmp_path, steps, optimizer__lr=1e39)
    record = train_once(config, tmp_path / "trial")
    assert record.status == "diverged" and record.steps == 1 and record.loss is None
    assert newest(tmp_path / "trial", print) is None


def test_a_stop_does_not_save_weights_that_are_not_finite(tmp_path, monkeypatch):
    def stopping_after_harm(begun: Begun) -> Step:
        begun.run.model.ln_f.bias.data[0] = math.inf
        return replace(result(begun), stop=True)

    result = Begun.result
    monkeypatch.setattr(Begun, "result", stopping_after_harm)
    record = train_once(prepared_config(tmp_path), tmp_path / "trial")
    assert (record.status, record.reason) == (
        "diverged",
        "weights that are not finite after step 1",
    )
    assert newest(tmp_path / "trial", print) is None


def test_out_of_memory_is_an_end_with_its_micro_batch(tmp_path, monkeypatch):
    def forward(self, tokens_BT, targets_BT=None):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.\nDetails")

    monkeypatch.setattr(GPT, "forward", forward)
    record = train_once(prepared_config(tmp_path), tmp_path / "trial")
    assert record.status == "oom" and record.peak_memory
    assert record.reason == (
        "step 1, 1 sequences a pass: CUDA out of memory. Tried to allocate 9 GiB."
    )
    log = (tmp_path / "trial/attempt-001/log.txt").read_text()
    tried = [f"{size} sequences a pass" for size in (8, 4, 2)]
    assert [text in log for text in tried] == [True] * 3


def test_what_a_user_fixes_is_not_halved(tmp_path, monkeypatch):
    def forward(self, tokens_BT, targets_BT=None):
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(GPT, "forward", forward)
    config = prepared_config(tmp_path)
    record = train_once(
        replace(config, runtime=replace(config.runtime, micro_batch=4)), tmp_path / "trial"
    )
    assert (record.status, record.reason) == ("oom", "step 1, 4 sequences a pass: no room")


def test_out_of_memory_goes_on_with_smaller_passes_and_the_same_science(tmp_path, monkeypatch):
    """Memory ends in the fourth step, for more than two sequences a pass from then on."""
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


def test_an_address_space_that_ends_is_out_of_memory_too(tmp_path, monkeypatch):
    def forward(self, tokens_BT, targets_BT=None):
        return torch.empty(1 << 60)

    monkeypatch.setattr(GPT, "forward", forward)
    assert train_once(prepared_config(tmp_path), tmp_path / "trial").status == "oom"


def test_a_defect_is_not_a_result(tmp_path, monkeypatch):
    config = prepared_config(tmp_path)
    attempt = claimed(tmp_path / "trial")
    monkeypatch.setattr(GPT, "forward", lambda *_: torch.zeros(2) @ torch.zeros(3))
    with pytest.raises(RuntimeError) as caught:
        train(config, attempt, alone(), quiet=True)
    assert caught.value.__notes__ == ["rank 0, after step 0"]
