"""Flags that several laws share: of the runs, of wide intervals; and shared refusals."""

from collections import Counter
from collections.abc import Mapping

import numpy as np

from common.text import listed, plural, shown
from scaling.fit.flags import Flag
from scaling.fit.observations import Observations
from scaling.fit.results.estimate import Estimate, Identifiability

# A 90% interval of a of this width leaves N* open by a factor 1.26 a decade of extrapolation.
WIDE = 0.1
# Width of a 90% interval, as a share of the value, beyond which a constant is not known.
WIDE_SHARE = 0.5
E_AT_BOUND = "E ended at its bound 0: these runs show no irreducible loss"
# Values this near each other tell an exponent from a constant by the noise alone.
NARROW = 4.0
ENOUGH_BUDGETS = 5  # for a law through their minima to rely on
FEWEST_VALUES = 3  # of N, and of D, that show an exponent
# Beyond this condition number noise of 0.2% in the loss leaves the a of a surface open by about
# 0.1 at 90%; five budgets of seven sizes within 4 times of the optimum have 30 to 60.
COLLINEAR = 200.0
_LOST = 3.0  # relative standard error of a constant of which not even the size is known
_FOLLOWS = 2.0  # a factor within which D is a power of N
_EXACTLY = 1e-6  # share of N or D that is rounding
_MOST_FAILED = 0.5  # share of the resamples
# Optima are computed with C = 6 N D: beyond this share of difference they are for another budget.
_FLOP_MISMATCH = 0.05
_LONG_WARMUP = 0.25
_A_CURVE = 3  # rows of one run: two may be its two horizons
_EVEN_STEPS = 6  # rows of one size at even steps of D: those of a grid are at even ratios


def data_flags(observations: Observations) -> tuple[Flag, ...]:
    """Flags of the runs themselves, which any law through them inherits."""
    flags = []
    repeated = len(observations) - _distinct_points(observations)
    if repeated:
        runs = plural(repeated, "run repeats", "runs repeat")
        text = f"{runs} the (N, D) of another; reduce=best keeps the lowest loss"
        if names := observations.told_apart_by:
            best = shown(names[0])
            text += (
                f"; they differ in {listed(names[:6])}: by={best} fits each apart, "
                f"where.{best}=VALUE one of them"
            )
        flags.append(Flag("repeated_points", text))
    ratio = observations.flops / (6 * observations.params * observations.tokens)
    if np.abs(ratio - 1).max() > _FLOP_MISMATCH:
        text = f"FLOP are {ratio.min():.3g} to {ratio.max():.3g} times 6 N D; optima assume 6 N D, "
        text += "but for minima of IsoFLOP curves, which are at the FLOP given"
        flags.append(Flag("flops_mismatch", text))
    warmup = observations.columns.get("warmup_tokens")
    if warmup is not None:
        late = int((warmup > _LONG_WARMUP * observations.tokens).sum())
        if late:
            text = f"{plural(late, 'run')} spent over a quarter of their tokens in warm-up"
            flags.append(Flag("unsettled_schedule", text))
    unmarked = observations.columns.get("unmarked_end")
    if unmarked is not None:
        runs = plural(int(np.nansum(unmarked)), "run has", "runs have")
        text = f"{runs} no row with is_final=1, so that the last is taken"
        flags.append(Flag("unsettled_schedule", text))
    several = len(set(observations.run_id)) < len(observations)  # soon known of a million runs
    # With a step they are ends of curves, or rows=runs took them for runs.
    if several and "step" not in observations.columns:
        rows = Counter(zip(observations.run_id, observations.params.tolist(), strict=True))
        curves = [(name, count) for (name, _), count in rows.items() if count >= _A_CURVE]
        if curves:
            name, count = curves[0]
            text = (
                f"{plural(len(curves), 'run has', 'runs have')} several rows, as {shown(name)} has "
                f"{count}: before a schedule's end the loss lies above the law; columns.step=NAME "
                "takes the last row of each"
            )
            flags.append(Flag("unsettled_schedule", text))
    elif "step" not in observations.columns and (found := _evenly_logged(observations)):
        sizes, logged = found
        text = (
            f"{plural(logged, 'row')} of {plural(sizes, 'size')} stand at even steps of tokens, as "
            "rows of a training curve do: before a schedule's end the loss lies above the law; if "
            "a size is one run, columns.run_id=params columns.step=tokens takes its last row, by "
            "the table's own names"
        )
        flags.append(Flag("unsettled_schedule", text))
    return tuple(flags)


