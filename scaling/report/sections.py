"""The report in order: its sections with words, pictures and tables, for page and Markdown."""

from dataclasses import dataclass
from typing import Any

from scaling.fit.observations import Observations
from scaling.report import answers, holdout, tables
from scaling.report.charts import KEYS
from scaling.report.further import further
from scaling.report.tables import Table
from scaling.report.wording import law_name, reason, stands, valley_curves


@dataclass(frozen=True)
class Picture:
    """One figure; `absent` is the reason where it cannot be drawn."""

    key: str
    title: str
    caption: str
    absent: str | None = None


@dataclass(frozen=True)
class Section:
    """One heading with an opening sentence, pictures, then titled tables (long ones folded)."""

    key: str
    title: str
    lead: str
    pictures: tuple[Picture, ...] = ()
    tables: tuple[tuple[str, Table], ...] = ()
    folded: bool = False


def sections(
    document: dict[str, Any], observations: Observations, scene: dict[str, Any]
) -> tuple[Section, ...]:
    """Everything below the verdict except the method."""
    token = scene["axes"]["token"]
    drawn = pictures(document, scene)
    compared = (_comparison(document),) if document.get("comparison") else ()
    return (
        Section(
            "result",
            "Exponents",
            "How the best size N* and the best data D* grow with compute C. Intervals are 90%.",
            (),
            (("", tables.exponents(document)),),
        ),
        *compared,
        Section(
            "allocation",
            "The best model for a budget",
            "Each point is the vertex of one valley with its 90% interval; each line is a law. "
            "Lines are solid where budgets were measured and dotted beyond.",
            (drawn["allocation"],),
        ),
        Section(
            "valleys",
            "IsoFLOP valleys",
            "At one budget, a small model sees much data and a large one little; between them "
            "lies the least loss.",
            (drawn["valleys"],),
            (("", tables.valleys(document, token)),),
        ),
        Section(
            "surface",
            "The fitted surface",
            "One surface for all runs: L(N, D) = E + A / N^α + B / D^β.",
            (drawn["surface"], drawn["residuals"]),
        ),
        Section(
            "curves",
            "Training curves",
            "The loss logged along each run, against compute spent. Points are the final held-out "
            "losses: they alone enter the fits.",
            (drawn["curves"], *_charts(scene, "envelope")),
        ),
        *_further(document, scene),
        Section(
            "predictions",
            "Predictions and the held-out budget",
            "What each law says of a budget. Beyond the largest budget measured, an interval says "
            "nothing of whether the form still holds.",
            (),
            (
                ("Predictions", tables.predictions(document, token)),
                ("Sizes and data asked for", answers.answers(document, token)),
                ("Held-out budget", holdout.holdout(document)),
                ("Each budget, by the runs below it", holdout.rolling(document)),
            ),
        ),
        Section(
            "ladder",
            "What it takes to make a size the best",
            "Table 3 of Hoffmann et al. for the laws of this fit: the compute and data at which "
            f"each size is the best one. Sizes: {answers.ladder_note(document)}. Their rows are "
            "their own surface, of their corpus, tokenizer and count of parameters.",
            (),
            (("", answers.ladder(document, token)),),
            folded=True,
        ),
        Section(
            "diagnostics",
            "Which runs the fit leans on",
            "Each run is left out in turn and the law fitted again. Leverage is a run's share in "
            "the surface's value at its own place; five constants share out a sum of 5. An "
            f"outlier is a {answers.outlier_rule(document)}. Nothing is dropped from the headline.",
            (),
            (
                ("Runs of most influence", answers.influence(document)),
                ("Outliers", answers.outliers(document)),
                ("With and without them", answers.without_outliers(document)),
                ("Residuals by budget", answers.residuals_by_budget(document)),
            ),
        ),
        Section(
            "parameters",
            "Every estimate",
            "All constants of all laws that stand, with 90% intervals.",
            (),
            (("", tables.parameters(document)),),
        ),
        Section(
            "conventions",
            "Conventions",
            "The same runs, counted differently. The headline uses "
            f"{scene['axes']['params']} and {scene['axes']['flops']}.",
            (),
            (("", tables.conventions(document)),),
        ),
        Section(
            "runs",
            "Runs",
            "Every run planned is used or excluded with a reason.",
            (),
            (
                ("Account", tables.accounting(document)),
                ("Excluded", tables.exclusions(document)),
            ),
        ),
        Section(
            "observations",
            "Observations",
            "Every point of the fits.",
            (),
            (("", tables.observations_table(observations, token)),),
            folded=True,
        ),
        Section("warnings", "Warnings", "", (), (("", tables.warnings(document)),)),
        Section(
            "provenance",
            "Provenance",
            "What made these numbers.",
            (),
            (("", tables.provenance(document)),),
            folded=True,
        ),
    )


