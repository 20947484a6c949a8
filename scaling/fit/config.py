"""What a fit was asked to do, as a frozen value; torch-free."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from common.errors import BadInput
from configs.suggest import cure, one_of
from scaling.fit.registry import HEADLINE, LAWS
from scaling.fit.table.paths import expanded
from scaling.fit.table.schema import COUNTS

Objective = Literal["huber", "lad", "least_squares", "least_squares_loss", "asymmetric"]
FigureFormat = Literal["pdf", "svg", "png"]
SurfaceForm = Literal["hoffmann", "tied", "coupled", "bounded"]
ALL_ARMS = "none"  # by=: one fit of all arms together
MOST_FLOPS = 1e35  # the largest budget to predict: beyond is a slip
_UNIT_NAMES = {
    **dict.fromkeys(("k", "thousand", "thousands", "tsd"), 1e3),
    **dict.fromkeys(("m", "million", "millions"), 1e6),
    **dict.fromkeys(("b", "g", "bn", "mrd", "billion", "billions"), 1e9),
    **dict.fromkeys(("t", "trillion", "trillions"), 1e12),
}


def read_unit(value: Any, where: str) -> float:
    """A unit as a number, 1e9, or by name, B or billions; BadInput for anything else."""
    if isinstance(value, str) and (unit := _UNIT_NAMES.get(value.lower())):
        return unit
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raise BadInput(f"{where}: found {value!r}, expected a number or k, M, B or T, as 1e9 or B")


@dataclass(frozen=True)
class PredictConfig:
    """What the laws are asked.

    flops   budgets: their best size, tokens and loss
    params  sizes: the budget and tokens for which each is the best size, and its loss
    tokens  amounts of data: the size that each serves best
    pairs   [params, tokens]: the loss of that model
    losses  what reaches each: the critical batch, least steps and tokens, and least compute
    """

    flops: tuple[float, ...]
    params: tuple[float, ...]
    tokens: tuple[float, ...]
    pairs: tuple[tuple[float, float], ...]
    losses: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name, values, top in (
            ("flops", self.flops, MOST_FLOPS),
            ("params", self.params, 1e18),
            ("tokens", self.tokens, 1e21),
            ("pairs", tuple(value for pair in self.pairs for value in pair), 1e21),
            ("losses", self.losses, 50.0),
        ):
            for value in values:
                if not 1e-12 < value < top:
                    expected = f"expected above {1e-12 if value > 0 else 0:g} and below {top:g}"
                    raise BadInput(f"predict.{name}: found {value:g}, {expected}")


@dataclass(frozen=True)
class ConventionConfig:
    """Which columns are N and C.

    params  null: effective for our own sweeps, else the column `params`
    flops   null: exact for our own sweeps, else the column `flops`
    """

    params: Literal["given", "effective", "total", "matmul", "non_embedding"] | None
    flops: Literal["given", "exact", "6nd"] | None


@dataclass(frozen=True)
class IsoflopConfig:
    """How minima of IsoFLOP curves are taken.

    method  of the headline; null: the one of least simulated error of a
    window  the parabola and the shared shape see the sizes within this factor of the lowest loss
    """

    method: Literal["parabola", "parabola_all", "robust", "spline"] | None = None
    window: float = 4.0

    def __post_init__(self) -> None:
        if not 1 < self.window <= 1e6:
            raise BadInput(f"isoflop.window: found {self.window:g}, expected above 1, as 4")


@dataclass(frozen=True)
class SurfaceConfig:
    """The surface that the law `parametric` is.

    form     of the table `forms`: hoffmann, tied, coupled or bounded
    E        the irreducible loss, held there; null: fitted
    weights  a column of what each run counts in the objective; null: all count alike
    """

    form: SurfaceForm = "hoffmann"
    E: float | None = None
    weights: str | None = None

    def __post_init__(self) -> None:
        if self.E is not None and not 0 <= self.E < 50:
            raise BadInput(f"surface.E: found {self.E:g}, expected a loss, at least 0, below 50")


@dataclass(frozen=True)
class MultiplierConfig:
    """How a compute multiplier is taken.

    E  the irreducible loss above which loss turns into compute; null: fitted to both arms
    """

    E: float | None = None

    def __post_init__(self) -> None:
        if self.E is not None and not 0 <= self.E <= 50:
            raise BadInput(f"multiplier.E: found {self.E:g}, expected 0 to 50, as 1.7, or null")


@dataclass(frozen=True)
class FitConfig:
    """A fit, complete.

    compare      a table, a sweep or an earlier fit.json to set beside this fit; null: none. Of
                 several arms `baseline` names one, else where.arm
    runs         a sweep directory, a CSV, JSON-lines or Parquet table, or a list of them
    out          folder for the results; null: `fit` in the sweep, else fits/<name of the table>
    where        column: value, or a list of them; only rows with one of those values, or for
                 which a comparison holds, as >=1e18
    columns      our name: the table's name
    units        our name: what one unit of the column is, as tokens: 1e9, B or billions
    derive       a column: the arithmetic over others that gives it, as tokens: steps*batch_tokens
    by           a column; each of its values is fitted apart, into out/<value>, and is set against
                 the baseline; null: the column arm where there is one; none: all in one fit
    baseline     the value of `by`, or the arm of `compare`, that the others are measured by; null:
                 the first arm of a sweep, else the value baseline, else the first by name
    laws         laws to fit, each of which must stand; null: all that the table shows
    require      laws of which one must stand, as far as `laws` asks for them; empty: none need.
                 So laws=[kaplan] needs no headline law: Kaplan's must stand, and nothing else
    reduce       what repeated (N, D) points become: none keeps all, best the lowest loss
    holdout      top, none, or a FLOP from which on runs are kept for validation
    n_bootstrap  resamples behind every interval
    exclude      run_ids to leave out, or Names where an export has them
    seed         of every resampling
    loss_unit    nats per token, or bits per byte (it only changes what E means); bits per token
                 and perplexities are converted to nats
    decimal      comma reads 3,25 as 3.25 and 1.384.123 as 1384123 in tables of text
    incomplete   exclude leaves out and lists runs without params, tokens or loss
    rows         runs takes each row of a table of curves as a run; auto, its last of each run
    objective    of the surface, on log loss: Huber of width delta, absolute values, squares, or
                 Huber with a tenth for runs above the law (asymmetric); or squares of the loss
    delta        width of the Huber loss on log loss
    surface      its form, an irreducible loss that is held, weights of the runs
    repeats_surface  of data_constrained: fitted with the rest, or a published one, held
    critical_batch  of size_and_steps: B_crit(L) as fitted to the same curves, or Kaplan's, held
    isoflop      how minima of IsoFLOP curves are taken
    multiplier   how losses of two arms turn into compute
    budget_tolerance  relative spread in FLOP of one budget where flops_budget is not given
    figures      pdf, svg, png: writes the folder paper too, with figures at the widths of a column
                 and a page, tables in LaTeX, CSV and BibTeX
    explore      writes the explorer of published laws alone, without runs
    verbose      prints a screen of each fit, not twelve lines
    """

    runs: str | tuple[str, ...] | None
    out: str | None
    compare: str | None
    where: dict[str, Any]
    columns: dict[str, str]
    derive: dict[str, str]
    units: dict[str, Annotated[float, read_unit]]
    by: str | None
    baseline: str | None
    laws: tuple[str, ...] | None
    require: tuple[str, ...]
    reduce: Literal["none", "best"]
    holdout: Literal["top", "none"] | float
    predict: PredictConfig
    n_bootstrap: int
    exclude: tuple[str, ...]
    seed: int
    loss_unit: Literal["nats", "bpb", "bits", "ppl"]
    decimal: Literal["point", "comma"]
    incomplete: Literal["refuse", "exclude"]
    rows: Literal["auto", "runs"]
    convention: ConventionConfig
    objective: Objective
    delta: float
    surface: SurfaceConfig
    repeats_surface: Literal["fitted", "hoffmann", "besiroglu", "muennighoff_c4"]
    critical_batch: Literal["fitted", "kaplan"]
    isoflop: IsoflopConfig
    multiplier: MultiplierConfig
    budget_tolerance: float
    explore: bool = False
    figures: tuple[FigureFormat, ...] = ()
    verbose: bool = False

    def __post_init__(self) -> None:
        if not self.runs and not self.explore:
            raise BadInput("runs: missing; give a sweep directory or a table, as runs=PATH")
        if self.explore and (self.runs or self.compare):
            raise BadInput(
                "explore: found true beside runs= or compare=, expected one of them; a fit's own "
                "page has the explorer too, with its laws beside the published ones"
            )
        if twice := [path for path in self.paths if self.paths.count(path) > 1]:
            raise BadInput(f"runs: found {twice[0]} twice, expected each input once")
        if "\0" in (self.out or ""):
            raise BadInput(f"out: found {self.out!r}, expected a path without a zero character")
        if self.laws is not None and not self.laws:
            raise BadInput("laws: found an empty list, expected at least one law, or null for all")
        for key, names in (("laws", self.laws or ()), ("require", self.require)):
            if unknown := [name for name in names if name not in LAWS]:
                raise BadInput(f"{key}: found {unknown[0]!r}, expected {one_of(unknown[0], LAWS)}")
        asked_apart = self.laws and self.require and not set(self.require) & set(self.laws)
        if asked_apart and self.require != HEADLINE:
            raise BadInput(
                f"require: found {', '.join(self.require)}, but laws= asks for none of them; "
                "name one in both"
            )
        if not 0 <= self.n_bootstrap <= 1_000_000:
            raise BadInput(f"n_bootstrap: found {self.n_bootstrap}, expected 0 to 1000000")
        for name, unit in self.units.items():
            if name not in COUNTS:
                raise BadInput(f"units.{name}: no column with units; {cure(name, COUNTS)}")
            if not 0 < unit < 1e30:
                raise BadInput(f"units.{name}: found {unit:g}, expected above 0 and below 1e30")
        if both := set(self.derive) & set(self.columns):
            name = min(both)
            raise BadInput(f"derive.{name}: columns.{name} gives it too, expected one of them")
        if self.seed < 0:
            raise BadInput(f"seed: found {self.seed}, expected at least 0")
        if isinstance(self.holdout, float) and self.holdout <= 0:
            raise BadInput(f"holdout: found {self.holdout:g}, expected top, none or a FLOP above 0")
        if not 1e-12 <= self.delta <= 1:
            raise BadInput(f"delta: found {self.delta:g}, expected 1e-12 to 1")
        if not 0 < self.budget_tolerance < 1:
            raise BadInput(
                f"budget_tolerance: found {self.budget_tolerance:g}, expected between 0 and 1"
            )

    @property
    def asked(self) -> tuple[str, ...]:
        """The laws to fit: those named, else all that there are."""
        return self.laws or tuple(name for name, law in LAWS.items() if not law.named)

    @property
    def needs_loss(self) -> bool:
        """Whether any of the laws to fit is one of losses: lines through minima are of none."""
        return self.laws != ("minima",)

    @property
    def paths(self) -> tuple[str, ...]:
        """The inputs, at least one: those that a pattern matches, each in order of its name."""
        return expanded((self.runs,) if isinstance(self.runs, str) else tuple(self.runs or ()))
