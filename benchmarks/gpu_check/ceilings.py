"""What the device can do at best, and whether each attention kernel computes what it should.

Shape key: B sequences, H heads, T positions, K head size, E embedding, M, N, K sides of a product.
"""

import math
import platform
import shutil
import subprocess
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import sdpa_kernel

from benchmarks.gpu_check.context import Context, Findings, median_seconds
from training.device import backends
from training.environment import device_name

# The products of GPT-2 small, by the rows and columns of their weights.
PRODUCTS = {
    "qkv": (2304, 768),
    "proj": (768, 768),
    "fc": (3072, 768),
    "out": (768, 3072),
    "head": (50304, 768),
}


def ceilings(context: Context, findings: Findings) -> Iterator[None]:
    """Copy, products and attention; nothing else may run beside."""
    backends.set_switches(1, "flash")
    findings.note("machine", **_machine(context))
    _copy(context, findings)
    _products(context, findings)
    _attention_times(context, findings)
    _attention_errors(context, findings)
    return iter(())


def _machine(context: Context) -> dict[str, object]:
    found: dict[str, object] = {
        "device": device_name(context.on),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "mps": shutil.which("nvidia-cuda-mps-control"),
    }
    if context.is_gpu:
        found["cudnn"] = torch.backends.cudnn.version()
        found["capability"] = torch.cuda.get_device_capability()
    if smi := shutil.which("nvidia-smi"):
        asked = "driver_version,clocks.sm,clocks.mem,power.limit,memory.total,compute_mode"
        words = [smi, f"--query-gpu={asked}", "--format=csv,noheader"]
        found["nvidia-smi"] = subprocess.run(
            words, capture_output=True, text=True, timeout=20
        ).stdout.strip()
    return found


def _copy(context: Context, findings: Findings) -> None:
    count = 2**20 if context.toy else 2**28
    source = torch.randn(count, device=context.on)
    target = torch.empty_like(source)
    seconds = median_seconds(lambda: target.copy_(source), context.on)
    rate = 8 * count / seconds / 1e12
    findings.note("copy", tb_per_s=rate)
    findings.line(f"copy {rate:.2f} TB/s")


def _products(context: Context, findings: Findings) -> None:
    """TFLOP/s of each product of a layer and of the head, and of both gradients."""
    rows = 64 if context.toy else 65_536
    for name, (outputs, inputs) in PRODUCTS.items():
        if context.toy:
            outputs //= 16
        shapes = (rows, inputs), (outputs, inputs), (rows, outputs)
        x_MK, w_NK, slope_MN = (
            torch.randn(shape, device=context.on, dtype=torch.bfloat16) for shape in shapes
        )
        flop = 2 * rows * inputs * outputs / 1e12

        def rate(left: Tensor, right: Tensor, by_bf16: bool = False, flop: float = flop) -> int:
            """`by_bf16`: partial sums of a long product may be added up in bf16."""
            switch = torch.backends.cuda.matmul
            switch.allow_bf16_reduced_precision_reduction = by_bf16
            seconds = median_seconds(lambda: left @ right, context.on)
            switch.allow_bf16_reduced_precision_reduction = False
            return round(flop / seconds)

        findings.note(
            f"product {name}",
            forward=rate(x_MK, w_NK.T),
            of_inputs=rate(slope_MN, w_NK),
            of_weights=rate(slope_MN.T, x_MK),
            of_weights_by_bf16=rate(slope_MN.T, x_MK, by_bf16=True),
        )
    text = ", ".join(f"{name} {findings.rows[f'product {name}']['forward']}" for name in PRODUCTS)
    findings.line(f"products {text} TFLOP/s forwards")


def _attention_times(context: Context, findings: Findings) -> None:
    """Milliseconds forwards and backwards; heads of 64 and of 128."""
    for heads in (12, 6):
        shape = (1, 64, 2304) if context.toy else (64, 1024, 2304)
        qkv_BTE = torch.randn(shape, device=context.on, dtype=torch.bfloat16)
        found: dict[str, object] = {}
        for name in backends.KERNELS:
            if name == "math" and context.is_gpu:
                continue  # its T x T weights of this batch would fill the memory
            try:
                seconds = backends.kernel_times([name], qkv_BTE, heads)[name]
                found[name] = round(1e3 * seconds, 3)
            except RuntimeError as error:
                found[name] = str(error).splitlines()[0]
        findings.note(f"attention ms, {heads} heads", **found)
        findings.line(
            f"attention, {heads} heads: "
            + ", ".join(f"{name} {ms} ms" for name, ms in found.items() if isinstance(ms, float))
        )


def _attention_errors(context: Context, findings: Findings) -> None:
    for positions in (16,) if context.toy else (64, 192, 1024):
        for negative in (False, True):
            found = attention_errors(context.on, positions, negative)
            kind = "logits of -120" if negative else "usual logits"
            # There sums of large terms that cancel have no digits left: they shall be finite.
            most = math.inf if negative else 0.05
            findings.note(f"attention errors, {positions} positions, {kind}", **found)
            wrong = [
                name
                for name, errors in found.items()
                if isinstance(errors, list) and not all(error < most for error in errors)
            ]
            if wrong:
                findings.line(f"attention, {positions} positions, {kind}: WRONG {', '.join(wrong)}")


def attention_errors(
    device: torch.device, positions: int, negative: bool
) -> dict[str, list[float] | str]:
    """Of each kernel in bf16, causal, the relative error of the output and of three gradients.

    Beside float64. `negative`: every logit of a row is far below zero, where cuDNN's backward pass
    gave NaN (pytorch issue 196678). Of a kernel that refuses, why.
    """
    generator = torch.Generator().manual_seed(positions)
    q, k, v, slope = (
        torch.randn(2, 12, positions, 64, generator=generator).to(device, torch.bfloat16)
        for _ in range(4)
    )
    if negative:
        q, k = 0.1 * q, 0.1 * k
        q[..., 0], k[..., 0] = 1.0, -120 * 8.0  # a scale of 1 / sqrt(64)

    def passes(name: str, dtype: torch.dtype) -> list[Tensor]:
        leaves = [x.detach().to(dtype).requires_grad_() for x in (q, k, v)]
        with sdpa_kernel(backends.KERNELS[name]):
            y = F.scaled_dot_product_attention(leaves[0], leaves[1], leaves[2], is_causal=True)
        return [y.detach(), *torch.autograd.grad(y, leaves, slope.to(dtype))]

    expected = passes("math", torch.float64)
    found: dict[str, list[float] | str] = {}
    for name in backends.KERNELS:
        try:
            results = passes(name, torch.bfloat16)
        except RuntimeError as error:
            found[name] = str(error).splitlines()[0][:80]
            continue
        found[name] = [
            float((a.double() - b).norm() / b.norm().clamp(min=1e-9))
            for a, b in zip(results, expected, strict=True)
        ]
    return found
