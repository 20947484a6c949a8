"""What a person sees of a sweep's state: a redrawn table on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterable, Sequence
from contextlib import nullcontext, suppress

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from configs.errors import ExitStatus
from scaling.fit.sweeps import write_runs_csv
from scaling.plan.grid import Stage
from scaling.plan.table import duration
from scaling.run import store
from scaling.run.config import LauncherConfig
from scaling.run.progress import count_line, name, stale_line
from scaling.run.request import Request
from scaling.run.status import Overview, TrialView, overview, view
from training.attempt import Watch

WATCH_S = 5.0
_SHARE_OF_WATCHING = 0.1  # of one core, at most: a large sweep is looked at less often
_FAILURES_SHOWN = 10
_COLUMNS = ("trial", "state", "step", "loss", "tokens/s", "MFU", "left", "owner")


def show_status(request: Request) -> ExitStatus:
    """Print the state of every trial, once or until nothing is left to run; a table is redrawn.

    With `watch` on anything but a terminal, trials are printed again only as their state changes.
    """
    out, watch = request.command.folder, Watch(request.launcher.lease_s)
    console = Console(highlight=False)
    live = Live(console=console, auto_refresh=False)
    redraws = request.command.watch and console.is_terminal
    shown: dict[str, str] = {}
    with live if redraws else nullcontext():
        while True:
            began = time.monotonic()
            stored = store.read_plan(out)
            states = store.read_states(out, stored.plan, watch)
            views = [view(out, state, request.launcher) for state in states]
            total = overview(views)
            if redraws:
                screen = _screen(views, total, request.launcher, console.height, stored.plan.stage)
                live.update(screen, refresh=True)
            else:
                changed = [v for v in views if shown.get(v.state.trial.id) != v.state.state]
                _print_plain(changed, total, request.launcher, stored)
                shown = {v.state.trial.id: v.state.state for v in views}
            with suppress(OSError):  # derived, and an archived sweep may be read-only
                write_runs_csv(out)
            left = total.counts["running"] + total.counts["waiting"]
            if not request.command.watch or not (left or stored.plan.stage != "grid"):
                return ExitStatus.DONE
            time.sleep(max(WATCH_S, (time.monotonic() - began) / _SHARE_OF_WATCHING))


def _cells(item: TrialView) -> tuple[str, ...]:
    """A line of the table, in the order of _COLUMNS; what is not known is a dash."""
    state = item.state
    return (
        name(state.trial),
        state.state,
        f"{item.step}/{item.steps}",
        "-" if item.loss is None else f"{item.loss:.4f}",
        "-" if item.tokens_per_s is None else f"{item.tokens_per_s:,.0f}",
        "-" if item.mfu is None else f"{item.mfu:.1%}",
        "-" if item.left_s is None else duration(item.left_s),
        state.owner or "",
    )


def _total_lines(total: Overview, launcher: LauncherConfig, stage: Stage) -> list[str]:
    share = total.flops_trained / total.flops_planned if total.flops_planned else 1.0
    hours = total.device_s / 3600
    price = launcher.price_per_hour
    parts = [
        f"{total.flops_trained:.3g} of {total.flops_planned:.3g} FLOP ({share:.0%})",
        f"{hours:.3g} device-hours" + (f", price {hours * price:.2f}" if price else ""),
    ]
    if total.left_s is not None:
        parts.append(f"about {duration(total.left_s)} left")
    elif total.counts["waiting"] and not total.counts["running"]:
        parts.append("nothing runs; the sweep's command goes on with what waits")
    if stage != "grid":
        parts.append(f"stage {stage}: trials of the next come when these have ended")
    return [count_line(total.counts), "; ".join(parts)]


def _problems(views: Iterable[TrialView]) -> list[str]:
    return [
        f"{item.state.trial.id}  {name(item.state.trial)}  {item.state.state}: {item.problem}"
        for item in views
        if item.problem
    ]


def _print_plain(
    views: Sequence[TrialView], total: Overview, launcher: LauncherConfig, stored: store.StoredPlan
) -> None:
    """One line a trial, then problems and sums, in plain text for pipes and logs."""
    if views:
        rows = [("id", *_COLUMNS)] + [(item.state.trial.id, *_cells(item)) for item in views]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for row, item in zip(rows, (None, *views), strict=True):
            words = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
            if item and item.state.attempts > 1:
                words.append(f"{item.state.attempts} attempts")
            if item and item.state.trial.id in stored.stale:
                words.append("stale")
            print("  ".join(words).rstrip())
    for line in (*_problems(views), *_total_lines(total, launcher, stored.plan.stage)):
        print(line)
    if stored.stale:
        print(stale_line(stored))
    print(end="", flush=True)


def _screen(
    views: Sequence[TrialView],
    total: Overview,
    launcher: LauncherConfig,
    height: int,
    stage: Stage = "grid",
) -> Group:
    """What fits a terminal: the sums, the trials that run, and the last problems."""
    lines = _total_lines(total, launcher, stage)
    problems = _problems(views)[-_FAILURES_SHOWN:]
    room = max(1, height - len(lines) - len(problems) - 4)
    running = [item for item in views if item.state.state == "running"]
    table = Table(box=None, pad_edge=False)
    for column in _COLUMNS:
        table.add_column(column, no_wrap=True, justify="left" if column == "trial" else "right")
    for item in running[:room]:
        table.add_row(*map(Text, _cells(item)))
    if len(running) > room:
        table.add_row(Text(f"and {len(running) - room} more"))
    texts = [Text(line, no_wrap=True, overflow="ellipsis") for line in (*problems, *lines)]
    return Group(table, *texts)
