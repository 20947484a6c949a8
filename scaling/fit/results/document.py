"""What a fit found, whole: `FitDocument`, of which fit.json (schema 1) is the serialisation.

The names of fields are the keys of fit.json, in their order. Laws stand in laws.py and
other_laws.py, the way to JSON and back in json_form.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from common.errors import BadInput
from common.files import read_json
from configs.schema import build
from scaling.fit.config import Objective, SurfaceForm
from scaling.fit.flags import Flag
from scaling.fit.registry import LAWS
from scaling.fit.results.checks import Diagnostics, FormRow, Holdout
from scaling.fit.results.estimate import Estimate
from scaling.fit.results.json_form import ByName, json_schema, optional, to_json
from scaling.fit.results.laws import EnvelopeLaw, Headline, IsoflopLaw, Law, ParametricLaw, Status
from scaling.fit.results.multipliers import Multiplier

SCHEMA: Literal[1] = 1
ParamsCount = Literal["given", "effective", "total", "matmul", "non_embedding"]
FlopsCount = Literal["given", "exact", "6nd"]
Constant = Literal["a", "b", "E", "alpha", "beta"]
_TYPES = ByName(lambda: {name: law.result_type for name, law in LAWS.items()})
Laws = Annotated[Mapping[str, Law], _TYPES]
L = TypeVar("L")


@dataclass(frozen=True)
class ExcludedRun:
    """A run that no law uses."""

    run_id: str
    reason: str


@dataclass(frozen=True)
class Inputs:
    """planned = used + excluded runs; observations = used - merged, the rows lost to averaging.

    `rows` are those of the training curves, of each of which the last is the run.
    """

    planned: int
    used: int
    observations: int
    merged: int
    excluded: tuple[ExcludedRun, ...]
    where: Mapping[str, Any] | None
    rows: int | None = optional()


@dataclass(frozen=True)
class Options:
    """How the laws were fitted; `failed_resamples` is the sum over the laws.

    `isoflop_method` is None where the method of the headline was chosen by the fit, `surface_E`
    where E was fitted, `surface_weights` where all runs count alike.
    """

    objective: Objective
    delta: float
    reduce: Literal["none", "best"]
    holdout: Literal["top", "none"] | float
    n_bootstrap: int
    failed_resamples: int
    seed: int
    loss_unit: Literal["nats", "bpb"]
    budget_tolerance: float
    isoflop_method: str | None = None
    isoflop_window: float = 4.0
    surface_form: SurfaceForm = "hoffmann"
    surface_E: float | None = None
    surface_weights: str | None = None


@dataclass(frozen=True)
class SourceFile:
    """An input by its path and digest."""

    path: str
    sha256: str


@dataclass(frozen=True)
class Provenance:
    """Where the numbers come from."""

    runs: tuple[SourceFile, ...]
    own_sweep: bool
    python: str
    numpy: str
    scipy: str
    created: str


@dataclass(frozen=True)
class Convention:
    """What N and C count."""

    params: ParamsCount
    flops: FlopsCount


@dataclass(frozen=True)
class ConventionRow:
    """The exponents of a law under one way of counting; a reason where it is refused there."""

    params: ParamsCount
    flops: FlopsCount
    law: str
    a: Estimate
    b: Estimate
    reason: str | None


@dataclass(frozen=True)
class Prediction:
    """What a law says of a budget; `beyond` is the extrapolation factor, None inside the runs.

    `asked` is True of a budget that predict.flops names.
    """

    flops: float
    law: str
    n_opt: Estimate
    n_total: Estimate
    d_opt: Estimate
    tokens_per_param: Estimate
    loss: Estimate
    beyond: float | None
    flags: tuple[Flag, ...]
    asked: bool | None = optional()


@dataclass(frozen=True)
class Answer:
    """What a law says of a size, data, a pair, a budget or a loss; what was given has no interval.

    `form` is that of a law of one variable, which says a loss alone; `steps` and `batch` (S_min and
    B_crit, in tokens) are those to a loss.
    """

    asked: Literal["params", "tokens", "pair", "flops", "loss"]
    law: str
    flops: Estimate
    params: Estimate
    n_total: Estimate
    tokens: Estimate
    tokens_per_param: Estimate
    loss: Estimate
    beyond: float | None
    flags: tuple[Flag, ...]
    form: str | None = optional()
    steps: Estimate | None = optional()
    batch: Estimate | None = optional()


@dataclass(frozen=True)
class Ladder:
    """Table 3 of Hoffmann et al. for these laws and theirs; why its sizes are what they are."""

    sizes: Literal["paper", "scaled", "none"]
    note: str
    rows: tuple[Answer, ...]


@dataclass(frozen=True)
class ComparedEstimate:
    """One constant of both fits; apart90: whether the difference's 90% interval leaves out 0."""

    law: Headline
    name: Constant
    this: Estimate
    other: Estimate
    difference: Estimate
    apart90: bool | None


