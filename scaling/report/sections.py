"""The report in order: its sections with words, figures and tables, for page and Markdown."""

from collections.abc import Mapping
from dataclasses import dataclass

from scaling.fit.results import FitDocument
from scaling.report.figures.chart import Chart
from scaling.report.study import Study
from scaling.report.tables import checks, laws, multipliers, predictions, runs
from scaling.report.tables.table import Table
from scaling.report.text import forms
from scaling.report.text.labels import axis_labels

# The figures that a section of their own shows; the others stand with the other laws.
_PLACED = (*("allocation", "valleys", "surface", "residuals", "curves", "envelope", "multiplier"),)


@dataclass(frozen=True)
class Section:
    """One heading with an opening sentence, figures, then titled tables (long ones folded)."""

    key: str
    title: str
    lead: str
    charts: tuple[Chart, ...] = ()
    tables: tuple[tuple[str, Table], ...] = ()
    folded: bool = False


def sections(study: Study, charts: Mapping[str, Chart]) -> tuple[Section, ...]:
    """Everything below the verdict except the method."""
    document, labels = study.document, axis_labels(study)
    token, convention = labels.token, f"{labels.params} and {labels.flops}"
    envelope = [charts[key] for key in ("envelope",) if key in charts]
    return (
        _section(
            ("result", "Exponents"),
            "How the optimal size N* and the optimal data D* grow with compute C. Intervals are "
            "90%.",
            ("", laws.exponents(document)),
        ),
        *_multipliers(study, charts),
        *_comparison(study),
        _section(
            ("allocation", "Compute-optimal allocation"),
            "Each point is the minimum of one IsoFLOP curve with its 90% interval; each line is a "
            "law. Lines are solid where budgets were measured and dotted beyond.",
            charts=(charts["allocation"],),
        ),
        _section(
            ("isoflop", "IsoFLOP curves"),
            "At one budget, a small model sees much data and a large one little; between them "
            "lies the least loss.",
            ("", laws.isoflop_minima(document, token)),
            charts=(charts["valleys"],),
        ),
        _section(
            ("surface", "Parametric surface"),
            forms.surface(document),
            charts=(charts["surface"], charts["residuals"]),
        ),
        _section(
            ("curves", "Training curves"),
            "The loss logged along each run, against compute spent. Points are the final held-out "
            "losses: they alone enter the fits.",
            charts=(charts["curves"], *envelope),
        ),
        *_other_laws(study, charts),
        _section(
            ("predictions", "Predictions and the held-out budget"),
            "What each law predicts at a budget. Beyond the largest budget measured, an interval "
            "does not cover an error of the form.",
            ("Predictions", predictions.predictions(document, token)),
            ("Sizes and data asked for", predictions.answers(document, token)),
            *_losses(document, token),
            ("Held-out budget", predictions.holdout(document)),
            ("Each budget, by the runs below it", predictions.rolling(document)),
        ),
        *_forms(study),
        _section(
            ("ladder", "Compute and data for a given model size"),
            "Table 3 of Hoffmann et al. for the laws of this fit: the compute and data at which "
            f"each size is the optimal one. Sizes: {document.ladder.note or 'not made'}. Their "
            "rows are their own surface, of their corpus, tokenizer and count of parameters.",
            ("", predictions.ladder(document, token)),
            folded=True,
        ),
        _section(
            ("influence", "Influence"),
            "Each run is left out in turn and the law fitted again. Leverage is a run's share in "
            "the surface's value at its own place; five constants share out a sum of 5. An "
            f"outlier is a {document.diagnostics.outliers.rule}. Nothing is dropped from the "
            "headline.",
            ("Runs of most influence", checks.influence(document)),
            ("Outliers", checks.outliers(document)),
            ("With and without them", checks.without_outliers(document)),
            ("Residuals by budget", checks.residuals_by_budget(document)),
        ),
        _section(
            ("parameters", "Every estimate"),
            "All constants of all laws that are ok or flagged, with 90% intervals.",
            ("", laws.parameters(document)),
        ),
        _section(
            ("conventions", "Conventions"),
            f"The same runs, counted differently. The headline uses {convention}.",
            ("", laws.conventions(document)),
        ),
        _section(
            ("runs", "Runs"),
            "Every run planned is used or excluded with a reason.",
            ("Account", runs.accounting(document)),
            ("Excluded", runs.exclusions(document)),
        ),
        _section(
            ("observations", "Observations"),
            "Every point of the fits.",
            ("", runs.observations(study, token)),
            folded=True,
        ),
        _section(("warnings", "Warnings"), "", ("", checks.coded(document.warnings, "None."))),
        _section(
            ("provenance", "Provenance"),
            "What made these numbers.",
            ("", runs.provenance(document)),
            folded=True,
        ),
    )


def _losses(document: FitDocument, token: str) -> tuple[tuple[str, Table], ...]:
    """What reaches each loss, where losses were asked for."""
    table = predictions.losses(document, token)
    return (("What reaches a loss", table),) if table.rows else ()


def _section(
    name: tuple[str, str],
    lead: str,
    *tables: tuple[str, Table],
    charts: tuple[Chart, ...] = (),
    folded: bool = False,
) -> Section:
    return Section(*name, lead, charts, tables, folded)


def _multipliers(study: Study, charts: Mapping[str, Chart]) -> tuple[Section, ...]:
    """What each arm is worth in compute, where arms are compared."""
    document = study.document
    if not document.multipliers:
        return ()
    section = _section(
        ("multiplier", "Compute multiplier"),
        "k is the compute that the baseline needs for the loss which an arm reaches, over the "
        "arm's own; in data and in size it compares the optimal D and N of both at that loss. "
        "Intervals are 90%, the slope is that of log k in log C.",
        ("", multipliers.in_words(document)),
        ("Over all budgets", multipliers.over_all_budgets(document)),
        ("What it rests on", multipliers.premises(document)),
        ("At each budget", multipliers.at_each_budget(document)),
        charts=(charts["multiplier"],),
    )
    return (section,)


def _comparison(study: Study) -> tuple[Section, ...]:
    found = study.document.comparison
    if found is None:
        return ()
    section = _section(
        ("comparison", "Two fits side by side"),
        f"This fit reads {found.this}; the other is {found.other}. The interval of a difference "
        "follows from the two intervals, for fits of different runs. The figure below shows the "
        "laws of both.",
        ("Estimates", checks.comparison(study.document)),
        ("Why they may not be comparable", checks.coded(found.warnings, "No known reason.")),
    )
    return (section,)


def _forms(study: Study) -> tuple[Section, ...]:
    """Other forms of the surface beside Hoffmann's, where they were compared."""
    if not study.document.forms:
        return ()
    lead = " ".join(forms.sentences(study.document))
    return (_section(("forms", "Forms of the surface"), lead, ("", checks.forms(study.document))),)


def _other_laws(study: Study, charts: Mapping[str, Chart]) -> tuple[Section, ...]:
    """The laws beside the headline, where any was fitted."""
    stated = laws.other_laws(study.document)
    if not stated.rows:
        return ()
    section = _section(
        ("other_laws", "Other laws"),
        "The same runs by other laws. They do not decide the headline, and each has assumptions "
        "of its own (docs/method.md).",
        ("", stated),
        charts=tuple(chart for key, chart in charts.items() if key not in _PLACED),
    )
    return (section,)
