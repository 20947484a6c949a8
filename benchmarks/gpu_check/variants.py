"""GPT-2 small's step in several ways, beside nanoGPT's: compiled one by one, timed in turn."""

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import FunctionType
from typing import Any

import torch
import torch._inductor.config as inductor
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from benchmarks.cases import CASES, Case
from benchmarks.gpu_check.context import PREPARING, Context, Findings
from benchmarks.measure import OPTIMIZER, SEED
from benchmarks.peer import load_peer, peer_network, peer_trainee
from benchmarks.timing import rounds
from benchmarks.trainee import Batch, StepTime, Trainee, random_batch, timed_step
from model.config import GPTConfig
from model.gpt import GPT
from training.device import backends, mfu
from training.environment import device_name
from training.optimizer import build_optimizer

MEASURE_S = 34.0
COMPILE_S = 45.0  # a variant is not begun with less left
PROFILE = "profile.txt"
BF16_SUMS = "bf16 partial sums"


@dataclass(frozen=True)
class Variant:
    """A way to take the step.

    sdpa      attention kernel; None: the one that the trainer would choose
    model     fields of the model that differ
    compiler  settings of Inductor that differ
    ranks     wrapped for data parallelism, with one rank
    """

    name: str
    sdpa: str | None = None
    model: Mapping[str, Any] = field(default_factory=dict)
    compiler: Mapping[str, Any] = field(default_factory=dict)
    ranks: bool = False
    compile_s: float = COMPILE_S


# In the order of their worth: time to compile may not suffice for all.
VARIANTS = (
    Variant("ours"),
    Variant("ours, flash", sdpa="flash"),
    Variant("ours, bf16 residual", model={"residual": "bf16"}),
    Variant("ours, no mix-order", compiler={"triton.mix_order_reduction": False}),
    Variant("ours, one-rank DDP", ranks=True, compile_s=60.0),
    Variant(
        "ours, max-autotune",
        compiler={"max_autotune": True, "coordinate_descent_tuning": True},
        compile_s=90.0,
    ),
)
PEER = "nanoGPT"


def variants(context: Context, findings: Findings) -> Iterator[None]:
    """Compile what there is time for; then interleave their steps, and profile one of ours."""
    case = CASES["tiny" if context.toy else "124m"]
    micro_batch = 2 if context.toy else 64
    # The peer does not mask padded rows; ids are below the true vocabulary for both.
    batch = random_batch(
        2 * micro_batch, case.config.block_size, case.config.vocab_size, context.on, SEED
    )
    ways = {v.name: (v, partial(_own, v, case.config, context, micro_batch)) for v in VARIANTS}
    if context.peer:
        peer = partial(_peer, Path(context.peer), case, context, micro_batch)
        ways = {PEER: (Variant(PEER), peer), **ways}
    ready: dict[str, Trainee] = {}
    for name, (variant, make) in ways.items():
        left = context.left(PREPARING)
        if left < variant.compile_s and not context.toy:
            needed = f"{variant.compile_s:.0f} s to compile, {left:.0f} left"
            findings.note(name, skipped=needed)
            continue
        if trainee := _prepared(variant, make, batch, findings):
            ready[name] = trainee
    yield
    times = _interleaved(ready, batch, 0.0 if context.toy else MEASURE_S)
    _conclude(times, batch, case, context, findings)
    if context.is_gpu and VARIANTS[0].name in ready:
        _profile(ready[VARIANTS[0].name], batch, context.path(PROFILE))


def own_graphs(name: str) -> type[GPT]:
    """GPT with a forward of its own, for which the compiler keeps graphs of its own."""
    forward = GPT.forward
    code = forward.__code__.replace(co_name=f"forward_{name}")
    copy = FunctionType(
        code, forward.__globals__, code.co_name, forward.__defaults__, forward.__closure__
    )
    copy.__kwdefaults__ = forward.__kwdefaults__
    return type(f"GPT_{name}", (GPT,), {"forward": copy})


def _own(variant: Variant, config: GPTConfig, context: Context, micro_batch: int) -> Trainee:
    sdpa = variant.sdpa
    if sdpa is None:
        sdpa = backends.choose_sdpa(config, "bf16", context.on, micro_batch, None)
    backends.set_switches(1, sdpa)
    config = replace(config, **variant.model)
    kind = own_graphs("".join(c if c.isalnum() else "_" for c in variant.name))
    model = kind(config, torch.Generator().manual_seed(SEED)).to(context.on)
    # One name for all: another would drop the graphs of those before.
    network = backends.compiled(model, "gpu_check", backend=context.backend)
    if variant.ranks:
        network = _with_one_rank(network, context)
    optimizer = build_optimizer(model, OPTIMIZER)
    return Trainee(network, model, optimizer, "bf16", micro_batch, casts_once=True)


