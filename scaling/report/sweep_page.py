"""The page of a sweep while it runs: how far each trial is, and the losses that are there."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

from common.errors import BadInput
from common.files import write_atomic
from common.numbers import compact, count, duration, fixed
from scaling.report import html
from scaling.report.figures.chart import Chart, Points, axis, said
from scaling.report.figures.chart import Panel as ChartPanel
from scaling.report.figures.style import shade_of
from scaling.report.tables.table import Table, first_rows

SCRIPTS = ("guard.js", "figures.js", "sections.js")
_EVERY_S = 30.0  # a page holds plotly: 5 MB
_FAILED = ("diverged", "oom", "failed")


@dataclass(frozen=True)
class ShownTrial:
    """A trial as the page shows it; `steps` done and in all, a loss held-out if it is done."""

    name: str
    state: str
    params: float
    flops_budget: float
    steps: tuple[int, int]
    loss: float | None
    tokens_per_s: float | None
    left_s: float | None
    problem: str | None


class SweepPage:
    """status.html of a sweep, written again at most twice a minute and at the end."""

    def __init__(self, out: Path) -> None:
        self.path = out / "status.html"
        self._written: float | None = None

    def write(self, trials: Sequence[ShownTrial], lines: Sequence[str]) -> None:
        """Write it, unless it was written just now and trials still run. Raises BadInput."""
        now = time.monotonic()
        runs = any(trial.state == "running" for trial in trials)
        if self._written is not None and runs and now - self._written < _EVERY_S:
            return
        try:
            write_atomic(self.path, render_sweep(self.path.parent.resolve().name, trials, lines))
        except OSError as error:
            raise BadInput(f"out: {self.path}: {error.strerror}; page=true writes there") from None
        self._written = now


def render_sweep(name: str, trials: Sequence[ShownTrial], lines: Sequence[str]) -> str:
    """The page as one string of HTML; `lines` sum the trials up."""
    from scaling.report.figures import interactive  # plotly takes a while to import

    chart = losses(trials)
    drawn = [chart] if chart.absent is None else []
    values: dict[str, object] = {f"figure-{c.key}": interactive.draw(c) for c in drawn}
    values["dark"] = interactive.dark_colors(drawn)
    failed = sum(trial.state in _FAILED for trial in trials)
    runs = any(trial.state == "running" for trial in trials)
    waiting = sum(trial.state == "waiting" for trial in trials)
    look = "refused" if failed else "flagged" if runs or waiting else "ok"
    rest = f"{waiting} waiting" if waiting else "nothing is left to run"
    word = f"{failed} failed" if failed else "running" if runs else rest
    main = Template(html.static("sweep.html")).substitute(
        title=html.text(f"Sweep {name}"),
        headline=html.text(f"{lines[0]}." if lines else "No trial is planned."),
        state=f'<span class="chip {look}">{word}</span>',
        lines="".join(f"<li>{html.text(line)}</li>" for line in lines[1:]),
        figure=html.figure(chart),
        trials=html.table(table(trials)),
    )
    return html.document(f"Sweep {name}", main, values, SCRIPTS)


def losses(trials: Sequence[ShownTrial]) -> Chart:
    """Loss against size: one colour a budget, rings for trials that have not ended."""
    known = [trial for trial in trials if trial.loss is not None]
    title = "Loss against size, so far"
    if not known:
        return Chart("losses", title, "", absent="no trial has logged a loss yet")
    budgets = sorted({trial.flops_budget for trial in known})
    series = []
    for index, budget in enumerate(budgets):
        for done, look in ((True, "run"), (False, "answer")):
            own = [t for t in known if t.flops_budget == budget and (t.state == "done") == done]
            if not own:
                continue
            texts = [said(t.name, t.state, f"loss {t.loss:.4f}") for t in own]
            name = f"C = {compact(budget)} FLOP" + ("" if done else ", not ended")
            x, y = [t.params for t in own], [t.loss for t in own]
            series.append(Points(x, y, texts, look, shade_of(index, len(budgets)), name, index))
    params = axis("effective parameters N", "params", [t.params for t in known])
    loss = axis("loss (nats): held out, or training", "loss", [t.loss for t in known])
    caption = (
        "One colour and shape a budget. Points: held-out loss at the end. Rings: training loss of "
        "the last logged step."
    )
    return Chart("losses", title, caption, (ChartPanel(params, loss, tuple(series)),))


def table(trials: Sequence[ShownTrial]) -> Table:
    """Every trial, those that run first, then the failed."""
    order = {"running": 0, **dict.fromkeys(_FAILED, 1)}
    ranked = sorted(trials, key=lambda trial: order.get(trial.state, 2))

    def row(t: ShownTrial) -> tuple[str, ...]:
        done, steps = t.steps
        speed = "" if t.tokens_per_s is None else f"{t.tokens_per_s:,.0f}"
        left = "" if t.left_s is None else duration(t.left_s)
        loss = "" if t.loss is None else fixed(t.loss, 4)
        share = f"{done / steps:.0%} of {steps:,} steps" if steps else ""
        return (t.name, t.state, share, count(t.params), loss, speed, left, t.problem or "")

    columns = ("trial", "state", "done", "N", "loss", "tokens/s", "left", "problem")
    return first_rows(columns, ranked, row, "No trial is planned.")
