"""What to tell of the columns that a fit reads: which they are, and in which units they seem."""

import re
from collections.abc import Iterator

import numpy as np

from common.text import listed, plural
from scaling.fit.budget_flops import as_flops, at_budget, mixed_flops
from scaling.fit.config import FitConfig
from scaling.fit.flags import Flag
from scaling.fit.table.columns import Table
from scaling.fit.table.hints import (
    is_held_out,
    is_loss_by_meaning,
    is_of_training,
    scale_of,
)
from scaling.fit.table.loss_unit import rising, unit_flags
from scaling.fit.table.remarks.odd_cells import odd_cells
from scaling.fit.table.schema import COUNTS, DONE, OTHERS, is_done
from scaling.fit.table.written_numbers import maybe_thousands

# No language model was trained below these, and none above.
_LEAST = {"params": 2_000.0, "tokens": 1e5, "flops": 1e10}
_MOST = {"params": 1e15, "tokens": 1e18, "flops": 1e32}
_UNITS = {"params": "1e6 or 1e9", "tokens": "1e9", "flops": "1e18"}
_GUESS = 10.8  # ln 50257
_NAMED_BELOW = {"1e3": 1e8}  # a count beyond it is not in the unit that its name says, else 1e6
_LOGS = {"params": (3.0, 14.0), "tokens": (4.0, 17.0), "flops": (9.0, 30.0)}


def remarks(runs: Table, config: FitConfig) -> Iterator[Flag]:
    """What to tell of a table of runs that is no sweep of our own."""
    done = runs.take(runs.done)
    columns = {name: done.numbers_or_nan(name) for name in ("params", "tokens", "loss", "flops")}
    for name in _LEAST:
        yield from _unit(done, name, config)
    for name in [name for name in COUNTS if name in done.names and name not in _LEAST]:
        yield from _thousands(done, name, config)
    yield from odd_cells(done)
    by_rule = 6 * columns["params"] * columns["tokens"]
    own = np.where(np.isnan(columns["flops"]), by_rule, columns["flops"])
    named = done.numbers_or_nan("flops_budget")
    budget = as_flops(named, own)
    yield from _budgets(named, budget)
    read = config.columns.get("loss", "loss")
    losses = columns["loss"][np.isfinite(columns["loss"])]
    if config.loss_unit == "nats" and losses.size and np.median(losses) > _GUESS:
        text = (
            f"half of the losses are above {_GUESS:.3g} nats, the loss of a uniform guess among "
            "50,257 tokens: if they are perplexities, loss_unit=ppl"
        )
        yield Flag("loss_unit", text)
    if "loss" not in config.derive:
        yield from unit_flags(read, config.loss_unit)
        yield from _other_losses(done, read, "loss" in config.columns)
    known = np.isfinite(columns["loss"]) & (columns["params"] > 0) & (columns["tokens"] > 0)
    elsewhere = "loss" in config.derive or not unit_flags(read, config.loss_unit)
    if elsewhere and rising(*(columns[name][known] for name in ("params", "tokens", "loss"))):
        text = f"loss rises with size and with data: {read!r} seems to be an accuracy, not a loss"
        yield Flag("no_loss", text)
    if config.convention.flops is None:
        flops = at_budget(columns["flops"], budget)
        if mixed_flops(flops, by_rule):
            yield _mixed(flops / by_rule, np.isfinite(budget))
    words = {str(word) for word in runs.distinct("status")[1] if word is not None}
    if unknown := sorted(
        word for word in words if not is_done(word) and word.lower() not in OTHERS
    ):
        text = (
            f"status {listed(unknown[:6])}: no word known, so that these runs are excluded; of a "
            f"run that ended well expected one of {', '.join(sorted(DONE))}"
        )
        yield Flag("unknown_status", text)