def _peer(checkout: Path, case: Case, context: Context, micro_batch: int) -> Trainee:
    for kernel in ("cudnn", "flash", "mem_efficient", "math"):  # torch's own choice
        getattr(torch.backends.cuda, f"enable_{kernel}_sdp")(True)
    padded = replace(case.config, vocab_size=case.config.padded_vocab_size)
    weights = GPT(padded, torch.Generator().manual_seed(SEED))
    network = peer_network(load_peer(checkout), padded, weights).to(context.on)
    return peer_trainee(network, "bf16", context.is_gpu, micro_batch)


def _with_one_rank(network: nn.Module, context: Context) -> nn.Module:
    if not dist.is_initialized():
        store = dist.HashStore()
        dist.init_process_group(
            "nccl" if context.is_gpu else "gloo",
            store=store,
            rank=0,
            world_size=1,
            device_id=context.on if context.is_gpu else None,
        )
    return DistributedDataParallel(network, gradient_as_bucket_view=True)


def _prepared(
    variant: Variant, make: Callable[[], Trainee], batch: Batch, findings: Findings
) -> Trainee | None:
    """A way after its first two steps, or None, noting why, if it cannot take them."""
    _free()
    start = time.perf_counter()
    try:
        with inductor.patch(dict(variant.compiler)):  # read as graphs are compiled
            trainee = make()
            _, first = timed_step(trainee, batch)
            first_s = time.perf_counter() - start
            _, second = timed_step(trainee, batch)
        losses = [first.item(), second.item()]
    except Exception as error:
        findings.note(variant.name, failed=f"{type(error).__name__}: {str(error)[:400]}")
        return None
    peak = torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else None
    findings.note(variant.name, prepared_s=first_s, losses=losses, peak_gib=peak)
    return trainee


def _interleaved(
    ready: Mapping[str, Trainee], batch: Batch, seconds: float
) -> dict[str, list[StepTime]]:
    """Steps of all in turn, so that what disturbs one disturbs the others."""
    times: dict[str, list[StepTime]] = {name: [] for name in ready}
    switch = torch.backends.cuda.matmul
    for _ in rounds(seconds):
        for name, trainee in ready.items():
            times[name].append(timed_step(trainee, batch)[0])
        if VARIANTS[0].name in ready:  # the same graph, another switch of cuBLAS
            switch.allow_bf16_reduced_precision_reduction = True
            step, _ = timed_step(ready[VARIANTS[0].name], batch)
            switch.allow_bf16_reduced_precision_reduction = False
            times.setdefault(f"ours, {BF16_SUMS}", []).append(step)
    return times


def _conclude(
    times: Mapping[str, list[StepTime]],
    batch: Batch,
    case: Case,
    context: Context,
    findings: Findings,
) -> None:
    """A line each: tokens/s, MFU, and how that compares with the peer and with ours."""
    tokens = batch.tokens_BT.numel()
    medians = {name: statistics.median(s.step_s for s in steps) for name, steps in times.items()}
    for name, step_s in medians.items():
        rate = tokens / step_s
        used = mfu.mfu(case.config, rate, device_name(context.on), "bf16", 1)
        steps = times[name]
        findings.note(
            name,
            tokens_per_s=rate,
            mfu=used,
            steps=len(steps),
            step_s=[min(s.step_s for s in steps), step_s, max(s.step_s for s in steps)],
            **{
                part: statistics.median(getattr(s, part) for s in steps)
                for part in ("forward_s", "backward_s", "update_s")
            },
        )
        ratios = [
            f"{medians[other] / step_s:.3f} x {other}"
            for other in (PEER, VARIANTS[0].name)
            if other in medians and other != name
        ]
        share = [] if used is None else [f"MFU {used:.1%}"]
        findings.line(", ".join([f"{name:<26}{rate:>12,.0f} tokens/s", *share, *ratios]))


def _profile(trainee: Trainee, batch: Batch, out: Path) -> None:
    """Where the time of a step goes, by kernel."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        timed_step(trainee, batch)
    table = seen.key_averages().table("cuda_time_total", row_limit=45, max_name_column_width=90)
    out.write_text(table)


def _free() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
