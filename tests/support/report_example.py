"""A small study as scaling/fit hands it over: four budgets, five sizes, bytes, built by hand.

The IsoFLOP curves are parabolas about N* = 14.6k (C / 2.5e10)^0.42 with the losses of a real pilot
at the minimum; nothing here is fitted, so that the report is tested apart from the fits.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from configs.schema import build
from scaling.fit.observations import Exclusion, Observations
from scaling.fit.pipeline import Fit
from scaling.fit.results import FitDocument
from scaling.fit.results.estimate import Estimate
from scaling.report.document import study_of
from scaling.report.figures.all_charts import all_charts
from scaling.report.page import render
from scaling.report.sections import sections
from scaling.report.study import Study
from tests.support.report_values import BUDGETS, LEAST, best_size, document, estimate

SIZES = (4.6e3, 8.1e3, 12e3, 23e3, 37e3, 74e3, 123e3, 258e3)


def estimate_of(value: float | None, spread: float = 0.0, bound: Any = None) -> Estimate:
    """An estimate with symmetric intervals."""
    return build(Estimate, estimate(value, spread, bound))


Edit = Callable[[dict[str, Any]], None]


def study(edit: Edit | None = None) -> Study:
    """The study as the report reads it; `edit` changes the values of its fit.json."""
    return study_of(example(edit=edit))


def page_of(found: Study, folder: Path) -> Path:
    """The page alone, without the printed figures beside it."""
    charts = all_charts(found)
    path = folder / "report.html"
    path.write_text(render(found, charts, sections(found, charts)), encoding="utf-8")
    return path


def example(
    name: str = "trial-{budget}-{size}",
    seed: int = 0,
    curves: bool = True,
    edit: Edit | None = None,
) -> Fit:
    """What a fit of it returns; `name` makes the run ids, `edit` changes its fit.json."""
    rng = np.random.default_rng(seed)
    rows = []
    for i, (budget, least) in enumerate(zip(BUDGETS, LEAST, strict=True)):
        best = best_size(budget)
        for j in range(i, i + 5):
            n = SIZES[j]
            loss = least + 0.095 * np.log(n / best) ** 2 + rng.normal(0, 0.006)
            rows.append((name.format(budget=i, size=j), n, budget / (6 * n), budget, loss))
    observations = Observations(
        run_id=tuple(row[0] for row in rows),
        params=np.array([row[1] for row in rows]),
        tokens=np.array([row[2] for row in rows]),
        flops=np.array([row[3] for row in rows]),
        loss=np.array([row[4] for row in rows]),
        flops_budget=np.array([row[3] for row in rows]),
        loss_se=np.full(len(rows), np.nan),
        columns={
            "vocab_size": np.full(len(rows), 256.0),
            "steps": np.linspace(480, 3900, len(rows)),
        },
        planned=len(rows) + 1,
        excluded=(Exclusion(name.format(budget=9, size=9), "diverged: loss not finite at 120"),),
    )
    values = document(observations)
    if edit is not None:
        edit(values)
    found = FitDocument.from_json(json.loads(json.dumps(values)))
    return Fit(found, observations, _curves(rows, rng) if curves else {}, True)


def _curves(rows: list[Any], rng: np.random.Generator) -> dict[str, list[dict[str, Any]]]:
    found = {}
    for run_id, _, tokens, flops, loss in rows:
        share = np.linspace(0.003, 1, 300)
        shape = loss + (5.55 - loss) * (
            np.exp(-30 * share) + 0.22 * (1 - share) ** 2 * share**-0.15
        )
        shape += rng.normal(0, 0.03, len(share))
        found[run_id] = [
            {
                "step": i,
                "tokens": float(s * tokens),
                "flops": float(s * flops),
                "loss": float(value),
                "val_loss": float(loss) if i == len(share) - 1 else None,
            }
            for i, (s, value) in enumerate(zip(share, shape, strict=True))
        ]
    return found
