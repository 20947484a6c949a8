"""The exponents under every way of counting parameters and FLOP that a table has columns for."""

from dataclasses import replace

from scaling.fit.config import ConventionConfig, FitConfig
from scaling.fit.dispatch import fit_law
from scaling.fit.envelope import traces_of
from scaling.fit.isoflop import Method
from scaling.fit.observations import admitted, observe
from scaling.fit.registry import HEADLINE
from scaling.fit.results.document import ConventionRow
from scaling.fit.results.estimate import UNKNOWN
from scaling.fit.results.laws import EnvelopeLaw, IsoflopLaw, ParametricLaw
from scaling.fit.table.columns import Table
from scaling.fit.table.curves import Curves

# Enough for percentiles of the exponents alone, and quick: there are up to eight ways to count.
_RESAMPLES = 500
_OF_CURVES = 200  # each takes 2 ms for 32 curves


def conventions(
    runs: Table,
    config: FitConfig,
    curves: Curves | None = None,
    method: Method | None = None,
) -> list[ConventionRow]:
    """One row for each law under each pair of counts; `reason` where it is refused.

    The surface's closed forms need C = 6 N D, so it is fitted under that count alone, which for
    effective parameters is the exact one; profiles, and the envelope of `curves`, need no relation
    between N, D and C. IsoFLOP minima are taken by the headline's `method`, so that rows differ by
    what is counted alone; where it has none each takes its own. A count that some runs lack is
    refused, one that all lack has no rows.
    """
    found: list[ConventionRow] = []
    exact = _known(runs, "flops_exact")
    for params in ("effective", "total", "matmul", "non_embedding"):
        known = _known(runs, f"params_{params}")
        for flops in ("exact", "6nd") if exact[0] else ("6nd",):
            laws = [law for law in config.asked if law in (*HEADLINE, *["envelope"] * bool(curves))]
            if flops == "exact" and params != "effective":
                laws = [law for law in laws if law != "parametric"]
            if not known[0] or not laws:
                continue
            way = ConventionConfig(params, flops)
            counts = {f"params_{params}": known} | (
                {"flops_exact": exact} if flops != "6nd" else {}
            )
            lacking = [
                f"{name} is known of {some} of {of} runs"
                for name, (some, of) in counts.items()
                if some < of
            ]
            if lacking:
                reason = " and ".join(lacking)
                found += [
                    ConventionRow(params, flops, law, UNKNOWN, UNKNOWN, reason) for law in laws
                ]
            else:
                counted = replace(config, convention=way, laws=tuple(laws), require=())
                found += [
                    ConventionRow(params, flops, name, law.a, law.b, law.reason)
                    for name, law in _fits(runs, counted, curves, method).items()
                ]
    return found


def _fits(
    runs: Table, config: FitConfig, curves: Curves | None, method: Method | None
) -> dict[str, IsoflopLaw | ParametricLaw | EnvelopeLaw]:
    """The laws under one pair of counts."""
    resamples = min(config.n_bootstrap, _RESAMPLES)
    observations = observe(runs, config)
    fits: dict[str, IsoflopLaw | ParametricLaw | EnvelopeLaw] = {}
    for name in (law for law in HEADLINE if law in config.asked):
        by = {"methods": (method,)} if method and name == "isoflop" else {}
        fits[name] = fit_law(name, observations, config, resamples, **by).law
    if curves and "envelope" in config.asked:
        traces = traces_of(curves, admitted(runs, config, observations))
        few = min(resamples, _OF_CURVES)
        fits["envelope"] = fit_law("envelope", observations, config, few, traces=traces).law
    return fits


def _known(runs: Table, name: str) -> tuple[int, int]:
    """Of how many finished runs a column has the value, and how many there are."""
    return int((runs.known(name) & runs.done).sum()), int(runs.done.sum())