def _evenly_logged(observations: Observations) -> tuple[int, int] | None:
    """How many sizes have data in even steps, and their rows; None if those are not the most."""
    if not all(name.startswith("row-") for name in observations.run_id):
        return None  # runs with names of their own are runs
    order = np.lexsort((observations.tokens, observations.params))
    n, d = observations.params[order], observations.tokens[order]
    same = np.diff(n) == 0
    if not same.any():
        return None
    starts = np.flatnonzero(np.append(True, ~same))
    counts, steps = np.diff(np.append(starts, len(n))), np.append(np.diff(d), np.nan)
    inside = np.append(same, False)
    least = np.minimum.reduceat(np.where(inside, steps, np.inf), starts)
    most = np.maximum.reduceat(np.where(inside, steps, -np.inf), starts)
    even = (counts >= _EVEN_STEPS) & (least > 0) & (most < 1.001 * least)
    rows = int(counts[even].sum())
    return (int(even.sum()), rows) if 2 * rows > len(n) else None


def unsteady(failed: int, resamples: int) -> str | None:
    """Why a law whose fit fails in most resamples is refused; None if it does not."""
    if failed <= _MOST_FAILED * resamples:
        return None
    return (
        f"the fit failed in {failed} of {resamples} bootstrap resamples; the estimate is not "
        "reliable"
    )


def too_few_points(observations: Observations, parameters: int) -> str | None:
    """Why a law of so many parameters in N and D is refused; None if the runs are enough."""
    points = _distinct_points(observations)
    if points > parameters:
        return None
    return f"{plural(points, 'distinct (N, D) point')}, expected at least {parameters + 1}"


def _distinct_points(observations: Observations) -> int:
    order = np.argsort(observations.params, kind="stable")
    again = np.diff(observations.params[order]) == 0
    # Of rows whose N stands once nothing else need be compared.
    shared = order[np.append(again, False) | np.append(False, again)]
    alone = len(observations) - len(shared)
    return alone + len(np.unique(observations.params[shared] + 1j * observations.tokens[shared]))


def poor_design(observations: Observations) -> str | None:
    """Why no losses could show an exponent of N and one of D; None if they might."""
    n, d = observations.params, observations.tokens
    for name, values in (("N", n), ("D", d)):
        if (distinct := len(np.unique(values))) < FEWEST_VALUES:
            return f"{distinct} distinct {name}, expected at least 3 to see an exponent"
    if np.ptp(np.log(d / n)) < _EXACTLY:
        return "D is one multiple of N in every run: their effects cannot be told apart"
    power, free = _follows(n, d)
    if free < _EXACTLY:
        return f"D is N^{power:.3g} times a constant: their effects cannot be told apart"
    return None


def design_in_words(params: np.ndarray, tokens: np.ndarray) -> str | None:
    """What about sizes and data leaves constants of a law in both open; None if nothing."""
    spans = {name: (v, v.max() / v.min()) for name, v in (("N", params), ("D", tokens))}
    for name, (values, span) in spans.items():
        if (distinct := len(np.unique(values))) < FEWEST_VALUES:
            return f"{distinct} distinct {name}"
        if span < _FOLLOWS:
            return f"{name} spans a factor {span:.3g}"
    power, free = _follows(params, tokens)
    if free < np.log(_FOLLOWS):
        ratio = tokens / params
        if ratio.max() < (1 + _EXACTLY) * ratio.min():
            return "all runs have one ratio of tokens to parameters"
        if ratio.max() < _FOLLOWS * ratio.min():
            return f"tokens per parameter span only {ratio.min():.3g} to {ratio.max():.3g}"
        return f"D follows N, as N^{power:.2g} within a factor {np.exp(free):.3g}"
    narrow = [f"{name} spans a factor {span:.3g}" for name, (_, span) in spans.items() if span < 10]
    return " and ".join(narrow) or None


