"""How a network is computed: the attention kernel, chosen once, and torch's global switches.

Shape key: B sequences, T positions, E embedding.
"""

import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from configs.errors import BadInput
from model.config import GPTConfig
from model.gpt import attend

# By the names of runtime.sdpa, in the order in which torch 2.13 tries them on most devices.
KERNELS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "math": SDPBackend.MATH,
}
ROUNDS = 11
ABOUT = 1.03
_traced: object = None  # what the graphs of this process were traced for


def choose_sdpa(
    model: GPTConfig, precision: str, device: torch.device, sequences: int, asked: str | None
) -> str:
    """The attention kernel by its name in KERNELS: the one asked for, or the best there is.

    On a CPU that is the first that works, so that no clock decides. On a GPU forward and backward
    pass of those that work are timed, in the shape of a pass of so many sequences; `math`, which
    writes down all T x T weights, is taken only where nothing else works. BadInput where the one
    asked for does not work.
    """
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    qkv_BTE = torch.zeros(1, model.block_size, 3 * model.n_embd, device=device, dtype=dtype)
    working = (name for name in KERNELS if _works(name, qkv_BTE, model.n_head))
    if asked is not None:
        if asked not in (names := list(working)):
            raise BadInput(
                f"runtime.sdpa: found {asked}, expected {' or '.join(names)}: what torch has here "
                f"for {precision} and heads of {model.n_embd // model.n_head}"
            )
        return asked
    if device.type == "cpu":
        return next(working)
    if len(names := [name for name in working if name != "math"]) < 2:
        return names[0] if names else "math"
    return quickest(kernel_times(names, qkv_BTE.repeat(sequences, 1, 1).normal_(), model.n_head))


def quickest(seconds: dict[str, float]) -> str:
    """The first that is about as quick as any, so that like trials of a sweep take the same."""
    return next(name for name in seconds if seconds[name] <= ABOUT * min(seconds.values()))


def _works(name: str, qkv_BTE: Tensor, n_head: int) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # in which torch says why not
            _pass(name, qkv_BTE, n_head)()
        if qkv_BTE.device.type == "cuda":
            torch.cuda.synchronize(qkv_BTE.device)
    except RuntimeError:
        return False
    return True


def _pass(name: str, qkv_BTE: Tensor, n_head: int) -> Callable[[], None]:
    """Attention forwards and backwards by one kernel, strided as in the network."""
    leaf_BTE = qkv_BTE.detach().requires_grad_()
    slope_BTE = torch.ones_like(qkv_BTE[..., : qkv_BTE.shape[-1] // 3])

    def run() -> None:
        with sdpa_kernel(KERNELS[name]):
            y_BTE = attend(leaf_BTE, n_head)
        torch.autograd.grad(y_BTE, leaf_BTE, slope_BTE)

    return run


def kernel_times(names: Sequence[str], qkv_BTE: Tensor, n_head: int) -> dict[str, float]:
    """Seconds of attention forwards and backwards by each kernel: medians of runs taken in turn."""
    passes = {name: _pass(name, qkv_BTE, n_head) for name in names}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(ROUNDS):
        for name, run in passes.items():
            seconds[name].append(_seconds(run, qkv_BTE.device))
    return {name: statistics.median(values[1:]) for name, values in seconds.items()}


def _seconds(run: Callable[[], None], device: torch.device) -> float:
    if device.type != "cuda":
        start = time.perf_counter()
        run()
        return time.perf_counter() - start
    before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    before.record()
    run()
    after.record()
    after.synchronize()
    return before.elapsed_time(after) / 1e3


def set_switches(threads: int, sdpa: str) -> None:
    """Set what of torch's global state changes a result: all of it, whatever a run before left.

    Float32 means float32: no TF32. Partial sums of a product in bf16 are added up in float32,
    though torch would let cuBLAS round them to bf16 where it splits a long sum, as in every
    weight's gradient; then the result does not hang on how a library cuts it up.
    """
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision("highest")
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    torch.backends.cuda.enable_flash_sdp(sdpa == "flash")  # a CPU heeds this and math's
    torch.backends.cuda.enable_mem_efficient_sdp(sdpa == "efficient")
    torch.backends.cuda.enable_cudnn_sdp(sdpa == "cudnn")
    torch.backends.cuda.enable_math_sdp(sdpa == "math")
    # Nor does the key of the compiler's cache on disk (2.13, AOTAutogradCacheDetails) know of them.
    torch.compiler.config.cache_key_tag = f"sdpa={sdpa}"


def compiled(
    network: nn.Module, traced_for: object, backend: str | Callable[..., Any] = "inductor"
) -> nn.Module:
    """`network` as one graph for each shape of a batch, kept for all runs of equal `traced_for`.

    A graph holds its attention kernel, of which torch's guards (2.13, GlobalStateGuard) do not
    know, so it belongs to `traced_for`. Other graphs are dropped, since torch keeps 8 of a function
    and refuses a ninth. Of one kind of run there are at most four: a step's passes and its last,
    smaller one, an evaluation's and its last.
    """
    global _traced
    if traced_for != _traced:
        forget_graphs()
        _traced = traced_for
    return torch.compile(network, dynamic=False, fullgraph=True, backend=backend)  # type: ignore


def forget_graphs() -> None:
    """Drop the graphs of this process, if it has compiled any."""
    if "torch._dynamo" in sys.modules:
        torch.compiler.reset()
