"""The compute multiplier of each arm against compute, with 90% intervals, about the line at 1."""

from collections.abc import Sequence

from common.numbers import compact, fixed
from scaling.fit.results.multipliers import Multiplier
from scaling.report.figures.chart import Chart, Line, Panel, Points, Series, axis, said
from scaling.report.figures.style import shade_of
from scaling.report.study import Study
from scaling.report.text.labels import axis_labels

_APART = 0.06  # of log C between the marks of two arms at one budget
_ROOM = 1.02  # above and below the intervals


def multiplier_charts(study: Study) -> tuple[Chart, ...]:
    """The figure; none where no arm is compared."""
    entries = study.document.multipliers or ()
    if not entries:
        return ()
    title = "Compute multiplier against compute"
    standing = [one for one in entries if one.k.value is not None]
    if not standing:
        reasons = dict.fromkeys(one.reason or "" for one in entries)
        return (Chart("multiplier", title, "", absent="; ".join(reasons)),)
    arms = list(dict.fromkeys((one.arm, one.baseline) for one in standing))
    series: list[Series] = []
    for index, pair in enumerate(arms):
        own = [one for one in standing if (one.arm, one.baseline) == pair]
        series += _of_arm(own, index, len(arms))
    values = [one.k.value for one in standing if one.k.value is not None]
    values += [end for one in standing for end in one.k.ci90 or ()]
    k = axis("compute multiplier k", "ratio", [1.0, min(values) / _ROOM, max(values) * _ROOM])
    every = [part.x for part in series]
    flops = axis(axis_labels(study).flops, "flops", *every)
    one = Line([flops.low, flops.high], [1.0, 1.0], "soft", None, "dash", width=1.4)
    return (
        Chart(
            "multiplier",
            title,
            "The compute that the baseline needs for the loss which the arm reaches with C, over "
            "C: above the dashed line the arm saves compute. Bars are 90% intervals; marks of "
            "several arms at one budget stand a little apart.",
            (Panel(flops, k, (one, *series)),),
        ),
    )


def _of_arm(entries: Sequence[Multiplier], index: int, of: int) -> tuple[Series, ...]:
    shift = 1 + _APART * (index - (of - 1) / 2)
    ink = shade_of(index, of)
    name = f"{entries[0].arm} over {entries[0].baseline}"
    x = [(one.flops or 1.0) * shift for one in entries]
    k = [one.k.value for one in entries]
    texts = [
        said(
            f"{one.arm} over {one.baseline}, {compact(one.flops)} FLOP",
            f"k {fixed(one.k.value, 3)}"
            + (f" ({fixed(one.k.ci90[0], 3)} to {fixed(one.k.ci90[1], 3)})" if one.k.ci90 else ""),
        )
        for one in entries
    ]
    line = Line(x, k, ink, None, width=1.2, opacity=0.6, group=name)
    ends = tuple(one.k.ci90 for one in entries)
    return line, Points(x, k, texts, "run", ink, name, index, name, y_ends=ends)
