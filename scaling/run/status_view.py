"""The display of a sweep's state: a redrawn table on a terminal, plain lines elsewhere."""

import textwrap
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext, suppress
from typing import Literal

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from common.errors import ExitStatus
from common.numbers import duration
from common.text import plural
from scaling.fit.table.sweep_directory import write_runs_csv
from scaling.plan.plan import Plan, Stage
from scaling.run import store, trial_states
from scaling.run.command import Request
from scaling.run.config import LauncherConfig
from scaling.run.progress import count_line, name, stale_line, undigested_line
from scaling.run.status import Overview, TrialView, overview, view
from training.trial.attempt import Watch
from training.trial.record import RunRecord

WATCH_S = 5.0
_SHARE_OF_WATCHING = 0.1  # of one core, at most: a large sweep is looked at less often
_FAILURES_SHOWN = 10
_COLUMNS = ("trial", "state", "step", "loss", "tokens/s", "MFU", "left", "owner")
_EXPENDABLE = (
    "owner",
    "MFU",
    "tokens/s",
    "loss",
)  # the first goes first where a terminal is narrow
_GAP = 1  # between columns


Seen = Callable[[Sequence[TrialView], Sequence[str]], None]


def show_status(request: Request, seen: Seen | None = None) -> ExitStatus:
    """Print the state of every trial, once or until nothing is left to run; a table is redrawn.

    `seen` is told the trials and the lines below them, each time they are looked at.
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
            states = trial_states.read_states(out, stored.plan, watch)
            views = [view(out, state, request.launcher) for state in states]
            total = overview(views)
            if redraws:
                size, notes = (console.width, console.height), _notes(stored, views)
                stage = stored.plan.stage
                screen = _screen(views, total, request.launcher, size, stage, notes)
                live.update(screen, refresh=True)
            else:
                changed = [v for v in views if shown.get(v.state.trial.id) != v.state.state]
                _print_plain(changed, total, request.launcher, stored)
                shown = {v.state.trial.id: v.state.state for v in views}
            if seen is not None:
                seen(views, _total_lines(total, request.launcher, stored.plan.stage))
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
        parts.append("no trial is running; the sweep's command starts those that wait")
    if stage != "grid":
        parts.append(f"{stage} stage: the next begins when these trials have ended")
    return [count_line(total.counts), "; ".join(parts)]


def _saved(records: Sequence[RunRecord]) -> list[str]:
    """What branches had from their trunks so far; nothing where there are none."""
    spared = [r.flops_exact - r.flops_spent for r in records if r.flops_spent is not None]
    branches = plural(len(spared), "run")
    text = f"trunks: {branches} began with the state of a longer one: {sum(spared):.3g} FLOP saved"
    return [text] if spared else []


def _arm_lines(plan: Plan, views: Sequence[TrialView]) -> Iterator[str]:
    """How far each arm is; nothing of a sweep without arms."""
    for arm in plan.grid.arms or ():
        own = [item for item in views if arm in dict(item.state.trial.arms)]
        sums = overview(own)
        share = sums.flops_trained / sums.flops_planned if sums.flops_planned else 1.0
        yield f"arm {arm}: {count_line(sums.counts)}; {share:.0%} of {sums.flops_planned:.3g} FLOP"


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
    for line in _notes(stored, views):
        print(line)
    print(end="", flush=True)


def _notes(stored: store.StoredPlan, views: Sequence[TrialView]) -> list[str]:
    """What holds of the sweep as a whole."""
    lines = [*_arm_lines(stored.plan, views)]
    lines += [stale_line(stored)] if stored.stale else []
    lines += _saved([view.state.record for view in views if view.state.record])
    shared = [item.sharing.is_mps for item in views if item.sharing]
    how = {True: "sharing a GPU by MPS", False: "taking turns on a GPU (time-slicing, no MPS)"}
    lines += [f"{shared.count(kind)} running {how[kind]}" for kind in how if kind in shared]
    bare = undigested_line(stored, [item.state for item in views])
    return [*lines, bare] if bare else lines


def _screen(
    views: Sequence[TrialView],
    total: Overview,
    launcher: LauncherConfig,
    size: tuple[int, int],
    stage: Stage = "grid",
    notes: Sequence[str] = (),
) -> Group:
    """What fits a terminal of `size` (width, height): the trials that run, the last problems, sums.

    Lines are wrapped and not cut; where there is no room for all, whole ones are left out: problems
    before the latest, then trials, and columns of these that matter least.
    """
    width, height = size
    lines = [*notes, *_total_lines(total, launcher, stage)]
    left = height - sum(_height(line, width) for line in lines) - 3  # heads, "and more", the cursor
    problems: list[str] = []
    for problem in _problems(views)[::-1][:_FAILURES_SHOWN]:
        if (left := left - _height(problem, width)) < 1:
            break
        problems.insert(0, problem)
    taken = sum(_height(line, width) for line in (*problems, *lines))
    room = max(1, height - taken - 3)
    running = [item for item in views if item.state.state == "running"]
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0))
    rows = [_COLUMNS, *(_cells(item) for item in running[:room])]
    chosen = _columns_that_fit(rows, width)
    for column in chosen:
        justify: Literal["left", "right"] = "left" if column == 0 else "right"
        table.add_column(_COLUMNS[column], no_wrap=True, justify=justify)
    for row in rows[1:]:
        table.add_row(*(Text(row[column]) for column in chosen))
    if len(running) > room:
        table.add_row(Text(f"and {len(running) - room} more"))
    return Group(table, *map(Text, (*problems, *lines)))


def _height(line: str, width: int) -> int:
    """Lines of a terminal that a text takes."""
    return max(1, len(textwrap.wrap(line, width)))


def _columns_that_fit(rows: Sequence[Sequence[str]], width: int) -> list[int]:
    """The columns of a table that a terminal has room for; all that are shown run."""
    chosen = [index for index, column in enumerate(_COLUMNS) if column != "state"]
    widths = [max(len(row[index]) for row in rows) + _GAP for index in range(len(_COLUMNS))]
    for column in _EXPENDABLE:
        if sum(widths[index] for index in chosen) > width:
            chosen.remove(_COLUMNS.index(column))
    return chosen
