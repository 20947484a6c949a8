"""What a grid asks for: budgets, sizes, where the optimum is expected, repeats and rules.

Its optional parts (arms.py) are null where no file of configs/grid sets them, so that groups
compose: grid=[isoflop_m,horizons].
"""

import math
from dataclasses import dataclass

from configs.errors import BadInput, require_positive
from scaling.plan.arms import ControlsConfig, HorizonsConfig, ScoutConfig, TuningConfig
from scaling.plan.ladder import GROW, LadderName
from scaling.plan.rules import BatchName, Beta2Name, InitName, LrName, WarmupName

MAX_TRIALS = 100_000


@dataclass(frozen=True)
class CentreConfig:
    """Where the optimum is expected: `tokens_per_param` at `flops`, N growing as C^exponent.

    N is N_effective. An exponent of 0.5 means the same tokens per parameter at every budget.
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
    """Which rule sets what (scaling/plan/rules.py); the factors multiply the rules' values."""

    lr: LrName
    lr_factor: float
    batch: BatchName
    batch_factor: float
    beta2: Beta2Name
    warmup: WarmupName
    init: InitName

    def __post_init__(self) -> None:
        require_positive("grid.rules", self, "lr_factor", "batch_factor")


@dataclass(frozen=True)
class GridConfig:
    """An IsoFLOP grid.

    budgets  training FLOP of one trial, in any order
    sizes    shapes at a budget: the rungs of the ladder nearest the expected optimum in ln N; one
             number, or one for each budget
    span     with it the sizes are those nearest to a geometric row from the expected optimum
             divided by `span` to that times `span`
    ladder   a family of shapes (ladder.py), or a list of them, as [2x64, 3x96]
    seeds    runs of every cell; of the cell nearest the expected optimum (seeds_at_centre); of
             every cell of the lowest budget, where the scatter is largest
             (seeds_at_lowest_budget). The largest that applies counts; seeds follow the base's
    min_steps  a cell with fewer optimizer steps is left out: it would be warmed up, not trained

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

    def __post_init__(self) -> None:
        if not self.budgets:
            raise BadInput("grid.budgets: found an empty list, expected FLOP, as [1e17, 3e17]")
        for budget in self.budgets:
            if budget <= 0:
                raise BadInput(f"grid.budgets: found {budget:g}, expected FLOP, more than 0")
            if self.budgets.count(budget) > 1:
                raise BadInput(f"grid.budgets: found {budget:g} twice, expected different budgets")
        if len(self._counts) != len(self.budgets):
            raise BadInput(
                f"grid.sizes: found {len(self._counts)} numbers for {len(self.budgets)} budgets, "
                "expected one number, or one for each budget"
            )
        if min(self._counts) < 1:
            raise BadInput(f"grid.sizes: found {min(self._counts)}, expected 1 or more")
        require_positive(
            "grid", self, "seeds", "seeds_at_centre", "seeds_at_lowest_budget", "min_steps"
        )
        if self.span is not None and self.span <= 1:
            raise BadInput(f"grid.span: found {self.span:g}, expected more than 1")
        for budget in (self.controls and self.controls.budgets) or ():
            if budget not in self.budgets:
                raise BadInput(
                    f"grid.controls.budgets: found {budget:g}, expected one of grid.budgets, "
                    f"{', '.join(f'{known:g}' for known in sorted(self.budgets))}"
                )
        self._require_few_trials()
        if self.rules.warmup == "parameters" and self.min_steps < 200:
            raise BadInput(
                f"grid.min_steps: found {self.min_steps}, expected 200 or more with "
                "grid.rules.warmup=parameters, which warms up for 100 steps or more"
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
            if count > MAX_TRIALS:
                found = getattr(self, name)
                found = f"{len(found):,} of them" if name == "budgets" else f"{found:,}"
                raise BadInput(
                    f"grid.{name}: found {found}, which makes {count:,} trials, expected at most "
                    f"{MAX_TRIALS:,}"
                )
