"""The exponents under every way of counting parameters and FLOP that a table has columns for."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from scaling.fit.columns import Row
from scaling.fit.config import HEADLINE, ConventionConfig, FitConfig
from scaling.fit.curves import Curves
from scaling.fit.envelope import fit_envelope, traces_of
from scaling.fit.headline import fit_headline
from scaling.fit.laws import UNKNOWN, LawFit
from scaling.fit.observations import admitted, observe

# Enough for percentiles of the exponents alone, and quick: there are up to eight ways to count.
_RESAMPLES = 500
_OF_CURVES = 200  # each takes 2 ms for 32 curves


def conventions(
    rows: Sequence[Row], config: FitConfig, curves: Curves | None = None
) -> list[dict[str, Any]]:
    """Rows of fit.json, one for each law under each pair of counts; `reason` where it is refused.

    The surface's closed forms need C = 6 N D, so it is fitted under that count alone, which for
    effective parameters is the exact one; valleys, and the envelope of `curves`, need no relation
    between N, D and C. A count that some runs lack is refused, one that all lack has no rows.
    """
    found = []
    exact = _known(rows, "flops_exact")
    for params in ("effective", "total", "matmul", "non_embedding"):
        known = _known(rows, f"params_{params}")
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
                fits = [LawFit(law, reason=" and ".join(lacking)) for law in laws]
            else:
                counted = replace(config, convention=way, laws=tuple(laws), require=())
                fits = _fits(rows, counted, curves)
            found += [
                {
                    "params": params,
                    "flops": flops,
                    "law": law.name,
                    **{name: law.estimates.get(name, UNKNOWN).document() for name in ("a", "b")},
                    "reason": law.reason,
                }
                for law in fits
            ]
    return found


def _fits(rows: Sequence[Row], config: FitConfig, curves: Curves | None) -> list[LawFit]:
    """The laws under one pair of counts."""
    resamples = min(config.n_bootstrap, _RESAMPLES)
    runs = observe(rows, config)
    fits = fit_headline(runs, config, resamples).laws
    if curves and "envelope" in config.asked:
        traces = traces_of(curves, admitted(rows, config, runs))
        fits.append(fit_envelope(traces, runs, min(resamples, _OF_CURVES), config.seed).law)
    return fits


def _known(rows: Sequence[Row], name: str) -> tuple[int, int]:
    """Of how many finished runs a column has the value, and how many there are."""
    used = [row for row in rows if row.values.get("status") in (None, "done")]
    return sum(row.values.get(name) is not None for row in used), len(used)
