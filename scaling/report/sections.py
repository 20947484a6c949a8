"""The report in order: its sections with words, figures and tables, for page and Markdown."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from scaling.fit.results import FitDocument
from scaling.report.figures.chart import Chart
from scaling.report.study import Study
from scaling.report.tables import checks, laws, multipliers, predictions, runs
from scaling.report.tables.table import Table
from scaling.report.text import forms, stories
from scaling.report.text.labels import axis_labels

MOST_OPEN, MOST_LINES = 4, 3
# The figures that a section of their own shows; the others stand with the other laws.
_PLACED = (*("allocation", "valleys", "surface", "residuals", "curves", "envelope", "multiplier"),)


@dataclass(frozen=True)
class Section:
    """One heading: open ones have a figure and at most three lines, closed ones all the rest."""

    key: str
    title: str
    lead: str
    charts: tuple[Chart, ...] = ()
    tables: tuple[tuple[str, Table], ...] = ()
    lines: tuple[str, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether a reader of the page sees it unasked."""
        return bool(self.lines) and self.charts[0].absent is None


def sections(study: Study, charts: Mapping[str, Chart]) -> tuple[Section, ...]:
    """Everything below the first screen, the open ones first."""
    told = _stories(study, charts)
    opened = [part for part in told if part.is_open][:MOST_OPEN]
    rest = [replace(part, lines=()) for part in told if part not in opened]
    return (*opened, *rest, *_details(study, charts))


def _stories(study: Study, charts: Mapping[str, Chart]) -> tuple[Section, ...]:
    """What may stand open, in order of weight."""
    document = study.document
    return (
        *_multipliers(study, charts),
        _story(
            ("allocation", "Compute-optimal allocation"),
            "Each point is the minimum of one IsoFLOP curve with its 90% interval; each line is a "
            "law. Lines are solid where budgets were measured and dotted beyond.",
            charts["allocation"],
            stories.allocation(study),
        ),
        _story(
            ("surface", "Parametric surface"),
            forms.surface(document),
            charts["surface"],
            stories.surface(document),
        ),
        _story(
            ("residuals", "How well the surface fits"),
            "What the surface leaves unexplained, run by run.",
            charts["residuals"],
            stories.residuals(document),
        ),
        _story(
            ("curves", "Training curves"),
            "The loss logged along each run, against compute spent. Points are the final held-out "
            "losses: they alone enter the fits.",
            charts["curves"],
            stories.curves(study),
        ),
    )


def _details(study: Study, charts: Mapping[str, Chart]) -> tuple[Section, ...]:
    """What opens on demand."""
    document, labels = study.document, axis_labels(study)
    token, convention = labels.token, f"{labels.params} and {labels.flops}"
    envelope = [charts[key] for key in ("envelope",) if key in charts]
    return (
        _detail(
            ("result", "Exponents"),
            "How the optimal size N* and the optimal data D* grow with compute C. Intervals are "
            "90%.",
            ("", laws.exponents(document)),
        ),
        _detail(
            ("isoflop", "IsoFLOP curves"),
            "At one budget, a small model sees much data and a large one little; between them "
            "lies the least loss.",
            ("", laws.isoflop_minima(document, token)),
            charts=(charts["valleys"], *envelope),
        ),
        *_multiplier_tables(document),
        *_comparison(study),
        *_other_laws(study, charts),
        _detail(
            ("predictions", "Predictions and the held-out budget"),
            "What each law predicts at a budget; by IsoFLOP curves that is the point on the line "
            "through their minima, not one minimum. Beyond the largest budget measured, an "
            "interval does not cover an error of the form.",
            ("Predictions", predictions.predictions(document, token)),
            ("Sizes and data asked for", predictions.answers(document, token)),
            *_losses(document, token),
            ("Held-out budget", predictions.holdout(document)),
            ("Each budget, by the runs below it", predictions.rolling(document)),
        ),
        *_forms(study),
        _detail(
            ("ladder", "Compute and data for a given model size"),
            "Table 3 of Hoffmann et al. for the laws of this fit: the compute and data at which "
            f"each size is the optimal one. Sizes: {document.ladder.note or 'not made'}. Their "
            "rows are their own surface, of their corpus, tokenizer and count of parameters.",
            ("", predictions.ladder(document, token)),
        ),
        _detail(
            ("influence", "Influence and outliers"),
            "Each run is left out in turn and the law fitted again. Leverage is a run's share in "
            "the surface's value at its own place; five constants share out a sum of 5. An "
            f"outlier is a {document.diagnostics.outliers.rule}. Nothing is dropped from the "
            "headline.",
            ("Runs of most influence", checks.influence(study)),
            ("Outliers", checks.outliers(study)),
            ("With and without them", checks.without_outliers(document)),
            ("Residuals by budget", checks.residuals_by_budget(document)),
        ),
        _detail(
            ("parameters", "Every estimate"),
            "All constants of all laws that are ok or flagged, with 90% intervals.",
            ("", laws.parameters(document)),
        ),
        _detail(
            ("conventions", "Conventions"),
            f"The same runs, counted differently. The headline uses {convention}.",
            *laws.conventions(document),
        ),
        _detail(
            ("runs", "Runs"),
            "Every run planned is used or excluded with a reason.",
            ("Account", runs.accounting(document)),
            ("Excluded", runs.exclusions(study)),
            ("Every point of the fits", runs.observations(study, token)),
        ),
        _detail(("warnings", "Warnings"), "", ("", checks.coded(document.warnings, "None."))),
        _detail(
            ("provenance", "Provenance"),
            "What made these numbers.",
            ("", runs.provenance(document)),
        ),
    )


