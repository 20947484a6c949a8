"""What only a GPU shows: it computes what a CPU does, in bounded memory, and never waits unasked.

`make gpu-check` runs this and prints the figures that it found (`-s`).
"""

import json
import os
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_training import claimed, prepared_config

from configs.errors import BadInput, StopRequested
from model.config import GPTConfig
from model.flops import params_allocated
from model.gpt import GPT
from training import checkpoint
from training.config import TrainConfig
from training.dataset import open_data
from training.distributed import Ranks
from training.hardware import decide, peak_memory
from training.kernels import KERNELS, choose_sdpa, compiled, set_switches
from training.loop import train
from training.memory import run_bytes
from training.record import RunRecord
from training.run import Run, build_run
from training.step import begin_step, train_step

# torch warns of other things on every device and in every version.
pytestmark = [pytest.mark.needs_gpu, pytest.mark.filterwarnings("default")]
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # asked for by deterministic algorithms

GPU = torch.device("cuda", 0)
NARROW = GPTConfig(2, 4, 256, block_size=128, vocab_size=256, init_std=0.02)
WIDE_HEAD = replace(NARROW, vocab_size=50257)
SMALL = GPTConfig(12, 12, 768, block_size=1024, vocab_size=50257, init_std=0.02)
GIB = 2**30


def one_gpu() -> Ranks:
    return Ranks(0, 1, 1, GPU, timeout_s=60)


def config_of(
    folder: Path,
    model: GPTConfig = NARROW,
    sequences: int = 8,
    steps: int = 6,
    precision: str = "bf16",
    **runtime: Any,
) -> TrainConfig:
    """A run of `steps` steps of `sequences` sequences on the GPU; eager unless it is asked for."""
    config = prepared_config(folder, steps, precision=precision)
    if model.vocab_size != NARROW.vocab_size:
        config = replace(config, data=replace(config.data, **gpt2_tokens(folder / "gpt2")))
    batch = sequences * model.block_size
    return replace(
        config,
        model=model,
        schedule=replace(
            config.schedule, tokens=batch * steps, batch_tokens=batch, warmup_tokens=0
        ),
        evaluation=replace(config.evaluation, tokens=2 * model.block_size),
        runtime=replace(config.runtime, **{"device": "cuda", "compile": False} | runtime),
    )


def gpt2_tokens(folder: Path) -> dict[str, Any]:
    """Random ids of GPT-2's vocabulary, in nanoGPT's format."""
    folder.mkdir()
    random = np.random.default_rng(0)
    for name in ("train", "val"):
        random.integers(0, 50257, 200_000, dtype=np.uint16).tofile(folder / f"{name}.bin")
    return {"source": "shards", "path": str(folder), "tokenizer": "gpt2"}


def built(config: TrainConfig) -> Run:
    """The run before its first step."""
    ranks = one_gpu()
    return build_run(config, ranks, decide(config, ranks, None), open_data(config, ranks))


def train_once(config: TrainConfig, trial: Path) -> RunRecord:
    attempt = claimed(trial)
    try:
        return train(config, attempt, one_gpu(), quiet=True)
    finally:
        attempt.release()


def decided(trial: Path) -> dict[str, Any]:
    return json.loads((trial / "attempt-001/runtime.json").read_text())


def loss_and_gradient(
    network: torch.nn.Module, device: torch.device, precision: str
) -> tuple[float, list[torch.Tensor]]:
    """Of one batch of random tokens, the same on every device; the gradient in float64."""
    config: GPTConfig = network.config  # type: ignore[assignment]
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(config.vocab_size, (4, config.block_size + 1), generator=generator)
    ids = ids.to(device)
    network.zero_grad()
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        loss = network(ids[:, :-1].contiguous(), ids[:, 1:].contiguous())
    loss.backward()
    gradients = [p.grad.detach().double().cpu() for p in network.parameters() if p.grad is not None]
    return loss.item(), gradients


