"""What a run of a sweep is called: its budget and shape, where run_id is a digest of its settings.

Runs of other tables have the names that their owners gave them.
"""

import math
import re
from collections import Counter

from common.numbers import count
from scaling.fit.observations import Observations

_DIGESTS = re.compile(r"(?=.*[a-f])[0-9a-f]{16}(\+[0-9a-f]{16})*")
_SHORT = 8  # digits of a digest, as git shows


def run_titles(runs: Observations) -> dict[str, str]:
    """Titles by run_id, of observations, of the runs that they average, and of excluded runs."""
    unknown = [math.nan] * len(runs)
    shapes = zip(
        runs.flops_budget,
        *(runs.columns.get(name, unknown) for name in ("n_layer", "n_embd", "seed")),
        strict=True,
    )
    found: dict[str, str] = {}
    for run_id, (budget, n_layer, n_embd, seed) in zip(runs.run_id, shapes, strict=True):
        if not _DIGESTS.fullmatch(run_id) or not math.isfinite(budget + n_layer + n_embd):
            continue
        cell = f"{budget:.2g} FLOP {n_layer:.0f}x{n_embd:.0f}"
        seeds = runs.members.get(run_id, ())
        if len(seeds) > 1:
            found[run_id] = f"{cell}, {len(seeds)} seeds"
            found |= {one: f"{cell} ({one[:_SHORT]})" for one in seeds}
        else:
            found[run_id] = cell if math.isnan(seed) else f"{cell} seed {seed:.0f}"
    for lost in runs.excluded:
        if _DIGESTS.fullmatch(lost.run_id) and math.isfinite(lost.flops_budget + lost.params):
            cell = f"{lost.flops_budget:.2g} FLOP N {count(lost.params)}"
            found[lost.run_id] = f"{cell} ({lost.run_id[:_SHORT]})"
    times = Counter(found.values())  # of tuned rates and batches one cell has several
    return {
        one: title if times[title] == 1 else f"{title} ({one[:_SHORT]})"
        for one, title in found.items()
    }
