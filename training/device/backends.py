"""How a network is computed: the attention kernel, torch's global switches, and its compiler.

Shape key: B sequences, T positions, E embedding.
"""

import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from common.errors import BadInput
from model.config import GPTConfig
from model.gpt import attend
from training.device.attention_check import Attention, is_right

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


def attention_by(name: str) -> Attention:
    """Attention by one kernel of KERNELS; RuntimeError where torch lacks it."""

    def attention(qkv_BTE: Tensor, n_head: int) -> Tensor:
        with sdpa_kernel(KERNELS[name]):
            return attend(qkv_BTE, n_head)

    return attention


def choose_sdpa(
    model: GPTConfig,
    precision: str,
    device: torch.device,
    sequences: int,
    asked: str | None,
    kernel: Callable[[str], Attention] = attention_by,
) -> str:
    """The attention kernel by its name in KERNELS: the one asked for, or the best there is.

    Only of those that compute what `math` does (training/device/attention_check.py), and cuDNN's
    only for sequences of a multiple of 128, the sizes of its tiles. Without a GPU of CUDA's that is
    the first, so that no clock decides. On one forward and backward pass of each are timed, for a
    micro-batch of so many sequences; `math`, which writes down all T x T weights, is taken only
    where no other is right. BadInput where the one asked for is not.
    """
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    like = torch.empty(0, device=device, dtype=dtype)
    tried = (name for name in KERNELS if name != "cudnn" or model.block_size % 128 == 0)
    working = (name for name in tried if name == "math" or _works(kernel(name), model, like))
    if asked is not None:
        if asked not in (names := list(working)):
            raise BadInput(
                f"runtime.sdpa: found {asked}, expected {' or '.join(names)}: what computes "
                f"attention rightly here, in {precision} for heads of "
                f"{model.n_embd // model.n_head} and sequences of {model.block_size}"
            )
        return asked
    if device.type != "cuda":
        return next(working)
    if len(names := [name for name in working if name != "math"]) < 2:
        return names[0] if names else "math"
    shape = sequences, model.block_size, 3 * model.n_embd
    qkv_BTE = torch.empty(shape, device=device, dtype=dtype).normal_()
    return quickest(kernel_times(names, qkv_BTE, model.n_head))


def quickest(seconds: dict[str, float]) -> str:
    """The first that is about as quick as any, so that like trials of a sweep take the same."""
    return next(name for name in seconds if seconds[name] <= ABOUT * min(seconds.values()))


def _works(attention: Attention, model: GPTConfig, like: Tensor) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # in which torch says why not
            head_size = model.n_embd // model.n_head
            return is_right(attention, model.n_head, head_size, model.block_size, like)
    except torch.OutOfMemoryError:  # no word on the kernel
        raise
    except RuntimeError:
        return False


def _pass(name: str, qkv_BTE: Tensor, n_head: int) -> Callable[[], None]:
    """Attention forwards and backwards by one kernel, strided as in the network."""
    leaf_BTE = qkv_BTE.detach().requires_grad_()
    slope_BTE = torch.ones_like(qkv_BTE[..., : qkv_BTE.shape[-1] // 3])
    attention = attention_by(name)

    def run() -> None:
        torch.autograd.grad(attention(leaf_BTE, n_head), leaf_BTE, slope_BTE)

    return run


def kernel_times(names: Sequence[str], qkv_BTE: Tensor, n_head: int) -> dict[str, float]:
    """Seconds of attention forwards and backwards by each kernel: medians of runs taken in turn."""
    kernels = {name: _pass(name, qkv_BTE, n_head) for name in names}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(ROUNDS):
        for name, run in kernels.items():
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


def float64_device(device: torch.device) -> torch.device:
    """Where sums in float64 are kept: on the device, but for mps, which has none."""
    return torch.device("cpu") if device.type == "mps" else device


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
    and refuses a ninth. Of one kind of run there are at most four: a step's micro-batches and its
    last, smaller one, an evaluation's and its last.
    """
    global _traced
    if traced_for != _traced:
        forget_graphs()
        _traced = traced_for
    options = None
    if backend == "inductor" and next(network.parameters()).device.type == "cuda":
        options = compiler_options(torch.__version__) or None
    return torch.compile(  # type: ignore[return-value]
        network, dynamic=False, fullgraph=True, backend=backend, options=options
    )


def compiler_options(version: str) -> dict[str, Any]:
    """Options of torch's compiler for a GPU, by torch's version.

    Before 2.13 it fuses reductions along both axes of a tensor however many tensors they read,
    which made a step on an H100 6 ms longer (PyTorch issue 179423; not measured here); 2.13 has a
    limit on that. The user's TORCHINDUCTOR_MIX_ORDER_REDUCTION counts before it.
    """
    name = "triton.mix_order_reduction"
    has_limit = tuple(map(int, version.split(".")[:2])) >= (2, 13)
    if has_limit or "TORCHINDUCTOR_MIX_ORDER_REDUCTION" in os.environ:
        return {}
    return {name: False} if name in torch._inductor.list_options() else {}


@cache
def compiler_trouble(device_type: str) -> str | None:
    """Why torch cannot compile for a kind of device, in one line; None where it can.

    Found by compiling a sum: torch looks for what it needs (a C compiler, Python's headers, Triton)
    only when it has something to compile. What lies in its cache already needs none of them.
    """

    def total(x_N: Tensor) -> Tensor:
        return (x_N * x_N).sum()

    x_N = torch.ones(16, device=device_type, requires_grad=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.compile(total, dynamic=False)(x_N).backward()
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        return " ".join(str(error).partition("\n\n")[0].split()) or type(error).__name__
    return None


def forget_graphs() -> None:
    """Drop the graphs of this process, if it has compiled any."""
    if "torch._dynamo" in sys.modules:
        torch.compiler.reset()