def error(found: list[torch.Tensor], expected: list[torch.Tensor]) -> float:
    """The length of the difference of two gradients over that of the second."""
    difference = sum((a - b).square().sum().item() for a, b in zip(found, expected, strict=True))
    return (difference / sum(b.square().sum().item() for b in expected)) ** 0.5


def network_on(device: torch.device, config: GPTConfig, precision: str, chunked: bool) -> GPT:
    set_switches(1, choose_sdpa(config, precision, device, 4, None))
    network = GPT(config, torch.Generator().manual_seed(0)).to(device)
    network.chunked_head = chunked
    return network


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(
    ("precision", "loss_error", "gradient_error"), [("float32", 1e-5, 1e-4), ("bf16", 2e-2, 5e-2)]
)
def test_loss_and_gradient_are_those_of_the_cpu(precision, loss_error, gradient_error, chunked):
    cpu = torch.device("cpu")
    reference = network_on(cpu, WIDE_HEAD, "float32", chunked=False)
    expected, gradient = loss_and_gradient(reference, cpu, "float32")
    network = network_on(GPU, WIDE_HEAD, precision, chunked)
    found, found_gradient = loss_and_gradient(network, GPU, precision)
    difference = error(found_gradient, gradient)
    print(f"\n{precision}, chunked {chunked}: {found - expected:+.2e} nats, {difference:.2e}")
    assert found == pytest.approx(expected, abs=loss_error)
    assert difference < gradient_error


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(
    ("precision", "loss_error", "gradient_error"), [("float32", 1e-5, 1e-4), ("bf16", 5e-3, 5e-2)]
)
def test_compiled_it_computes_the_same(precision, loss_error, gradient_error, chunked):
    network = network_on(GPU, WIDE_HEAD, precision, chunked)
    expected, gradient = loss_and_gradient(network, GPU, precision)
    graph = compiled(network, (precision, chunked))
    found, found_gradient = loss_and_gradient(graph, GPU, precision)
    difference = error(found_gradient, gradient)
    print(f"\n{precision}, chunked {chunked}: {found - expected:+.2e} nats, {difference:.2e}")
    assert found == pytest.approx(expected, abs=loss_error)
    assert difference < gradient_error


def test_the_chunked_head_costs_no_accuracy_in_bf16():
    losses = [
        loss_and_gradient(network_on(GPU, WIDE_HEAD, "bf16", chunked), GPU, "bf16")[0]
        for chunked in (False, True)
    ]
    assert losses[1] == pytest.approx(losses[0], abs=0.002)


def test_killed_and_continued_it_ends_in_the_same_bits_where_sums_have_an_order(
    tmp_path, monkeypatch
):
    """Attention and embeddings else add up in no fixed order: no record claims bits of a GPU."""
    config = config_of(tmp_path, sdpa="flash")
    torch.use_deterministic_algorithms(True)
    try:
        whole = [train_once(config, tmp_path / name) for name in ("one", "two")]
        with monkeypatch.context() as patch:
            patch.setattr("training.loop.stop_flag", lambda: nullcontext(lambda: True))
            with pytest.raises(StopRequested):
                train_once(config, tmp_path / "trial")
        record = train_once(config, tmp_path / "trial")
    finally:
        torch.use_deterministic_algorithms(False)
    assert (record.status, record.attempts) == ("done", 2)
    digests = {one.weights_digest for one in (*whole, record)}
    assert len(digests) == 1 and None not in digests
    assert record.bitwise is False


