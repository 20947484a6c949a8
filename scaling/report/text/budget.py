"""So what size for my budget: the answers that the first screen gives, in words."""

from dataclasses import dataclass

import numpy as np

from common.numbers import compact, count
from scaling.fit.laws import PUBLISHED
from scaling.fit.predict import is_above, reached
from scaling.fit.results.estimate import Estimate
from scaling.fit.results.other_laws import KaplanLaws
from scaling.report.optimum import Optimum, Quantity, optima
from scaling.report.study import Study
from scaling.report.text.estimates import in_counts
from scaling.report.text.labels import axis_labels
from scaling.report.text.verdict import misfit_of
from training.device.data_sheets import peak_flops
from training.device.stated import FULL_MFU

GPU = "H200"
ONE_DAY = float(peak_flops(GPU, "bf16") or 0) * FULL_MFU * 86_400
"""FLOP of one GPU for one day, of dense bf16."""

FARTHEST = 1000.0
"""Times the compute measured beyond which a law has no answer here."""

_BELOW, _STEPS = 10.0, 41


@dataclass(frozen=True)
class BudgetAnswer:
    """A budget in words, the size and the data for it, and how far they can be relied on."""

    budget: str
    answer: str
    note: str = ""


def reach_of(low: float, high: float) -> list[float]:
    """The budgets at which a page knows the interval of a law measured from `low` to `high`."""
    asked = [high, 10 * high, 100 * high]
    asked += [ONE_DAY] if low / _BELOW < ONE_DAY < FARTHEST * high else []
    return sorted({*np.geomspace(low / _BELOW, high * FARTHEST, _STEPS).tolist(), *asked})


def budget_answers(study: Study) -> tuple[BudgetAnswer, ...]:
    """By the first law that stands: the largest budget, ten times that, one GPU for one day."""
    for law in optima(study).values():
        token = axis_labels(study).token
        names = {
            law.high: "the most measured",
            10 * law.high: "10 times that",
            ONE_DAY: f"one {GPU} for one day at {FULL_MFU:.0%} MFU",
        }
        return tuple(
            _answer(study, law, flops, name, token) for flops, name in sorted(names.items())
        )
    return ()


def loss_at_best(study: Study, flops: float, n: float, d: float) -> tuple[float, str] | None:
    """The loss of the best model of a budget, of size n on d tokens, and the law that says it.

    That is the surface, unless it misses its runs or runs of no more compute are below it; then
    Kaplan's L(C), a line through the least losses. None where no law says it, or no runs are known
    that might deny it.
    """
    measured = reached(study.runs, flops)
    if measured is None:
        return None
    surface = optima(study).get("parametric")
    if surface is not None and surface.surface is not None and not misfit_of(study.document):
        loss = float(surface.surface.predict_loss(n, d))
        if not is_above(loss, measured):
            return loss, "the surface"
    kaplan = study.document.laws.get("kaplan")
    line = kaplan.L_C if isinstance(kaplan, KaplanLaws) else None
    scale = line.C_c.value if line is not None and line.C_c is not None else None
    if line is None or scale is None or line.alpha.value is None:
        return None
    floor = (line.E.value or 0.0) if line.E is not None else 0.0
    loss = floor + (scale / flops) ** line.alpha.value
    return None if is_above(loss, measured) else (loss, "L(C)")


def _answer(study: Study, law: Optimum, flops: float, name: str, token: str) -> BudgetAnswer:
    budget = f"{compact(flops)} FLOP, {name}"
    beyond = max(flops / law.high, law.low / flops)
    if beyond > FARTHEST:
        n, d = PUBLISHED["besiroglu"].optimal_allocation(flops)
        published = f"{count(n)} parameters on {count(d)} tokens by Besiroglu et al. 2024"
        return BudgetAnswer(budget, published, f"{compact(beyond, 1)} times beyond this study")
    at = np.array([flops])
    n, d = (_estimate(law, quantity, at) for quantity in ("n", "d"))
    doubt = ", though log N* bends" if law.bends else ""
    note = "" if beyond < 1.001 else f"extrapolated{doubt}"
    said = f"{_of(n, 'parameters')} on {_of(d, f'{token}s')}"
    if (found := loss_at_best(study, flops, n.value or 0.0, d.value or 0.0)) is not None:
        said += f", loss {found[0]:.3f} by {found[1]}"
    return BudgetAnswer(budget, said, note)


def _of(estimate: Estimate, unit: str) -> str:
    """`135k parameters (129k to 142k)`."""
    value, _, interval = in_counts(estimate).partition(" ")
    return f"{value} {unit} {interval}".rstrip()


def _estimate(law: Optimum, quantity: Quantity, flops: np.ndarray) -> Estimate:
    low, high = law.ends(quantity, flops)[:, 0]
    known = np.isfinite(low) and np.isfinite(high)
    return Estimate(float(law.at(flops)[quantity][0]), ci90=(low, high) if known else None)
