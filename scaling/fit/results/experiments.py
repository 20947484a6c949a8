"""What the fits of shape and of sample efficiency found: their entries of `laws` in fit.json."""

from dataclasses import dataclass

from scaling.fit.flags import Flag
from scaling.fit.results.estimate import UNKNOWN, Estimate
from scaling.fit.results.laws import Status


@dataclass(frozen=True)
class ShapeCell:
    """A network of the size: layers, width, heads (0: unknown), and its loss."""

    n_layer: int
    n_embd: int
    n_head: int
    params: float
    loss: float


@dataclass(frozen=True, kw_only=True)
class ShapeLaw:
    """log L = log L* + c (log d/L_n - log r*)^2 at one size and compute, through `cells`.

    best_ratio        r*, width over layers; unknown with a `bound` at an end of those tried
    spread            share by which the greatest loss is above the least, by the parabola
    range_1, range_3  factor of the aspect ratios tried at which it is within 1% and 3% of the least
    tried             the least and the greatest aspect ratio
    heads_spread      share between the best and the worst number of heads of one network, the most
                      of all networks that had several; None without one
    noise_sd          of log loss: between seeds where known, else what the parabola misses
    parabola          its loss at ratios in even steps of the logarithm over those tried
    """

    status: Status
    flags: tuple[Flag, ...]
    reason: str | None
    best_ratio: Estimate = UNKNOWN
    spread: Estimate = UNKNOWN
    range_1: Estimate = UNKNOWN
    range_3: Estimate = UNKNOWN
    tried: tuple[float, float] | None = None
    heads_spread: float | None = None
    noise_sd: float | None = None
    cells: tuple[ShapeCell, ...] = ()
    parabola: tuple[float, ...] = ()
    failed_resamples: int | None = None


@dataclass(frozen=True)
class TokensToLoss:
    """The tokens at which each size reached one loss."""

    loss: float
    params: tuple[float, ...]
    tokens: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class SampleEfficiencyLaw:
    """Tokens to a loss ~ N^-slope at one batch, each loss with a factor of its own.

    saving  tokens of the smallest size over those of the largest, at the loss that most sizes reach
    """

    status: Status
    flags: tuple[Flag, ...]
    reason: str | None
    slope: Estimate = UNKNOWN
    saving: Estimate = UNKNOWN
    batch_tokens: float | None = None
    levels: tuple[TokensToLoss, ...] = ()
    runs: int | None = None
    failed_resamples: int | None = None
