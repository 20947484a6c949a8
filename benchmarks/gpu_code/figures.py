"""Generated programs in figures a token: launches, bytes by what a kernel does, FLOP, memory."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.gpu_code.generate import Program

WAYS = ("forward", "backward")
# What Inductor calls a kernel by, and what it does.
_DOES = {
    "native_layer_norm_backward": "layer norm backward",
    "native_layer_norm": "layer norm",
    "embedding_dense_backward": "embedding backward",
    "embedding": "embedding",
    "gelu_backward": "gelu backward",
    "gelu": "gelu",
    "log_softmax_backward_data": "loss backward",
    "nll_loss_backward": "loss backward",
    "nll_loss_forward": "loss",
    "softmax_online": "loss",
    "log_softmax": "loss",
    "cat": "cat",
    "sum": "sum",
    "add": "add",
}
Figures = dict[str, float]


@dataclass(frozen=True)
class Rates:
    """What a device can do in a second: bytes of its memory, FLOP of products and of attention."""

    bandwidth: float
    product_flops: float
    attention_flops: float


def does(kernel: str, way: str) -> str:
    """What a Triton kernel does, by its name: the operators that were fused."""
    found = re.findall("|".join(_DOES), kernel)
    words = list(dict.fromkeys(_DOES[word] for word in found))
    if way == "forward":  # which makes some values ready for the other
        words = [word for word in words if not word.endswith("backward")]
    else:
        words = [word for word in words if f"{word} backward" not in words]
    if not words:
        return "cast" if "_to_copy" in kernel else "copy"
    return ", ".join(words)


def figures(programs: Sequence[Program], tokens: int, rates: Rates) -> Figures:
    """By name: counts of launches, bytes and FLOP a token, seconds a token of the roofline.

    Products and attention take the longer of their FLOP and their bytes; the rest its bytes.
    """
    found: Figures = {}

    def add(name: str, value: float) -> None:
        found[name] = found.get(name, 0) + value

    for way, program in zip(WAYS, programs, strict=False):
        for launch in program.launches:
            moved = (launch.read + launch.written) / tokens
            flops = launch.flops / tokens
            add(f"{way} launches", 1)
            if launch.kind in ("product", "attention"):
                peak = getattr(rates, f"{launch.kind}_flops")
                add(f"{way} {launch.kind} FLOP", flops)
                add(f"{way} {launch.kind} bytes", moved)
                add(f"seconds of {launch.kind}", max(moved / rates.bandwidth, flops / peak))
            else:
                triton = launch.kind == "triton"
                name = does(launch.name, way) if triton else launch.name
                add(f"{way} bytes", moved)
                add(f"{way} bytes of {name}", moved)
                add(f"{way} launches of {name}", 1)
                add("seconds of the rest", moved / rates.bandwidth)
    activations = [program.kept / tokens for program in programs[:1]]
    activations += [program.peak_without_results / tokens for program in programs]
    found["activation bytes kept"] = activations[0]
    found["activation bytes at the peak"] = max(activations)
    return found


def of_depth(n_layer: int, shallow: tuple[int, Figures], deep: tuple[int, Figures]) -> Figures:
    """Figures of a depth from those of two others, in which each layer adds the same."""
    (few, at_few), (more, at_more) = shallow, deep
    slope = (n_layer - more) / (more - few)
    return {
        name: value + slope * (value - at_few.get(name, 0.0)) for name, value in at_more.items()
    }
