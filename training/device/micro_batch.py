"""How many sequences go through the network at once, found by trial where memory is a GPU's own."""

import gc
import time
from collections.abc import Callable
from dataclasses import replace

import torch

from model.flops import params_allocated
from training.device.backends import forget_graphs
from training.device.memory import parts, state_bytes, too_large
from training.environment import gpu_memory_bytes
from training.state import TrainState
from training.step import no_sync

# Devices whose memory ends with an error. (A CPU's ends with a kill; its rule is a small size.)
TRIED_ON: tuple[str, ...] = ("cuda",)
_OUT_OF_MEMORY = ("DefaultCPUAllocator", "Triton Error [CUDA]: out of memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error is lack of memory, or came of one: the compiler wraps what it meets.

    torch raises its own error for a GPU and a plain RuntimeError for the CPU; Triton a plain one.
    """
    chain, seen = [error], set[int]()
    while chain:
        if id(one := chain.pop()) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, torch.OutOfMemoryError | MemoryError):
            return True
        if isinstance(one, RuntimeError) and any(text in str(one) for text in _OUT_OF_MEMORY):
            return True
        origins = one.__cause__, one.__context__, getattr(one, "inner_exception", None)
        chain += [origin for origin in origins if isinstance(origin, BaseException)]
    return False


def autotune(state: TrainState, note: Callable[[str], None]) -> None:
    """On a GPU make sure, before the first step, that a micro-batch fits which no config fixes."""
    if state.ranks.device.type not in TRIED_ON or state.config.runtime.micro_batch is not None:
        return
    start, estimated = time.monotonic(), state.environment.micro_batch
    size = size_that_fits(state, estimated)
    state.environment = replace(state.environment, micro_batch=size)
    state.autotune_s = time.monotonic() - start
    seconds = f"tried in {state.autotune_s:.1f} s"
    note(f"micro-batch size {size} fits (estimated {estimated}); {seconds}")


def size_that_fits(state: TrainState, first: int) -> int:
    """Sequences of a micro-batch for which every rank has room: `first`, or half, and so on.

    Tried by a forward and backward pass in which no rank waits for another, beside room for what
    is allocated only later. A rank that fails halves for all. Nothing upwards is tried: each size
    is compiled anew, and the estimate fills a GPU already. Leaves the graph that the steps will
    run, no gradient, and weights and random state as they were. torch.OutOfMemoryError, on all
    ranks and with what would help, where one sequence is too much.
    """
    size, device = first, state.ranks.device
    while True:
        fits = _fits(state, size)
        state.network.zero_grad(set_to_none=True)
        gc.collect()  # a pass that failed leaves cycles
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
        failed, at_one = state.ranks.sum(float(not fits), float(size == 1))
        if not failed:
            return size
        if at_one:  # together, since ranks on GPUs of two sizes begin with two
            memory = gpu_memory_bytes(device, state.config.runtime.memory_share)
            raise torch.OutOfMemoryError(too_large(state.config, state.environment.head, memory))
        size = parts(state.rank_sequences, size // 2)
        forget_graphs()


def _fits(state: TrainState, size: int) -> bool:
    """Whether memory suffices for a micro-batch that is not the first of a step, nor of the run."""
    model, device = state.config.model, state.ranks.device
    try:
        # The gradients of the micro-batches before, and the optimizer's moments.
        moments = state_bytes(state.config) - 4 * params_allocated(model)
        later = torch.empty(moments, dtype=torch.uint8, device=device)
        ids_N = torch.arange(size * model.block_size, device=device) % model.vocab_size
        ids_BT = ids_N.view(size, model.block_size)
        with no_sync(state.network):
            with state.autocast():
                # Not one tensor twice, as no step has: torch would guard its graph by that.
                loss = state.network(ids_BT, ids_BT.clone())
            loss.backward()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        del later
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return False
    return True
