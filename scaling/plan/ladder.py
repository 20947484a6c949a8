"""Model shapes by size: two families of GPT-2-style networks, each given by one rule.

A ladder is a rising sequence of shapes of which an IsoFLOP valley takes a few neighbours. No ladder
has a one-layer network: one layer cannot compose two attention steps (no induction), so its losses
lie on another curve than those of the deeper ones.
"""

from dataclasses import replace
from typing import Literal

from configs.errors import BadInput
from model.config import GPTConfig

LadderName = Literal["grow", "fixed_depth"]

# (layers, width). Depth and width grow together, 32 to 64 of width a layer (loss hardly depends on
# the ratio there: Kaplan et al. 2020, figure 5), width in multiples of the head, through GPT-2's
# own (12, 768) to its (48, 1600).
GROW = (
    (2, 64),
    (3, 96),
    (4, 128),
    (5, 192),
    (6, 256),
    (7, 320),
    (8, 384),
    (9, 448),
    (10, 512),
    (11, 640),
    (12, 768),
    (16, 896),
    (20, 1024),
    (24, 1280),
    (30, 1536),
    (48, 1600),
)

# 2^k and 1.5 * 2^k: with the head's share of the cost, steps of 1.5 to 2.1 in N_effective.
FIXED_DEPTH_WIDTHS = tuple(width for k in range(3, 11) for width in (2**k, 3 * 2 ** (k - 1)))


def rungs(name: LadderName, base: GPTConfig) -> tuple[GPTConfig, ...]:
    """The shapes of a ladder, smallest first; context, vocabulary and init_std are those of `base`.

    grow         GROW; heads of 64, of 32 below a width of 192
    fixed_depth  base.n_layer layers at each of FIXED_DEPTH_WIDTHS, so that depth cannot put a step
                 into a valley; one head below a width of 32, two up to 64, above that heads of 32

    Raises BadInput for a fixed depth of one layer.
    """
    if name == "grow":
        shapes = [(n_layer, d // (64 if d >= 192 else 32), d) for n_layer, d in GROW]
    else:
        if base.n_layer < 2:
            raise BadInput(
                f"model.n_layer: found {base.n_layer}, expected 2 or more for "
                "grid.ladder=fixed_depth; one-layer networks follow a curve of their own"
            )
        shapes = [(base.n_layer, 1 if d < 32 else max(2, d // 32), d) for d in FIXED_DEPTH_WIDTHS]
    return tuple(
        replace(base, n_layer=n_layer, n_head=n_head, n_embd=n_embd)
        for n_layer, n_head, n_embd in shapes
    )
