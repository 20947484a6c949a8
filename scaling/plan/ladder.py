"""Model shapes by size: two ladders of networks, each given by one rule.

A ladder is a rising sequence of shapes; an IsoFLOP curve takes a few neighbours of them. No ladder
has a one-layer network: one layer cannot compose two attention steps (no induction), so its losses
lie on another curve than those of the deeper ones.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from common.errors import BadInput, require
from model.config import GPTConfig
from model.flops import params_effective, params_non_embedding

LadderName = Literal["grow", "fixed_depth"]

# (layers, width). Depth and width grow together, 32 to 64 of width a layer (loss hardly depends on
# the ratio there: Kaplan et al. 2020, figure 5), width in multiples of the head, through GPT-2's
# own (12, 768) to its (48, 1600).
GROW = tuple(
    zip(
        (2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 16, 20, 24, 30, 48),
        (64, 96, 128, 192, 256, 320, 384, 448, 512, 640, 768, 896, 1024, 1280, 1536, 1600),
        strict=True,
    )
)

# 2^k and 1.5 * 2^k: with the head's share of the cost, steps of 1.5 to 2.1 in N_effective.
FIXED_DEPTH_WIDTHS = tuple(width for k in range(3, 11) for width in (2**k, 3 * 2 ** (k - 1)))


def rungs(ladder: LadderName | Sequence[str], base: GPTConfig) -> tuple[GPTConfig, ...]:
    """The shapes of a ladder, smallest first; context, vocabulary and init_std are those of `base`.

    a list       shapes as 6x256: layers and width; 6x256x8: and heads
    grow         GROW; heads of 64, of 32 below a width of 192. An architecture that is not made
                 deep (model/families.py) has its most layers, of as many weights in all
    fixed_depth  base.n_layer layers at each of FIXED_DEPTH_WIDTHS, so that depth cannot put a step
                 into a curve; one head below a width of 32, two up to 64, above that heads of 32

    Raises BadInput for one layer, for what is no shape, and for a width that sizes cannot share.
    """
    if base.n_inner is not None:
        expected = "null where a grid makes the sizes: each has its own"
        raise BadInput(f"model.n_inner: found {base.n_inner}, expected {expected}")
    if not isinstance(ladder, str):
        shapes = {shape_of(text, base) for text in ladder}
        if not shapes:
            raise BadInput("grid.ladder: found an empty list, expected shapes, as [2x64, 3x96]")
        return tuple(sorted(shapes, key=params_effective))
    if ladder == "grow":
        rungs_of = [_grown(base, n_layer, d) for n_layer, d in GROW]
        family = [(n_layer, d // (64 if d >= 192 else 32), d) for n_layer, d in rungs_of]
    else:
        if base.n_layer < 2:
            raise BadInput(
                f"model.n_layer: found {base.n_layer}, expected 2 or more for "
                "grid.ladder=fixed_depth; one-layer networks follow a curve of their own"
            )
        family = [(base.n_layer, 1 if d < 32 else max(2, d // 32), d) for d in FIXED_DEPTH_WIDTHS]
    return tuple(_shape(base, *sizes) for sizes in family)


def _shape(base: GPTConfig, n_layer: int, n_head: int, n_embd: int) -> GPTConfig:
    heads = n_head if base.architecture.attends else 0
    return replace(base, n_layer=n_layer, n_head=heads, n_embd=n_embd)


def _grown(base: GPTConfig, n_layer: int, n_embd: int) -> tuple[int, int]:
    """Layers and width of a rung of GROW in the architecture of `base`.

    Where that has fewer layers, the width, a multiple of 8, at which they have GPT-2's weights.
    """
    deepest = base.architecture.deepest
    if deepest is None:
        return n_layer, n_embd
    own = params_non_embedding(_shape(base, deepest, 1, n_embd)) / n_embd**2
    gpt2 = 12 * n_layer
    return deepest, 8 * round(n_embd * math.sqrt(gpt2 / own) / 8)


def shape_of(text: str, base: GPTConfig) -> GPTConfig:
    """The network called 6x256: its heads are of 64, of 32 below a width of 192, or as near as fit.

    6x256x8 has 8 of them. Raises BadInput.
    """
    found = re.fullmatch(r"(\d+)x(\d+)(?:x(\d+))?", text)
    if not found or int(found[1]) < 2 or int(found[2]) < 1:
        raise BadInput(
            f"grid: shape: found {text!r}, expected layers (2 or more) and width, as 6x256, or "
            "with heads, as 6x256x8"
        )
    n_layer, d = int(found[1]), int(found[2])
    if found[3]:
        divides = int(found[3]) > 0 and d % int(found[3]) == 0
        require(divides, f"grid: shape {text}", f"{found[3]} heads", f"a divisor of the width {d}")
        return _shape(base, n_layer, int(found[3]), d)
    most = max(1, d // (64 if d >= 192 else 32))
    n_head = next(heads for heads in range(most, 0, -1) if d % heads == 0)
    return _shape(base, n_layer, n_head, d)


def base_shape(shape: GPTConfig) -> GPTConfig:
    """The network at which rate and initial weights are chosen: of the base, where there is one."""
    width, depth = shape.base_width or shape.n_embd, shape.base_depth or shape.n_layer
    same = (width, depth) == (shape.n_embd, shape.n_layer)
    return shape if same else shape_of(f"{depth}x{width}", shape)


def nearest(shapes: Sequence[GPTConfig], size: float, count: int) -> list[GPTConfig]:
    """The `count` shapes nearest to an N_effective of `size` in ln N, smallest first."""
    by_distance = sorted(shapes, key=lambda shape: distance(shape, size))
    return sorted(by_distance[:count], key=params_effective)


def spread(shapes: Sequence[GPTConfig], low: float, high: float, count: int) -> list[GPTConfig]:
    """`count` different shapes nearest, in the sum of squares of ln N, to a geometric row.

    The row runs from an N_effective of `low` to `high`; all shapes, where there are no more.
    """
    step = (high / low) ** (1 / max(1, count - 1))
    row = [low * step**index for index in range(count)] if count > 1 else [math.sqrt(low * high)]
    return matched(shapes, row)


def matched(shapes: Sequence[GPTConfig], row: Sequence[float]) -> list[GPTConfig]:
    """Different shapes, one for each N_effective of a rising `row`, nearest in squares of ln N.

    All shapes, where there are no more.
    """
    shapes = sorted(shapes, key=params_effective)
    if len(row) >= len(shapes):
        return shapes
    # best[j]: the least sum, and its shapes, for the row so far, the last of them before shape j.
    best: list[tuple[float, tuple[GPTConfig, ...]]] = [(0.0, ())] * (len(shapes) + 1)
    for target in row:
        ended: list[tuple[float, tuple[GPTConfig, ...]]] = [(math.inf, ())]
        for j, shape in enumerate(shapes):
            cost, chosen = best[j]
            with_it = (cost + distance(shape, target) ** 2, (*chosen, shape))
            ended.append(min(ended[-1], with_it, key=lambda item: item[0]))
        best = ended
    return list(best[-1][1])


def distance(shape: GPTConfig, size: float) -> float:
    """How far a shape's N_effective is from `size` in ln N."""
    return abs(math.log(params_effective(shape) / size))
