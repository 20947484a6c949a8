"""The figures of experiments: loss against shape, tokens to a loss against size, repeated data."""

from collections.abc import Iterator

import numpy as np

from common.numbers import count
from scaling.fit.results.experiments import SampleEfficiencyLaw, ShapeLaw
from scaling.fit.results.other_laws import DataConstrainedLaw
from scaling.report.figures.chart import Chart, Line, Panel, Points, axis, said
from scaling.report.study import Study
from scaling.report.text.estimates import with_interval
from scaling.report.text.labels import axis_labels, has_numbers

_POINTS = 60  # of a line
_EXCESS = 0.03  # what the figure of shapes marks


def experiment_charts(study: Study) -> Iterator[Chart]:
    """Those of the laws that stand, which hold what is drawn themselves."""
    for law in study.document.laws.values():
        match law:
            case SampleEfficiencyLaw() if has_numbers(law):
                yield _sample_efficiency(law, study)
            case ShapeLaw() if has_numbers(law):
                yield _shape(law, study)
            case DataConstrainedLaw() if has_numbers(law) and law.worth:
                yield _repeated_data(law, study)


def _shape(law: ShapeLaw, study: Study) -> Chart:
    labels = axis_labels(study)
    ratios = np.array([cell.n_embd / cell.n_layer for cell in law.cells])
    losses = np.array([cell.loss for cell in law.cells])
    texts = [
        said(f"{cell.n_layer} layers of {cell.n_embd}", f"heads {cell.n_head}", f"loss {loss:.4f}")
        for cell, loss in zip(law.cells, losses, strict=True)
    ]
    heads = np.array([max(1, cell.n_head) for cell in law.cells])
    shade = axis("heads", "value", heads)
    series: list[Points | Line] = []
    if law.tried and law.parabola:
        reach = np.geomspace(*law.tried, len(law.parabola))
        series.append(Line(reach, np.array(law.parabola), "parametric", "parabola"))
        level = np.full(2, min(law.parabola) * (1 + _EXCESS))
        name = f"{_EXCESS:.0%} above its minimum"
        series.append(Line(np.array(law.tried), level, "soft", name, "dash", 1.2))
    series.append(Points(ratios, losses, texts, "run", shade.place(heads), "networks"))
    spread = ""
    if law.heads_spread is not None:
        spread = f" One network with several numbers of heads moves by {law.heads_spread:.1%}."
    return Chart(
        "shape",
        "Shape: loss against aspect ratio at one size and compute",
        "Each point is a network of one size, shaded by its heads. The loss is within 3% of the "
        f"parabola's least over a factor {with_interval(law.range_3)} of the aspect ratios tried, "
        f"within 1% over {with_interval(law.range_1)}.{spread}",
        (
            Panel(
                axis("aspect ratio, width / layers", "ratio", ratios),
                axis(labels.loss, "loss", *(one.y for one in series)),
                tuple(series),
            ),
        ),
        shade,
    )


def _sample_efficiency(law: SampleEfficiencyLaw, study: Study) -> Chart:
    labels = axis_labels(study)
    shade = axis(f"loss ({labels.loss_unit})", "loss", [level.loss for level in law.levels])
    series: list[Points | Line] = []
    for level in law.levels:
        (ink,) = shade.place([level.loss])
        n, d = np.array(level.params), np.array(level.tokens)
        if law.slope.value is not None:
            reach = np.geomspace(n.min(), n.max(), _POINTS)
            scale = np.exp(np.mean(np.log(d) + law.slope.value * np.log(n)))
            name = None if series else "D ~ N^-slope, one slope for all losses"
            series.append(Line(reach, scale * reach**-law.slope.value, ink, name, width=1.5))
        texts = [
            said(f"loss {level.loss:.4f}", f"N {count(size)}", f"{count(of)} {labels.token}s")
            for size, of in zip(n, d, strict=True)
        ]
        series.append(Points(n, d, texts, "run", (ink,) * len(texts)))
    return Chart(
        "sample_efficiency",
        f"Sample efficiency: {labels.token}s to a loss against size",
        f"One colour a loss: how many {labels.token}s curves of each size, all at a batch of "
        f"{count(law.batch_tokens)} {labels.token}s, had seen when they reached it. At the loss "
        "with the widest range of sizes the smallest needs "
        f"{with_interval(law.saving)} times as many as the largest.",
        (
            Panel(
                axis(labels.params, "params", *(one.x for one in series)),
                axis(f"{labels.token}s to the loss", "tokens", *(one.y for one in series)),
                tuple(series),
            ),
        ),
        shade,
    )


def _repeated_data(law: DataConstrainedLaw, study: Study) -> Chart:
    """Muennighoff et al. 2023, figure 5: what passes over one text are worth in new tokens."""
    token = axis_labels(study).token
    passes = np.array([one.epochs for one in law.worth])
    value = np.array([one.epochs * (one.share.value or np.nan) for one in law.worth])
    ends = tuple(
        (one.epochs * one.share.ci90[0], one.epochs * one.share.ci90[1]) if one.share.ci90 else None
        for one in law.worth
    )
    texts = [
        said(
            f"{one.epochs:g} passes", f"worth {one.epochs * (one.share.value or np.nan):.3g} of new"
        )
        for one in law.worth
    ]
    new = np.array([1.0, passes.max()])
    series: list[Points | Line] = [Line(new, new, "soft", f"as many new {token}s", "dash", 1.2)]
    if law.R_D.value is not None:
        reach = np.geomspace(1, passes.max(), _POINTS)
        worth = 1 + law.R_D.value * -np.expm1(-(reach - 1) / law.R_D.value)
        series.append(Line(reach, worth, "parametric", "the law"))
    series.append(Points(passes, value, texts, "run", "ink", "with 90% interval", y_ends=ends))
    known = [end for pair in ends if pair for end in pair]
    return Chart(
        "repeated_data",
        f"Repeated data: what passes over the same {token}s are worth",
        f"D'/U, the unique {token}s that would do as well over those that there are, against D/U, "
        "the passes over them. Where the 90% interval has hardly an upper end R_D* is known from "
        "below alone; what few passes are worth is known all the same.",
        (
            Panel(
                axis("passes D/U", "ratio", new),
                axis(f"worth in new {token}s D'/U", "ratio", new, value, known),
                tuple(series),
            ),
        ),
    )
