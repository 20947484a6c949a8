"""What a grid may hold beside its IsoFLOP cells: horizons, a scout, a tuning study, controls."""

from dataclasses import dataclass
from typing import Literal

from configs.errors import BadInput, require_positive

# Which part of a sweep a trial belongs to; fits use `grid` and `horizons`, and list the others.
Arm = Literal["grid", "horizons", "tuning", "scout", "control_long_warmup", "control_long_cosine"]


@dataclass(frozen=True)
class HorizonsConfig:
    """Sizes x horizons: every size trained to every horizon (approach 1 and the surface).

    sizes             a number: rungs evenly spaced between the optima of the lowest and the highest
                      budget; or a list of shapes, as 6x256
    tokens_per_param  horizons as multiples of each size's N_effective, or
    tokens            horizons that all sizes share
    """

    sizes: tuple[str, ...] | int
    tokens_per_param: tuple[float, ...] | None = None
    tokens: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if (self.tokens_per_param is None) == (self.tokens is None):
            raise BadInput(
                "grid.horizons: found tokens_per_param and tokens both or neither, expected one"
            )
        for name in ("tokens_per_param", "tokens"):
            _require_rising(f"grid.horizons.{name}", getattr(self, name))
        if isinstance(self.sizes, int):
            require_positive("grid.horizons", self, "sizes")


@dataclass(frozen=True)
class ScoutConfig:
    """Two coarse valleys at low budgets, run first: they say where the grid's centre lies.

    budgets  two; null: the lowest of the grid and four times it
    sizes    rungs a valley, over a factor `span` on both sides of the centre supposed
    """

    budgets: tuple[float, float] | None
    sizes: int
    span: float

    def __post_init__(self) -> None:
        if self.budgets is not None:
            _require_rising("grid.scout.budgets", self.budgets)
        if self.sizes < 3:
            raise BadInput(f"grid.scout.sizes: found {self.sizes}, expected 3 or more")
        if self.span <= 1:
            raise BadInput(f"grid.scout.span: found {self.span:g}, expected more than 1")


@dataclass(frozen=True)
class CellConfig:
    """A cell by name: its budget and its shape, as 6x256; null: the expected optimum."""

    flops: float
    shape: str | None = None

    def __post_init__(self) -> None:
        require_positive("grid.tuning.cells", self, "flops")


@dataclass(frozen=True)
class TuningConfig:
    """Learning rate x batch at a few cells, run before the grid; corrects the rules' coefficients.

    lr_factors     multiples of the rule's rate
    batch_factors  multiples of the rule's batch
    cells          1 to 3: the centre of the lowest budget, of a middle one, and the largest size of
                   a high one; or a list of cells
    cost           the study's share of the grid's FLOP: the budgets are lowered to stay below
    """

    lr_factors: tuple[float, ...]
    batch_factors: tuple[float, ...]
    cells: tuple[CellConfig, ...] | int
    cost: float

    def __post_init__(self) -> None:
        for name in ("lr_factors", "batch_factors"):
            factors = getattr(self, name)
            _require_rising(f"grid.tuning.{name}", factors)
            if 1 not in factors:
                raise BadInput(f"grid.tuning.{name}: found {list(factors)}, expected 1 among them")
        if isinstance(self.cells, int) and not 1 <= self.cells <= 3:
            raise BadInput(
                f"grid.tuning.cells: found {self.cells}, expected 1 to 3, or a list of cells, as "
                "[{flops: 1e17, shape: 6x256}]"
            )
        require_positive("grid.tuning", self, "cost")


@dataclass(frozen=True)
class ControlsConfig:
    """The known mistakes, made on purpose: all sizes of a budget once more, each with one mistake.

    budgets            null: the middle one
    long_warmup_steps  a warm-up of so many steps for every size; null: no such control
    long_cosine        a cosine so many times as long as the run; null: no such control
    """

    budgets: tuple[float, ...] | None
    long_warmup_steps: int | None
    long_cosine: float | None

    def __post_init__(self) -> None:
        if self.budgets is not None:
            _require_rising("grid.controls.budgets", self.budgets)
        if self.long_warmup_steps is not None:
            require_positive("grid.controls", self, "long_warmup_steps")
        if self.long_cosine is not None and self.long_cosine <= 1:
            raise BadInput(
                f"grid.controls.long_cosine: found {self.long_cosine:g}, expected more than 1"
            )


def _require_rising(name: str, values: tuple[float, ...] | None) -> None:
    """BadInput for values that are not positive, or not in rising order."""
    if values is None:
        return
    if not values or values[0] <= 0 or list(values) != sorted(set(values)):
        raise BadInput(f"{name}: found {list(values)}, expected rising values above 0")