@dataclass(frozen=True)
class OtherFit:
    """What a comparison keeps of the other fit; `range` is the FLOP between which it has runs."""

    range: tuple[float, float] | None
    laws: Laws
    predictions: tuple[Prediction, ...]


@dataclass(frozen=True)
class Comparison:
    """Two fits side by side, and why they may not be comparable."""

    this: str
    other: str
    warnings: tuple[Flag, ...]
    estimates: tuple[ComparedEstimate, ...]
    other_fit: OtherFit


@dataclass(frozen=True, kw_only=True)
class FitDocument:
    """A whole fit.

    `setting` has the values of the columns in which runs must agree for their losses to be on one
    scale, of those that the table has; None in a fit.json from before it was written.
    """

    schema: Literal[1]
    status: Status
    inputs: Inputs
    options: Options
    provenance: Provenance
    convention: Convention
    warnings: tuple[Flag, ...]
    laws: Laws
    conventions: tuple[ConventionRow, ...]
    predictions: tuple[Prediction, ...]
    answers: tuple[Answer, ...]
    ladder: Ladder
    diagnostics: Diagnostics
    holdout: Holdout
    forms: tuple[FormRow, ...] = ()
    comparison: Comparison | None = optional()
    multipliers: tuple[Multiplier, ...] | None = optional()
    setting: Mapping[str, tuple[str, ...]] | None = optional()

    def law(self, name: str, kind: type[L]) -> L | None:
        """The law of that name, which is of `kind`; None where it was not asked for."""
        found = self.laws.get(name)
        assert found is None or isinstance(found, kind)
        return found

    @property
    def isoflop(self) -> IsoflopLaw | None:
        """Approach 2, if it was asked for."""
        return self.law("isoflop", IsoflopLaw)

    @property
    def parametric(self) -> ParametricLaw | None:
        """Approach 3, if it was asked for."""
        return self.law("parametric", ParametricLaw)

    @property
    def envelope(self) -> EnvelopeLaw | None:
        """Approach 1, if it was asked for."""
        return self.law("envelope", EnvelopeLaw)

    def to_json(self) -> dict[str, Any]:
        """The content of fit.json as plain JSON values."""
        values: dict[str, Any] = to_json(self)
        return values

    @classmethod
    def from_json(cls, values: Any) -> "FitDocument":
        """The fit of such values. Raises BadInput."""
        if isinstance(values, dict) and values.get("schema", SCHEMA) != SCHEMA:
            raise BadInput(f"schema {values['schema']!r}, expected {SCHEMA}")
        document: FitDocument = build(cls, values)
        minima = document.isoflop.valleys if document.isoflop else ()
        budgets = {
            "laws.isoflop.valleys": [row.flops for row in minima],
            "predictions": [row.flops for row in document.predictions],
        }
        for where, flops in budgets.items():
            for index, one in enumerate(flops):
                if not one > 0:
                    found = f"found {one}, expected more than 0"
                    raise BadInput(f"{where}.{index}.flops: {found}")
        return document

    @classmethod
    def read(cls, path: Path) -> "FitDocument":
        """The fit of a fit.json. Raises BadInput, naming file and place."""
        values = read_json(path)
        try:
            return cls.from_json(values)
        except BadInput as error:
            raise BadInput(f"{path}: {error}; expected the fit.json of this version") from None

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """The JSON schema (draft 2020-12) of fit.json."""
        return json_schema(cls)