def _follows(params: np.ndarray, tokens: np.ndarray) -> tuple[float, float]:
    """The power of N that D follows, and the range of log D about it."""
    x, y = np.log(params), np.log(tokens)
    x, y = x - x.mean(), y - y.mean()
    power = float(x @ y / max(x @ x, 1e-300))
    return power, float(np.ptp(y - power * x))


def unidentified(
    found: Identifiability,
    observations: Observations,
    known: Mapping[str, float],
    why: str | None = None,
) -> str | None:
    """Why a law is refused whose constants its runs do not determine; None if they do.

    An irreducible loss alone is flagged instead, and so are constants of which at least the size
    is known. `known` are the constants to give all the same, as far as they are determined; `why`
    is the cause in words, else read off the N and D of the observations.
    """
    errors = (e for name, e in found.relative_se.items() if name != "E")
    if all(e is not None and e < _LOST for e in errors):
        return None
    runs = f"{plural(len(observations), 'run')} with so much scatter"
    why = why or design_in_words(observations.params, observations.tokens) or runs
    kept = [f"{n} = {v:.4g}" for n, v in known.items() if n not in found.undetermined]
    also = f"; they determine {listed(kept)} alone" if kept else ""
    return f"{why}: these runs do not determine {listed(found.undetermined)}{also}"


def collinear(found: Identifiability, observations: Observations) -> tuple[Flag, ...]:
    """The flag of a design in which constants move the losses nearly alike, if it is one."""
    if found.condition is not None and found.condition <= COLLINEAR:
        return ()
    return (collinear_flag(found, observations.params, observations.tokens),)


def collinear_flag(found: Identifiability, params: np.ndarray, tokens: np.ndarray) -> Flag:
    """The same in words, of any N and D."""
    errors = {name: np.inf if e is None else e for name, e in found.relative_se.items()}
    alike = [name for name, e in errors.items() if e >= 0.3 * max(errors.values())]
    number = "infinite" if found.condition is None else f"{found.condition:.2g}"
    why = design_in_words(params, tokens) or plural(len(params), "run")
    text = (
        f"{why}: {listed(alike)} move the losses nearly alike "
        f"(condition number {number}; an IsoFLOP grid of five budgets has about 50); spread tokens "
        "per parameter and sizes"
    )
    return Flag("collinear_design", text)


def is_wide(found: Estimate, most: float) -> bool:
    """Whether the 90% interval is wider than `most`; not where it is unknown."""
    return found.ci90 is not None and found.ci90[1] - found.ci90[0] > most


def wide_interval(exponent: Estimate, name: str = "a", most: float = WIDE) -> tuple[Flag, ...]:
    """The flag of an exponent that is too uncertain to extrapolate with, if it is."""
    if exponent.ci90 is None or not is_wide(exponent, most):
        return ()
    low, high = exponent.ci90
    text = f"the 90% interval of {name} is wide, {low:.3f} to {high:.3f}"
    return (Flag("wide_interval", text),)


def wide_share(exponent: Estimate, name: str) -> tuple[Flag, ...]:
    """The same of an exponent whose size is not known in advance: as a share of its value."""
    return wide_interval(exponent, name, WIDE_SHARE * exponent.value) if exponent.value else ()


def wide_floor(E: Estimate) -> tuple[Flag, ...]:
    """The flag of an irreducible loss that is not known, if it is not."""
    if E.ci90 is None or not E.value or not is_wide(E, WIDE_SHARE * E.value):
        return ()
    text = (
        f"the 90% interval of E, {E.ci90[0]:.2f} to {E.ci90[1]:.2f}, is wider than half of E; "
        "do not extrapolate far"
    )
    return (Flag("floor_unidentified", text),)
