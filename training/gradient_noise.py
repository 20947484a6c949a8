"""What a step tells beside its loss: the size of its update, and how noisy its gradient is.

Both only look: with `runtime.instruments` on or off the weights are the same to the last bit.

Gradient noise scale (McCandlish et al. 2018, arXiv 1812.06162, appendix A.1): the mean gradient of
n independent sequences has E|g_n|^2 = |G|^2 + tr(Sigma) / n, so two sizes b < B of batch give both
terms, and B_simple = tr(Sigma) / |G|^2 is the batch beyond which more sequences help little. The
small batches are the first of the parts in which each rank adds up a step's gradient; the large
one is the whole step, before clipping.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

DECAY = 0.95  # of both averages, by measurement: over the last twenty or so


def two_batches(
    small_square: float, small: float, large_square: float, large: float
) -> tuple[float, float]:
    """Unbiased |G|^2 and tr(Sigma) from mean squared norms at two batch sizes, small < large.

    tr(Sigma) is that of one unit of the sizes. Either may come out negative.
    """
    square = (large * large_square - small * small_square) / (large - small)
    trace = (small_square - large_square) / (1 / small - 1 / large)
    return square, trace


@dataclass
class NoiseScale:
    """B_simple as a ratio of two running averages; a running average of ratios would be biased."""

    square: float = 0.0
    trace: float = 0.0

    def add(self, square: float, trace: float) -> None:
        """Take in one measurement. Both averages begin at 0, which their ratio does not show."""
        self.square = DECAY * self.square + (1 - DECAY) * square
        self.trace = DECAY * self.trace + (1 - DECAY) * trace

    @property
    def value(self) -> float | None:
        """In the unit of the sizes; None until both averages are positive."""
        return self.trace / self.square if self.square > 0 and self.trace > 0 else None


class GradientNoiseProbe:
    """The instruments of one step; `parts` are the sequences of each micro-batch of a rank."""

    def __init__(
        self, parameters: Sequence[nn.Parameter], parts: Sequence[int], ranks: int, block_size: int
    ) -> None:
        self._parameters = parameters
        self._parts = parts
        self._ranks = ranks
        self._small = block_size * parts[0]
        self._large = block_size * sum(parts) * ranks
        self._norms: list[Tensor] = []
        self.update_ratio = torch.zeros(())

    @property
    def has_noise(self) -> bool:
        """Whether there are two sizes of batch to compare."""
        return len(self._parts) * self._ranks > 1

    @contextmanager
    def gradients(self) -> Iterator[None]:
        """Note the first gradient of each weight, before it is added to and ranks exchange it."""
        watched = self._parameters if self.has_noise else ()
        handles: list[RemovableHandle] = []

        def note(gradient: Tensor, index: int) -> None:
            self._norms.append(torch.linalg.vector_norm(gradient))
            handles[index].remove()  # the other parts are left in peace

        handles += [p.register_hook(partial(note, index=i)) for i, p in enumerate(watched)]
        yield

    def small_square(self) -> Tensor:
        """|g|^2 of this rank's first part, a scalar on the device."""
        if not self.has_noise:
            return torch.zeros((), device=self._parameters[0].device)
        share = self._parts[0] / sum(self._parts)  # by which its loss was scaled
        return torch.stack(self._norms).square().sum() / share**2

    @contextmanager
    def update(self) -> Iterator[None]:
        """Compare the matrices before the body with those after it: `update_ratio`, a scalar."""
        weights = [p.detach() for p in self._parameters if p.ndim >= 2]
        before = [weight.clone() for weight in weights]
        yield
        size = torch.stack(torch._foreach_norm(before)).norm()
        torch._foreach_sub_(before, weights)
        self.update_ratio = torch.stack(torch._foreach_norm(before)).norm() / size

    def values(
        self, noise: NoiseScale, small_squares: float, grad_norm: float, update_ratio: float
    ) -> dict[str, float | None]:
        """What the row of metrics gains; `small_squares` is the ranks' sum.

        update_ratio        root mean square of the update over that of the weights before it,
                            over all matrices
        noise_scale_tokens  B_simple; null where there is one part on one rank
        """
        if self.has_noise:
            mean = small_squares / self._ranks
            noise.add(*two_batches(mean, self._small, grad_norm**2, self._large))
        return {
            "update_ratio": update_ratio,
            "noise_scale_tokens": noise.value if self.has_noise else None,
        }