def _mixed(ratio: np.ndarray, is_named: np.ndarray) -> Flag:
    """That runs (n,) are counted in two ways, given their C over 6 N D, nan for those without."""
    known = np.isfinite(ratio)
    own = ratio[known & ~is_named] if (known & ~is_named).any() else ratio[known]
    lacking = "neither flops nor a budget" if is_named.any() else "no flops"
    taken = "6 N D for all"
    if is_named.any():
        taken = f"the budget of the {int(is_named.sum())} that name one and 6 N D for the others"
    text = (
        f"{int((~known).sum())} of {plural(len(known), 'run has', 'runs have')} {lacking}, "
        f"and the others {own.min():.3g} to {own.max():.3g} times 6 N D: C is {taken}, so that "
        "one count holds; where.flops=!=null keeps the others"
    )
    return Flag("mixed_flops", text)


def _budgets(named: np.ndarray, budget: np.ndarray) -> Iterator[Flag]:
    """Whether budgets, as named and as FLOP (n,), are labels or in another unit."""
    changed = (budget != named) & (named > 0)
    if changed.any():
        low, high = float(named[changed].min()), float(named[changed].max())
        text = (
            f"flops_budget are {low:.3g} to {high:.3g}, over ten times from their runs' FLOP: they "
            "say which runs belong together, and their FLOP is the mean of the runs' own"
        )
        yield Flag("units", text)


def _unit(runs: Table, name: str, config: FitConfig) -> Iterator[Flag]:
    """Whether a count seems to be in another unit than one, by its column's name or its size."""
    values = runs.numbers_or_nan(name)
    values = values[np.isfinite(values)]
    if not len(values) or name in config.derive:
        return
    read, low, high = config.columns.get(name, name), float(values.min()), float(values.max())
    middle = float(np.median(values))
    start = f"{name} were read from {read!r}" if read != name else f"{name}"
    log_low, log_high = _LOGS.get(name, (np.inf, -np.inf))
    scale = scale_of(read) if name not in config.units else None
    if re.match(r"(log(10|2)?|ln)[^a-z]", read.lower()):
        text = f"{start}, logarithms by its name: derive.{name}=\"10**'{read}'\" if to the base 10"
        yield Flag("units", text)
    elif scale and middle < _NAMED_BELOW.get(scale, 1e6):
        yield Flag("units", f"{start}, whose name says a unit: units.{name}={scale} reads it")
    elif log_low < low and high < log_high and (values != np.round(values)).any():
        text = (
            f"{start} are {low:.3g} to {high:.3g}: are they log10? derive.{name}=\"10**'{read}'\""
        )
        yield Flag("units", text)
    elif thousands := list(_thousands(runs, name, config)):
        yield from thousands
    elif middle < _LEAST[name] or middle > _MOST[name]:
        text = (
            f"{start} are {low:.3g} to {high:.3g}, which no language model has; if they count in "
            f"another unit, name it, as units.{name}={_UNITS[name]}"
        )
        yield Flag("units", text)


def _thousands(runs: Table, name: str, config: FitConfig) -> Iterator[Flag]:
    """Whether the points in the cells of a count stand between thousands."""
    cell = maybe_thousands(runs.distinct(name)[1])
    if cell is None or name in config.units or name in config.derive:
        return
    read = config.columns.get(name, name)
    text = (
        f"{name}: cells as {cell!r}{f' of {read!r}' if read != name else ''} were read as "
        f"{float(cell):g}: decimal=comma reads a point between thousands, and units.{name}= says "
        "what one unit is"
    )
    yield Flag("units", text)


def _other_losses(runs: Table, read: str, is_mapped: bool) -> Iterator[Flag]:
    """Which loss was read, where one held out stands beside it and it is not said to be one."""
    if is_held_out(read) or (is_mapped and not is_of_training(read)):
        return
    others = [
        name
        for name in runs.names
        if name != read
        and is_held_out(name)
        and is_loss_by_meaning(name)
        and runs.known(name).any()
    ]
    if others:
        text = (
            f"loss was read from {read!r}, and {listed(others[:4])} stands beside it: laws are of "
            f"losses held out, columns.loss={others[0]}"
        )
        yield Flag("loss_column", text)