@pytest.mark.parametrize("compile", [False, True])
def test_a_step_that_is_not_logged_never_waits_for_the_gpu(tmp_path, compile):
    run = built(config_of(tmp_path, micro_batch=4, compile=compile))
    for _ in range(2):
        train_step(run)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        begun = [begin_step(run) for _ in range(2)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(step.result().is_finite for step in begun)


def test_the_quickest_kernel_is_chosen_and_recorded(tmp_path):
    record = train_once(config_of(tmp_path, steps=1), tmp_path / "trial")
    assert record.status == "done"
    chosen = decided(tmp_path / "trial")["sdpa"]
    print(f"\nattention: {chosen}")
    assert chosen in ("flash", "efficient", "cudnn")


def test_the_switches_leave_torch_no_other_kernel():
    q_BHTK = torch.zeros(2, 4, 128, 64, device=GPU, dtype=torch.bfloat16, requires_grad=True)
    for name in KERNELS:
        try:
            choose_sdpa(NARROW, "bf16", GPU, 2, name)
        except BadInput as refusal:
            print(f"\n{refusal}")
            continue
        set_switches(1, name)
        taken = torch._fused_sdp_choice(q_BHTK, q_BHTK, q_BHTK, None, 0.0, True)
        assert taken == KERNELS[name].value


def test_flash_attention_in_float32_is_refused():
    with pytest.raises(BadInput, match="runtime.sdpa: found flash, expected .*efficient.* float32"):
        choose_sdpa(NARROW, "float32", GPU, 2, "flash")


def test_passes_are_halved_until_they_fit_and_the_run_is_done(tmp_path):
    """In 8 GiB, of which the estimate does not know: 64 sequences take some 30."""
    model = replace(SMALL, n_layer=4, n_head=8, n_embd=512)
    config = config_of(tmp_path, model, sequences=64, steps=2, loss_head="plain")
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(8 * GIB / torch.cuda.mem_get_info(GPU)[1], GPU)
    try:
        record = train_once(config, tmp_path / "trial")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, GPU)
    micro_batch = decided(tmp_path / "trial")["micro_batch"]
    print(f"\n{micro_batch} of 64 sequences a pass, peak {record.peak_memory / GIB:.2f} GiB")
    assert record.status == "done" and 1 <= micro_batch < 64
    assert record.peak_memory is not None and record.peak_memory <= 8 * GIB
    log = (tmp_path / "trial/attempt-001/log.txt").read_text()
    assert "sequences a pass fit, of" in log and "out of memory" not in log


def test_a_model_of_which_nothing_fits_ends_with_what_would_help(tmp_path):
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(2 * GIB / torch.cuda.mem_get_info(GPU)[1], GPU)
    try:
        config = config_of(tmp_path, SMALL, sequences=2, steps=1, loss_head="plain")
        record = train_once(config, tmp_path / "trial")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, GPU)
    assert record.status == "oom" and "runtime.loss_head=chunked" in str(record.reason)


@pytest.mark.parametrize("head", ["plain", "chunked"])
def test_memory_is_what_was_estimated_within_a_factor_of_two(tmp_path, head):
    config = config_of(tmp_path, SMALL, 32, compile=True, micro_batch=16, loss_head=head)
    run = built(config)
    torch.cuda.reset_peak_memory_stats(GPU)
    for _ in range(2):
        train_step(run)
    estimated = run_bytes(config, "cuda", torch.cuda.mem_get_info(GPU)[1])
    found = peak_memory(GPU)
    print(f"\n{head}: {found / GIB:.2f} GiB, estimated {estimated / GIB:.2f}")
    assert estimated / 2 < found < 2 * estimated


def test_a_checkpoint_holds_the_state_and_takes_seconds(tmp_path):
    run = built(config_of(tmp_path, SMALL, 8, micro_batch=8))
    train_step(run)
    start = time.perf_counter()
    path = checkpoint.save(claimed(tmp_path / "trial"), run.meta(), run.state())
    seconds = time.perf_counter() - start
    size = sum(part.stat().st_size for part in path.rglob("*") if part.is_file())
    print(f"\n{size / 1e9:.2f} GB in {seconds:.1f} s")
    assert size == pytest.approx(12 * params_allocated(SMALL), rel=0.01)
    assert seconds < 60