def _losses(document: FitDocument, token: str) -> tuple[tuple[str, Table], ...]:
    """What reaches each loss, where losses were asked for."""
    table = predictions.losses(document, token)
    return (("What reaches a loss", table),) if table.rows else ()


def _story(name: tuple[str, str], lead: str, chart: Chart, lines: Iterable[str]) -> Section:
    return Section(*name, lead, (chart,), (), tuple(lines)[:MOST_LINES] or (lead,))


def _detail(
    name: tuple[str, str],
    lead: str,
    *tables: tuple[str, Table],
    charts: tuple[Chart, ...] = (),
) -> Section:
    return Section(*name, lead, charts, tables)


def _multipliers(study: Study, charts: Mapping[str, Chart]) -> tuple[Section, ...]:
    """What each arm is worth in compute, where arms are compared."""
    if not study.document.multipliers:
        return ()
    section = _story(
        ("multiplier", "Compute multiplier"),
        "k is the compute that the baseline needs for the loss which an arm reaches, over the "
        "arm's own.",
        charts["multiplier"],
        (f"{words}." for _, words in multipliers.in_words(study.document).rows),
    )
    return (section,)


def _multiplier_tables(document: FitDocument) -> tuple[Section, ...]:
    if not document.multipliers:
        return ()
    section = _detail(
        ("multipliers", "Every compute multiplier"),
        "k is the compute that the baseline needs for the loss which an arm reaches, over the "
        "arm's own; in data and in size it compares the optimal D and N of both at that loss. "
        "Intervals are 90%, the slope is that of log k in log C.",
        ("", multipliers.in_words(document)),
        ("Over all budgets", multipliers.over_all_budgets(document)),
        ("What it rests on", multipliers.premises(document)),
        ("At each budget", multipliers.at_each_budget(document)),
    )
    return (section,)


def _comparison(study: Study) -> tuple[Section, ...]:
    found = study.document.comparison
    if found is None:
        return ()
    section = _detail(
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
    return (_detail(("forms", "Forms of the surface"), lead, ("", checks.forms(study.document))),)


def _other_laws(study: Study, charts: Mapping[str, Chart]) -> tuple[Section, ...]:
    """The laws beside the headline, where any was fitted."""
    stated = laws.other_laws(study.document)
    if not stated.rows:
        return ()
    section = _detail(
        ("other_laws", "Other laws"),
        "The same runs by other laws. They do not decide the headline, and each has assumptions "
        "of its own (docs/method.md).",
        ("", stated),
        charts=tuple(chart for key, chart in charts.items() if key not in _PLACED),
    )
    return (section,)
