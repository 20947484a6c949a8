"""The figure of the IsoFLOP curves: loss against size at each budget, with the minima."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from common.numbers import compact, count
from common.text import plural
from scaling.fit.isoflop import Profile, akima_curve, fit_shape, parabola, shape_curves
from scaling.fit.results.laws import IsoflopMinimum
from scaling.report.figures.chart import Chart, Line, Panel, Points, Series, said
from scaling.report.figures.data import Budgets, budgets_of, members, place, run_axis, run_points
from scaling.report.figures.style import Ink, shade_of
from scaling.report.study import Study
from scaling.report.text.labels import curve_method, not_drawn

_NEAR = 8.0  # times the best size: runs farther off may lie above the figure
_DWARFED = 1.5  # times the height of what is near: beyond, the runs far off press it flat


@dataclass(frozen=True)
class IsoflopCurve:
    """A budget's curve by the method of the headline, with its minimum as fit.json states it."""

    stated: IsoflopMinimum
    params: np.ndarray
    loss: np.ndarray


@dataclass(frozen=True)
class Seed:
    """One run of an average of seeds: the row of the average, and its own held-out loss."""

    run_id: str
    row: int
    loss: float


def isoflop_curves(study: Study, found: Budgets) -> Iterator[IsoflopCurve]:
    """The curve of each budget of fit.json whose minimum is known."""
    law = study.document.isoflop
    if law is None:
        return
    profiles = {profile.flops: profile for profile in found.profiles}
    curve = {"spline": _spline, "robust": _of_shape(found)}.get(law.method or "", _parabola)
    for stated in (one for one in law.valleys if one.flops in profiles):
        profile = profiles[stated.flops]
        # The spline's draws of noise may find a minimum where the least loss is at an edge.
        if stated.n_opt.value is not None and (profile.reason is None or profile.open_edge):
            yield IsoflopCurve(stated, *curve(profile))


def _of_shape(found: Budgets) -> Callable[[Profile], tuple[np.ndarray, np.ndarray]]:
    """The curve of a profile by the one shape of all, over the sizes it was fitted to."""
    usable = [profile for profile in found.profiles if profile.reason is None]

    def curve(profile: Profile) -> tuple[np.ndarray, np.ndarray]:
        shapes = zip(usable, shape_curves(usable, fit_shape(usable)), strict=True)
        own = next(one for other, one in shapes if other is profile)
        sizes = profile.log_n[profile.window]
        reach = np.linspace(sizes[0], sizes[-1], 60)
        return np.exp(reach), own(reach)

    return curve


def _parabola(profile: Profile) -> tuple[np.ndarray, np.ndarray]:
    """The least-squares parabola in log N over the sizes it was fitted to."""
    x = profile.log_n[profile.window]
    constant, slope, bend = parabola(x - x.mean(), profile.loss[None, profile.window])[0]
    reach = np.linspace(x[0], x[-1], 60)
    from_middle = reach - x.mean()
    return np.exp(reach), constant + slope * from_middle + bend * from_middle**2


def _spline(profile: Profile) -> tuple[np.ndarray, np.ndarray]:
    """Akima's spline of log loss through all the sizes, of which the minimum is a median."""
    ends = profile.log_n[0], profile.log_n[-1]
    reach = np.unique(np.concatenate([np.linspace(*ends, 60), profile.log_n]))
    return np.exp(reach), np.exp(akima_curve(profile.log_n, np.log(profile.loss), reach))


def seeds_of(study: Study) -> list[Seed]:
    """Runs that were averaged into one observation, each with its own last held-out loss."""
    return [
        Seed(run_id, row, loss)
        for run_id, row in members(study).items()
        if run_id in study.curves and (loss := study.curves[run_id].final_loss) is not None
    ]


