"""How many sequences go through the network at once, found by trial where memory is a GPU's own.

Shape key: B sequences, T positions.
"""

import gc
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from model.flops import params_allocated
from training.config import TrainConfig
from training.distributed import Ranks
from training.kernels import forget_graphs
from training.memory import Head, parts, state_bytes, too_large

# Devices whose memory ends with an error. (A CPU's ends with a kill, and its rule is a small pass.)
TRIED_ON: tuple[str, ...] = ("cuda",)


def is_out_of_memory(error: BaseException) -> bool:
    """torch raises its own error for a GPU and a plain RuntimeError for the CPU."""
    if isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error):
        return True
    return isinstance(error, torch.OutOfMemoryError | MemoryError)


def sequences_that_fit(
    network: nn.Module,
    config: TrainConfig,
    ranks: Ranks,
    autocast: Callable[[], AbstractContextManager[object]],
    first: int,
    head: Head,
) -> int:
    """Sequences of a pass for which every rank has room: `first`, or half of it, and so on.

    Tried by a forward and backward pass in which no rank waits for another, beside room for what
    is allocated only later. A rank that fails halves for all. Nothing upwards is tried: each size
    is compiled anew, and the estimate fills a GPU already. Leaves no gradient, and weights and
    random state as they were. torch.OutOfMemoryError, on all ranks and with what would help, where
    one sequence is too much.
    """
    sequences = config.schedule.batch_tokens // config.model.block_size // ranks.world_size
    size, device = first, ranks.device
    while True:
        fits = _fits(network, config, device, autocast, size)
        network.zero_grad(set_to_none=True)
        gc.collect()  # a pass that failed leaves cycles
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
        failed, at_one = ranks.sum(float(not fits), float(size == 1))
        if not failed:
            return size
        if at_one:  # together, since ranks on GPUs of two sizes begin with two
            memory = torch.cuda.mem_get_info(device)[1] if device.type == "cuda" else None
            raise torch.OutOfMemoryError(too_large(config, head, memory))
        size = parts(sequences, size // 2)
        forget_graphs()


def _fits(
    network: nn.Module,
    config: TrainConfig,
    device: torch.device,
    autocast: Callable[[], AbstractContextManager[object]],
    size: int,
) -> bool:
    """Whether memory suffices for a pass that is not the first of a step, nor of the run."""
    model = config.model
    alone = network.no_sync() if isinstance(network, DistributedDataParallel) else nullcontext()
    try:
        # The gradients of the passes before, and the optimizer's moments.
        later = torch.empty(
            state_bytes(config) - 4 * params_allocated(model), dtype=torch.uint8, device=device
        )
        ids_N = torch.arange(size * model.block_size, device=device) % model.vocab_size
        ids_BT = ids_N.view(size, model.block_size)
        with alone:
            with autocast():
                loss = network(ids_BT, ids_BT)
            loss.backward()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        del later
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return False
    return True
