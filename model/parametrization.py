"""What width and depth do to initial weights, forward pass and optimizer; torch-free.

    standard   GPT-2's: nothing but the residual projections' initial weights knows the size
    mup        Yang et al. 2022, arXiv 2203.03466, table 8 (table 3 for a head that may be tied)
               with Adam, and attention by definition 4.1: the best learning rate and initial scale
               of the base width are those of any other
    completep  Dey et al. 2025, arXiv 2505.01618, table 1 with alpha = 1: of any depth as well

Rates, decay and init_std are those of the base width (and depth). The token embedding may be the
head too, as in the second paper's code (EleutherAI/nanoGPT-mup). The decay of hidden matrices grows
as their rate falls, so that a step decays by the same share at any width: of mup that is MuAdamW's
of the first paper's code (microsoft/mup), whose tables say nothing of decay, nor of eps.
"""

from dataclasses import dataclass, replace
from math import sqrt

from model.config import GPTConfig


@dataclass(frozen=True)
class Scales:
    """With m the width over its base and r the depth over its own (1 where that does not count).

    hidden_std       initial standard deviation of the layers' matrices: init_std / sqrt(m)
    residual_std     of those that add to the residual stream: the same / sqrt(2 n_layer), but with
                     completep, where `residual` does it
    residual         what a layer adds is multiplied by: 1 / r
    output           what the head reads is multiplied by: 1 / m
    attention        logits of attention: 1 / K for heads of K; None: 1 / sqrt(K)
    hidden_lr        the rate of the layers' matrices is multiplied by: 1 / m
    hidden_decay     and their weight decay by: m
    eps              with completep (equation 40) Adam's by 1 / m: of embeddings, head, last norm
    layer_eps        and of all that is in the layers by 1 / (m r)
    """

    hidden_std: float
    residual_std: float
    residual: float = 1.0
    output: float = 1.0
    attention: float | None = None
    hidden_lr: float = 1.0
    hidden_decay: float = 1.0
    eps: float = 1.0
    layer_eps: float = 1.0


def scales(config: GPTConfig) -> Scales:
    """The scales of a network's parametrization."""
    by_depth = sqrt(2 * config.n_layer)
    if config.parametrization == "standard":
        return Scales(config.init_std, config.init_std / by_depth)
    assert config.base_width
    width = config.n_embd / config.base_width
    hidden_std = config.init_std / sqrt(width)
    mup = Scales(
        hidden_std=hidden_std,
        residual_std=hidden_std / by_depth,
        output=1 / width,
        attention=config.n_head / config.n_embd,
        hidden_lr=1 / width,
        hidden_decay=width,
    )
    if config.parametrization == "mup":
        return mup
    assert config.base_depth
    depth = config.n_layer / config.base_depth
    return replace(
        mup,
        residual_std=hidden_std,
        residual=1 / depth,
        eps=1 / width,
        layer_eps=1 / (width * depth),
    )