def _comparison(document: dict[str, Any]) -> Section:
    found = document["comparison"]
    return Section(
        "comparison",
        "Two fits side by side",
        f"This fit reads {found['this']}; the other is {found['other']}. The interval of a "
        "difference follows from the two intervals, for fits of different runs. The figure below "
        "shows the laws of both.",
        (),
        (
            ("Estimates", answers.comparison(document)),
            ("Why they may not be comparable", answers.comparison_warnings(document)),
        ),
    )


def _further(document: dict[str, Any], scene: dict[str, Any]) -> tuple[Section, ...]:
    """The laws beside the headline, where any was fitted."""
    table = further(document)
    if not table.rows:
        return ()
    return (
        Section(
            "further",
            "Further laws",
            "What the same runs say by other laws. None of them decides the headline, and each has "
            "assumptions of its own (docs/method.md).",
            _charts(scene, *(key for key in KEYS if key != "envelope")),
            (("", table),),
        ),
    )


def _charts(scene: dict[str, Any], *keys: str) -> tuple[Picture, ...]:
    return tuple(
        Picture(chart["key"], chart["title"], chart["caption"])
        for chart in scene["charts"]
        if chart["key"] in keys
    )


def pictures(document: dict[str, Any], scene: dict[str, Any]) -> dict[str, Picture]:
    """The five figures with their captions, in the order of the report."""
    laws = document.get("laws") or {}
    refused = [
        f"{law_name(key)}: refused, {reason(law)}"
        for key, law in laws.items()
        if isinstance(law, dict) and law.get("status") == "refused"
    ]
    noted = f" Not drawn: {'; '.join(refused)}." if refused else ""
    no_surface = _refusal(laws.get("parametric"), "parametric surface")
    axes = scene["axes"]
    shape = (
        f"{valley_curves(laws['isoflop'])} A diamond with a bar is a vertex with its 90% interval."
        if stands(laws.get("isoflop"))
        else f"Runs only: {_refusal(laws.get('isoflop'), 'law of the valleys')}."
    )
    averaged = bool(scene["seeds"]["run_id"])
    seeds = " Small faint markers are the single seeds of an average." if averaged else ""
    return {
        "allocation": Picture(
            "allocation",
            "N* and D* against compute",
            f"Optimal parameters and optimal training {axes['token']}s for a given compute, both "
            f"axes logarithmic.{noted}",
            None if any(law["line"] for law in scene["laws"].values()) else _no_law(refused),
        ),
        "valleys": Picture(
            "valleys",
            "Loss against size at each budget",
            f"One colour and shape a budget, lighter for more compute. {shape}{seeds}",
            None if scene["budgets"] else "no budget holds runs of three sizes or more",
        ),
        "surface": Picture(
            "surface",
            "Lines of equal loss and the efficient frontier",
            "Each thin line joins sizes and budgets of equal fitted loss; the thick dashed line is "
            "the frontier, the size of least loss at each compute. Points are the runs, coloured "
            "by their loss. Drawn only where runs lie near.",
            None if scene["surface"] else no_surface,
        ),
        "residuals": Picture(
            "residuals",
            "What the surface misses, by compute",
            "Observed loss over fitted loss, minus one. A trend along compute, or the same bend at "
            "every budget, means that the form is wrong, whatever its interval says. The bar is "
            "the mean of a budget.",
            None if scene["points"]["residual"] else no_surface,
        ),
        "curves": Picture(
            "curves",
            "Loss during training",
            "One line a run, lighter for a larger model; each line is the mean loss in "
            "equal steps of log compute. Dotted grey: runs excluded. Both axes are logarithmic.",
            None if scene["curves"] else "the runs were given as final losses only",
        ),
    }


def _refusal(law: Any, name: str) -> str:
    if law is None:
        return f"the {name} was not asked for"
    if stands(law):
        return f"a constant of the {name} is not identified"
    return f"the {name} was refused: {reason(law)}"


def _no_law(refused: list[str]) -> str:
    return f"no law stands ({'; '.join(refused)})" if refused else "no law was asked for"
