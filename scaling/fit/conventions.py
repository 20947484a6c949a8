"""The exponents under every way of counting parameters and FLOP that a table has columns for."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from scaling.fit.columns import Row
from scaling.fit.config import ConventionConfig, FitConfig
from scaling.fit.curves import Curves
from scaling.fit.envelope import fit_envelope, traces_of
from scaling.fit.headline import fit_headline
from scaling.fit.observations import admitted, observe

# Enough for percentiles of the exponents alone, and quick: there are up to eight ways to count.
_RESAMPLES = 500
_OF_CURVES = 200  # each takes 2 ms for 32 curves


def conventions(
    rows: Sequence[Row], config: FitConfig, curves: Curves | None = None
) -> list[dict[str, Any]]:
    """Rows of fit.json, one for each law that stands under each pair of counts.

    The surface's closed forms need C = 6 N D, so it is fitted under that count alone, which for
    effective parameters is the exact one; valleys, and the envelope of `curves`, need no relation
    between N, D and C.
    """
    found = []
    resamples = min(config.n_bootstrap, _RESAMPLES)
    exact = _has(rows, "flops_exact")
    for params in ("effective", "total", "matmul", "non_embedding"):
        if not _has(rows, f"params_{params}"):
            continue
        for flops in ("exact", "6nd") if exact else ("6nd",):
            laws = config.asked
            if flops == "exact" and params != "effective":
                laws = tuple(law for law in laws if law != "parametric")
            if not laws:
                continue
            counted = replace(config, convention=ConventionConfig(params, flops), laws=laws)
            runs = observe(rows, counted)
            laws_found = fit_headline(runs, counted, resamples).standing
            if curves and "envelope" in laws:
                traces = traces_of(curves, admitted(rows, counted, runs))
                envelope = fit_envelope(traces, runs, min(resamples, _OF_CURVES), config.seed).law
                laws_found += [envelope] if envelope.status != "refused" else []
            for law in laws_found:
                exponents = {name: law.estimates[name].document() for name in ("a", "b")}
                found.append({"params": params, "flops": flops, "law": law.name, **exponents})
    return found


def _has(rows: Sequence[Row], name: str) -> bool:
    """Whether every finished run has a value in that column."""
    used = [row for row in rows if row.values.get("status") in (None, "done")]
    return bool(used) and all(row.values.get(name) is not None for row in used)
