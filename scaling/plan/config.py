"""What a grid asks for: budgets, sizes, the expected optimum, repeats, rules, and optional parts.

The optional parts (horizons, a scout, a tuning study, controls) are null where no file of
configs/grid sets them, so that groups compose: grid=[isoflop_m,horizons].
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

from common.errors import BadInput, require, require_positive
from scaling.plan.ladder import GROW, LadderName
from scaling.plan.rules import BatchName, Beta2Name, InitName, LrName, WarmupName

# What a trial of a sweep is for; fits use `grid` and `horizons`, and list the others.
Part = Literal["grid", "horizons", "tuning", "scout", "control_long_warmup", "control_long_cosine"]

MAX_TRIALS = 100_000
FACTORS = (1e-3, 1e3)  # of a rule's rate or batch: beyond, no run of any rule has trained


@dataclass(frozen=True)
class CentreConfig:
    """Where the optimum is expected; N is N_effective.

    flops             a budget
    tokens_per_param  D/N of the optimum there
    exponent          N grows as C^exponent; 0.5: the same tokens per parameter at every budget
    """

    flops: float
    tokens_per_param: float
    exponent: float

    def __post_init__(self) -> None:
        require_positive("grid.centre", self, "flops", "tokens_per_param", "exponent")

    def n_effective(self, budget: float) -> float:
        """The expected optimal N_effective at `budget`, from C = 6 N D."""
        reference = math.sqrt(self.flops / (6 * self.tokens_per_param))
        return reference * (budget / self.flops) ** self.exponent


@dataclass(frozen=True)
class RulesConfig:
    """Which rule sets what (scaling/plan/rules.py).

    lr            the peak learning rate
    lr_factor     multiplies what the rule gives
    batch         tokens of a step
    batch_factor  multiplies what the rule gives
    beta2         AdamW's second beta
    warmup        tokens of the warm-up
    init          standard deviation of the matrices
    batch_multiple  batches are multiples of so many sequences, for as many ranks to divide; null:
                  launcher.devices_per_trial, as the sweep was planned with
    """

    lr: LrName
    lr_factor: float
    batch: BatchName
    batch_factor: float
    beta2: Beta2Name
    warmup: WarmupName
    init: InitName
    batch_multiple: int | None = None

    def __post_init__(self) -> None:
        require_positive("grid.rules", self, "lr_factor", "batch_factor")
        if self.batch_multiple is not None:
            require_positive("grid.rules", self, "batch_multiple")


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
    """Two coarse IsoFLOP curves at low budgets, run first: they say where the grid's centre lies.

    budgets  two; null: the lowest of the grid and four times it
    sizes    rungs a curve
    span     they lie over this factor on both sides of the expected centre
    """

    budgets: tuple[float, float] | None
    sizes: int
    span: float

    def __post_init__(self) -> None:
        _require_rising("grid.scout.budgets", self.budgets)
        require(self.sizes >= 3, "grid.scout.sizes", self.sizes, "3 or more")
        require(self.span > 1, "grid.scout.span", f"{self.span:g}", "more than 1")


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

    lr_factors     multiples of the rule's learning rate
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
            for factor in factors:
                require_factor(f"grid.tuning.{name}", factor)
            require(1 in factors, f"grid.tuning.{name}", list(factors), "1 among them")
        require(
            not isinstance(self.cells, int) or 1 <= self.cells <= 3,
            "grid.tuning.cells",
            self.cells,
            "1 to 3, or a list of cells, as [{flops: 1e17, shape: 6x256}]",
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
        _require_rising("grid.controls.budgets", self.budgets)
        if self.long_warmup_steps is not None:
            require_positive("grid.controls", self, "long_warmup_steps")
        if (times := self.long_cosine) is not None:
            require(times > 1, "grid.controls.long_cosine", f"{times:g}", "more than 1")


@dataclass(frozen=True)
class GridConfig:
    """An IsoFLOP grid.

    budgets  training FLOP of one trial, in any order
    sizes    shapes at a budget: the rungs of the ladder nearest the expected optimum in ln N; one
             number, or one for each budget
    span     with it the sizes are those nearest to a geometric row from the expected optimum
             divided by `span` to that times `span`
    ladder   a family of shapes (ladder.py), or a list of them, as [2x64, 3x96]
    seeds    runs of every cell; they follow the base's. The largest of the three numbers counts
    seeds_at_centre  runs of the cell nearest the expected optimum
    seeds_at_lowest_budget  runs of every cell of the lowest budget, where the scatter is largest
    min_steps  a cell with fewer optimizer steps is left out: it would be warmed up, not trained
    arms     recipes to compare, the first the baseline: by name what each changes of model,
             optimizer, schedule, data, precision, rules or ladder, as {gpt2: {}, muon: {optimizer:
             muon}}
    trunk    runs of one arm, size and seed share their constant rate up to each one's cool-down:
             as schedule=constant has it, with rules that know no horizon

    A cell that would see the training text more than data.max_epochs times is left out too.
    """

    budgets: tuple[float, ...]
    sizes: int | tuple[int, ...]
    ladder: tuple[str, ...] | LadderName
    centre: CentreConfig
    seeds: int
    seeds_at_centre: int
    seeds_at_lowest_budget: int
    min_steps: int
    rules: RulesConfig
    span: float | None = None
    horizons: HorizonsConfig | None = None
    scout: ScoutConfig | None = None
    tuning: TuningConfig | None = None
    controls: ControlsConfig | None = None
    arms: dict[str, dict[str, Any]] | None = None
    trunk: bool = False

    def __post_init__(self) -> None:
        budgets, counts = self.budgets, self._counts
        require(bool(budgets), "grid.budgets", "an empty list", "FLOP, as [1e17, 3e17]")
        for budget in budgets:
            require(budget > 0, "grid.budgets", f"{budget:g}", "FLOP, more than 0")
            once = budgets.count(budget) == 1
            require(once, "grid.budgets", f"{budget:g} twice", "different budgets")
        given = f"{len(counts)} numbers for {len(budgets)} budgets"
        require(
            len(counts) == len(budgets), "grid.sizes", given, "one number, or one for each budget"
        )
        require(min(counts) >= 1, "grid.sizes", min(counts), "1 or more")
        require_positive(
            "grid", self, "seeds", "seeds_at_centre", "seeds_at_lowest_budget", "min_steps"
        )
        require(self.span is None or self.span > 1, "grid.span", self.span, "more than 1")
        known = ", ".join(f"{budget:g}" for budget in sorted(budgets))
        for budget in (self.controls and self.controls.budgets) or ():
            expected = f"one of grid.budgets, {known}"
            require(budget in budgets, "grid.controls.budgets", f"{budget:g}", expected)
        self._require_few_trials()
        require(
            self.rules.warmup != "parameters" or self.min_steps >= 200,
            "grid.min_steps",
            self.min_steps,
            "200 or more with grid.rules.warmup=parameters, which warms up for 100 steps or more",
        )

    @property
    def sizes_by_budget(self) -> dict[float, int]:
        """Number of sizes at each budget, lowest budget first."""
        return dict(sorted(zip(self.budgets, self._counts, strict=True)))

    @property
    def _counts(self) -> tuple[int, ...]:
        return self.sizes if isinstance(self.sizes, tuple) else (self.sizes,) * len(self.budgets)

    def _require_few_trials(self) -> None:
        """Refuse what would be planned for hours and trained by nobody."""
        rungs = len(self.ladder) if isinstance(self.ladder, tuple) else len(GROW)
        sizes = [min(count, rungs) for count in self._counts]
        trials = {
            "budgets": sum(sizes),
            "seeds": sum(sizes) * self.seeds,
            "seeds_at_centre": len(self.budgets) * self.seeds_at_centre,
            "seeds_at_lowest_budget": rungs * self.seeds_at_lowest_budget,
        }
        for name, count in trials.items():
            value = getattr(self, name)
            found = f"{len(value):,} of them" if name == "budgets" else f"{value:,}"
            require(
                count <= MAX_TRIALS,
                f"grid.{name}",
                f"{found}, which makes {count:,} trials",
                f"at most {MAX_TRIALS:,}",
            )


def require_factor(name: str, factor: float) -> None:
    """BadInput for a multiple of a rule that only a slip of the keyboard asks for."""
    low, high = FACTORS
    require(low <= factor <= high, name, f"{factor:g}", f"{low:g} to {high:g}, as 0.5 or 2")


def _require_rising(name: str, values: tuple[float, ...] | None) -> None:
    """BadInput for values that are not positive, or not in rising order."""
    if values is not None:
        rising = bool(values) and values[0] > 0 and list(values) == sorted(set(values))
        require(rising, name, list(values), "rising values above 0")
