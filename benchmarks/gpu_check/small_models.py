"""Models that launches may bound: a step in eager mode, compiled, and as one CUDA graph."""

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.gpu_check.context import PREPARING, Context, Findings, wait
from benchmarks.gpu_check.variants import own_graphs
from benchmarks.measure import OPTIMIZER, SEED
from benchmarks.trainee import Batch, autocast, random_batch
from model.config import GPTConfig
from model.gpt import GPT
from training.device import backends
from training.optimizer import build_optimizer

PREPARE_S = 25.0  # a model is not begun with less left
# Layers, heads, width, vocabulary and sequences of a step, each of 1024 tokens.
MODELS = {
    "3m": (6, 3, 192, 4096, 16),
    "10m": (6, 4, 256, 50257, 32),
    "30m": (8, 6, 384, 50257, 64),
}
WAYS = ("compiled", "graph", "eager")
Step = Callable[[], Tensor]


def small_models(context: Context, findings: Findings) -> Iterator[None]:
    """Each model in each way, one after the other; how long its launches take beside its step."""
    steps: dict[tuple[str, str], Step] = {}
    for name in MODELS:
        config, batch = small_model(name, context)
        kind = own_graphs(f"small_{name}")  # both compiled ways share a graph
        for way in WAYS:
            row = f"{name}, {way}"
            if way == "graph" and not context.is_gpu:
                findings.note(row, skipped="a CPU has no CUDA graphs")
            elif not context.toy and context.left(PREPARING) < PREPARE_S:
                findings.note(row, skipped=f"{context.left(PREPARING):.0f} s left to prepare in")
            else:
                start = time.perf_counter()
                try:
                    steps[name, way] = stepping(kind, config, way, batch, context)
                    findings.note(row, prepared_s=time.perf_counter() - start)
                except Exception as error:
                    findings.note(row, failed=f"{type(error).__name__}: {str(error)[:400]}")
    yield
    for (name, way), step in steps.items():
        tokens = small_model(name, context)[1].tokens_BT.numel()
        figures = _timed(step, 3 if context.toy else 60, tokens, context)
        findings.note(f"{name}, {way}", **figures)
        findings.line(
            f"{f'{name}, {way}':<26}{figures['tokens_per_s']:>12,.0f} tokens/s, "
            f"step {1e3 * figures['step_s']:.2f} ms, launched in {1e3 * figures['launch_s']:.2f} ms"
        )


def small_model(name: str, context: Context) -> tuple[GPTConfig, Batch]:
    """The shape and the batch of a step."""
    layers, heads, width, vocab, sequences = MODELS[name]
    block = 1024
    if context.toy:
        layers, heads, width, vocab, sequences, block = 1, 2, 16, 250, 4, 16
    config = GPTConfig(layers, heads, width, block, vocab, 0.02)
    return config, random_batch(sequences, block, vocab, context.on, SEED)


def stepping(kind: type[GPT], config: GPTConfig, way: str, batch: Batch, context: Context) -> Step:
    """A call that takes a step (forward, backward, clip, AdamW); its loss, left on the device."""
    sequences = len(batch.tokens_BT)
    backends.set_switches(1, backends.choose_sdpa(config, "bf16", context.on, sequences, None))
    model = kind(config, torch.Generator().manual_seed(SEED)).to(context.on)
    parameters = list(model.parameters())
    network: nn.Module = model
    if way != "eager":
        network = backends.compiled(model, "gpu_check", backend=context.backend)

    def gradients() -> Tensor:
        with autocast(context.on, "bf16"):
            loss = network(batch.tokens_BT, batch.targets_BT)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        return loss.detach()

    if way == "graph":
        return _captured(gradients, parameters, context)
    optimizer = build_optimizer(model, OPTIMIZER)

    def step() -> Tensor:
        loss = gradients()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss

    step()
    return step


def _captured(gradients: Step, parameters: list[nn.Parameter], context: Context) -> Step:
    """The whole step as one graph, by hand: gradients never leave their place."""
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": 0.1},
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        ],
        lr=torch.tensor(OPTIMIZER.lr, device=context.on),
        betas=OPTIMIZER.betas,
        eps=OPTIMIZER.eps,
        fused=True,
        capturable=True,
    )
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            optimizer.zero_grad(set_to_none=True)
            gradients()
            optimizer.step()
    torch.cuda.current_stream().wait_stream(stream)
    optimizer.zero_grad(set_to_none=True)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = gradients()
        optimizer.step()

    def step() -> Tensor:
        graph.replay()
        return loss

    return step


def _timed(step: Step, count: int, tokens: int, context: Context) -> dict[str, Any]:
    rates, launches, losses = [], [], []
    for _ in range(3):
        wait(context.on)
        start = time.perf_counter()
        for _ in range(count):
            loss = step()
        launches.append((time.perf_counter() - start) / count)
        losses.append(loss.item())
        rates.append(count * tokens / (time.perf_counter() - start))
    rate = statistics.median(rates)
    return {
        "tokens_per_s": rate,
        "step_s": tokens / rate,
        "launch_s": statistics.median(launches),
        "loss": losses[-1],
    }
