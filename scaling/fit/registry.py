"""The laws that a table may be fitted with, one entry each.

A new law is a file with its fit function, an entry here, its tests, its method and its paper
(docs/contributing.md). The function and the type of its result are named, not imported, since
configs read this list.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pkgutil import resolve_name
from typing import Any


@dataclass(frozen=True)
class LawEntry:
    """What the project knows of a law.

    label      its name in a sentence
    fit        "module:function", called with (observations, resamples, seed) and `options`
    result     "module:class" of its entry in fit.json
    estimates  its key constants: field of the result, and its word in the summary
    headline   whether it states exponents that the fit is judged by
    options    fields of FitConfig that the function takes by name
    column     varied by runs of one (N, D) where the law is fitted unasked; with a sweep's tuning
    needs      columns without which the law is fitted only where it is asked for
    named      whether it is fitted only where it is named in laws=
    curves     whether it is fitted to training curves, given as `traces`
    figures    keys of its figures in a report
    cites      keys of its papers in scaling/report/paper/laws.bib
    """

    label: str
    equation: str
    source: str
    fit: str
    result: str
    estimates: Mapping[str, str] = field(default_factory=dict)
    headline: bool = False
    options: tuple[str, ...] = ()
    column: str | None = None
    needs: tuple[str, ...] = ()
    named: bool = False
    curves: bool = False
    figures: tuple[str, ...] = ()
    cites: tuple[str, ...] = ()

    @property
    def function(self) -> Callable[..., Any]:
        """The fit function."""
        found: Callable[..., Any] = resolve_name(self.fit)
        return found

    @property
    def result_type(self) -> type:
        """The class of the law's entry in fit.json."""
        found: type = resolve_name(self.result)
        return found