def isoflop(study: Study) -> Chart:
    """The figure, absent where no budget has an IsoFLOP curve."""
    law, seeds, budgets = study.document.isoflop, seeds_of(study), budgets_of(study)
    if law and any(one.n_opt.value is not None for one in law.valleys):
        shape = f"{curve_method(law)} A diamond with a bar is a minimum with its 90% interval."
    else:
        shape = f"Runs only: {not_drawn(law, 'IsoFLOP law')}."
    moved = budgets.loss != study.runs.loss
    at_one = " Losses are those at the FLOP of the budget." if moved.any() else ""
    single = " Small faint markers are the single seeds of an average." if seeds else ""
    chart = Chart(
        "valleys",
        "Loss against size at each budget",
        f"One colour and shape a budget, lighter for more compute. {shape}{at_one}{single}",
        legend="budget; diamond: minimum with 90% interval",
    )
    few = None if budgets.profiles else "no budget holds runs of three sizes or more"
    if absent := study.no_runs or few:
        return replace(chart, absent=absent)
    runs = study.runs
    series: list[Series] = []
    for budget, here in budgets.rows():
        ink, group, symbol = shade_of(budget, len(budgets.flops)), str(budget), max(0, budget)
        points = run_points(study, "params", "loss", here, "run", ink, budgets.name(budget))
        drawn = here[study.drawn[here]]
        told = [
            f"{text}<br>at the budget's FLOP {budgets.loss[row]:.4f}" if moved[row] else text
            for text, row in zip(points.text, drawn, strict=True)
        ]
        points = replace(points, y=budgets.loss[drawn], text=told)
        series.append(replace(points, symbol=symbol, group=group))
        own = [seed for seed in seeds if seed.row in here]
        if not own:
            continue
        sizes, losses = [runs.params[s.row] for s in own], [s.loss for s in own]
        of_seeds = [
            said(study.title(s.run_id), *place(runs, s.row), f"loss {s.loss:.4f}") for s in own
        ]
        series.append(Points(sizes, losses, of_seeds, "seed", ink, None, symbol, group))
    for curve in isoflop_curves(study, budgets):
        budget = budgets.flops.index(curve.stated.flops)
        series += _curve(curve, shade_of(budget, len(budgets.flops)), str(budget))
    params, loss = run_axis(study, "params"), run_axis(study, "loss", budgets.loss, log=False)
    view, above = _view(study, budgets)
    if above:
        loss = replace(loss, view=view)
        far = f"Not seen: {plural(above, 'run')} far from any minimum, above the figure."
        chart = replace(chart, caption=f"{chart.caption} {far}")
    return replace(chart, panels=(Panel(params, loss, tuple(series)),))


def _view(study: Study, found: Budgets) -> tuple[tuple[float, float], int]:
    """The losses about the minima, and how many runs lie above; 0 where all are near enough."""
    params, loss = study.runs.params, found.loss
    near = np.zeros(len(params), dtype=bool)
    for budget, here in found.rows():
        best = params[here][np.argmin(loss[here])]
        near[here] = budget >= 0 and np.abs(np.log(params[here] / best)) <= np.log(_NEAR)
    low, high = float(loss[near].min()), float(loss[near].max())
    margin = 0.05 * (high - low)
    dwarfed = float(loss.max()) - low > _DWARFED * (high - low)
    above = int(np.sum(loss > high + margin)) if dwarfed else 0
    return (min(low, float(loss.min())) - margin, high + margin), above


def _curve(curve: IsoflopCurve, ink: Ink, group: str) -> tuple[Series, ...]:
    stated, n, loss = curve.stated, curve.stated.n_opt, curve.stated.loss.value
    ends = f" ({count(n.ci90[0])} to {count(n.ci90[1])})" if n.ci90 else ""
    text = said(
        f"minimum at {compact(stated.flops)} FLOP",
        f"N* {count(n.value)}{ends}",
        f"D* {count(stated.d_opt.value)}",
        f"loss {'unknown' if loss is None else f'{loss:.4f}'}",
        *(f"flag: {flag.text}" for flag in stated.flags),
    )
    line = Line(curve.params, curve.loss, ink, group=group)
    mark = Points([n.value], [loss], [text], "minimum", "ink", group=group, x_ends=(n.ci90,))
    return line, mark