_EXPONENTS = {"a": "N* ~ C^a", "b": "D* ~ C^b"}
_HOFFMANN = "Hoffmann et al. 2022"
LAWS: Mapping[str, LawEntry] = {
    "isoflop": LawEntry(
        label="IsoFLOP curves",
        equation="N* = k C^a, D* = k C^b",
        source=f"{_HOFFMANN}, approach 2",
        cites=("hoffmann2022training",),
        fit="scaling.fit.isoflop.estimator:fit_isoflop",
        result="scaling.fit.results.laws:IsoflopLaw",
        estimates=_EXPONENTS,
        headline=True,
        options=("budget_tolerance", "isoflop"),
        figures=("valleys",),
    ),
    "parametric": LawEntry(
        label="parametric surface",
        equation="L = E + A N^-alpha + B D^-beta",
        source=f"{_HOFFMANN}, approach 3",
        cites=("hoffmann2022training", "besiroglu2024chinchilla"),
        fit="scaling.fit.parametric.estimator:fit_parametric",
        result="scaling.fit.results.laws:ParametricLaw",
        estimates=_EXPONENTS,
        headline=True,
        options=("delta", "objective", "surface", "loss_unit"),
        figures=("surface", "residuals"),
    ),
    "envelope": LawEntry(
        label="envelope of training curves",
        equation="N* = k C^a, D* = k C^b",
        source=f"{_HOFFMANN}, approach 1",
        cites=("hoffmann2022training",),
        fit="scaling.fit.envelope.estimator:fit_envelope",
        result="scaling.fit.results.laws:EnvelopeLaw",
        estimates=_EXPONENTS,
        curves=True,
        figures=("envelope",),
    ),
    "kaplan": LawEntry(
        label="Kaplan's laws",
        equation="L = (X_c/X)^alpha in N, D or C; [(N_c/N)^(alpha_N/alpha_D) + D_c/D]^alpha_D",
        source="Kaplan et al. 2020",
        cites=("kaplan2020scaling",),
        fit="scaling.fit.other_laws.kaplan:fit_kaplan",
        result="scaling.fit.results.other_laws:KaplanLaws",
        options=("budget_tolerance",),
        figures=("kaplan_size", "kaplan_data", "kaplan_compute"),
    ),
    "over_training": LawEntry(
        label="over-training",
        equation="L = E + (a' M^eta + b' M^-eta) C^-eta",
        source="Gadre et al. 2024",
        cites=("gadre2024language",),
        fit="scaling.fit.other_laws.over_training:fit_over_training",
        result="scaling.fit.results.other_laws:OverTrainingLaw",
        estimates={"eta": "eta", "best_multiplier": "best D/N"},
        figures=("over_training",),
    ),
    "coupled": LawEntry(
        label="coupled surface",
        equation="L = E + (A N^-alpha + B D^-beta)^k",
        source="2608.07222",
        cites=("videau2026skaling",),
        fit="scaling.fit.parametric.form_laws:fit_coupled",
        result="scaling.fit.results.laws:FormLaw",
        estimates={"k": "k", "a": "a", "E": "E"},
        options=("delta", "objective", "surface"),
        named=True,
    ),
    "bounded": LawEntry(
        label="bounded surface",
        equation="L = E + (log V - E) h/(1 + h), h = A N^-alpha + B D^-beta",
        source="2605.09189",
        cites=("bryant2026practical",),
        fit="scaling.fit.parametric.form_laws:fit_bounded",
        result="scaling.fit.results.laws:FormLaw",
        estimates={"a": "a", "E": "E"},
        options=("delta", "objective", "surface", "loss_unit"),
        named=True,
    ),
    "data_constrained": LawEntry(
        label="repeated data",
        equation="L = E + A N'^-alpha + B D'^-beta",
        source="Muennighoff et al. 2023",
        cites=("muennighoff2023scaling",),
        fit="scaling.fit.other_laws.data_constrained:fit_data_constrained",
        result="scaling.fit.results.other_laws:DataConstrainedLaw",
        estimates={"R_D": "R_D*", "R_N": "R_N*"},
        options=("delta", "objective", "repeats_surface"),
        needs=("unique_tokens",),
        figures=("repeated_data",),
    ),
    "minima": LawEntry(
        label="minima alone",
        equation="N* = k C^a, D* = k' C^b",
        source=f"{_HOFFMANN}, 3.2",
        cites=("hoffmann2022training",),
        fit="scaling.fit.other_laws.minima:fit_minima",
        result="scaling.fit.results.other_laws:MinimaLaw",
        estimates={**_EXPONENTS, "a_plus_b": "a + b"},
        named=True,
    ),
    "learning_curve": LawEntry(
        label="learning curves",
        equation="L = E + (D_c/D)^alpha",
        source="Hestness et al. 2017",
        cites=("hestness2017deep",),
        fit="scaling.fit.other_laws.learning_curve:fit_learning_curves",
        result="scaling.fit.results.other_laws:LearningCurveLaw",
        figures=("learning_curve",),
    ),
    "critical_batch": LawEntry(
        label="critical batch size",
        equation="(S/S_min - 1)(E/E_min - 1) = 1, B_crit = E_min/S_min = B*/L^(1/alpha_B)",
        source="McCandlish et al. 2018; Kaplan et al. 2020",
        cites=("mccandlish2018empirical", "kaplan2020scaling"),
        fit="scaling.fit.batches.critical_batch:fit_critical_batch",
        result="scaling.fit.results.critical_batch:CriticalBatchLaw",
        estimates={"B_star": "B*", "alpha_B": "alpha_B"},
        named=True,
        curves=True,
        figures=("critical_batch",),
    ),
    "size_and_steps": LawEntry(
        label="size and least steps",
        equation="L = (N_c/N)^alpha_N + (S_c/S_min)^alpha_S, S_min = S/(1 + B_crit(L)/B)",
        source="Kaplan et al. 2020",
        fit="scaling.fit.batches.size_and_steps:fit_size_and_steps",
        result="scaling.fit.results.critical_batch:SizeAndStepsLaw",
        estimates={"alpha_N": "alpha_N", "alpha_S": "alpha_S", "alpha_C": "alpha_C"},
        options=("critical_batch",),
        named=True,
        curves=True,
        figures=("size_and_steps",),
        cites=("kaplan2020scaling",),
    ),
    "sample_efficiency": LawEntry(
        label="sample efficiency",
        equation="D(L, N) = D_L N^-slope",
        source="Kaplan et al. 2020",
        fit="scaling.fit.other_laws.sample_efficiency:fit_sample_efficiency",
        result="scaling.fit.results.experiments:SampleEfficiencyLaw",
        estimates={"slope": "slope", "saving": "tokens of the smallest over the largest"},
        named=True,
        curves=True,
        figures=("sample_efficiency",),
        cites=("kaplan2020scaling",),
    ),
    "shape": LawEntry(
        label="shape at one size",
        equation="log L = log L* + c (log(d/n_layer) - log r*)^2",
        source="Kaplan et al. 2020",
        fit="scaling.fit.other_laws.shape:fit_shape",
        result="scaling.fit.results.experiments:ShapeLaw",
        estimates={
            "best_ratio": "best d/n_layer",
            "spread": "spread",
            "range_1": "within 1% over a factor",
            "range_3": "within 3% over a factor",
        },
        named=True,
        figures=("shape",),
        cites=("kaplan2020scaling",),
    ),
    "lr": LawEntry(
        label="learning rate",
        equation="best rate = c N^p D^q",
        source="Li et al. 2025",
        cites=("li2025predictable",),
        fit="scaling.fit.other_laws.hyperparameters:fit_learning_rate",
        result="scaling.fit.results.other_laws:TunedLaw",
        estimates={"c": "c", "p": "p", "q": "q"},
        column="lr",
        figures=("lr",),
    ),
    "batch": LawEntry(
        label="batch size",
        equation="best batch = c D^q",
        source="Li et al. 2025",
        cites=("li2025predictable",),
        fit="scaling.fit.other_laws.hyperparameters:fit_batch",
        result="scaling.fit.results.other_laws:TunedLaw",
        estimates={"c": "c", "q": "q"},
        column="batch_tokens",
        figures=("batch",),
    ),
    "batch_with_size": LawEntry(
        label="batch size by data and model size",
        equation="best batch = c N^p D^q",
        source="Li et al. 2025",
        cites=("li2025predictable",),
        fit="scaling.fit.other_laws.hyperparameters:fit_batch_with_size",
        result="scaling.fit.results.other_laws:TunedLaw",
        estimates={"c": "c", "p": "p", "q": "q"},
        column="batch_tokens",
    ),
}
HEADLINE = tuple(name for name, entry in LAWS.items() if entry.headline)
