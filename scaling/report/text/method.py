"""The method in short, with its equations and sources, for a reader of the report alone."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """One paragraph of the method, its equation, and its source as (name, address)."""

    title: str
    text: str
    equation: str = ""
    source: tuple[str, str] | None = None


_HOFFMANN = ("Hoffmann et al. 2022", "https://arxiv.org/abs/2203.15556")
_BESIROGLU = ("Besiroglu et al. 2024", "https://arxiv.org/abs/2404.10102")
_PORIAN = ("Porian et al. 2024", "https://arxiv.org/abs/2406.19146")

METHOD = (
    Step(
        "Runs",
        "Each run is trained from scratch with a schedule that ends exactly at its own token "
        "budget; only the loss of its final weights on held-out text enters. A budget of compute C "
        "is divided between parameters N and training tokens D.",
        "C = 6 N D",
        _HOFFMANN,
    ),
    Step(
        "Counting",
        "What counts as a parameter or a FLOP changes a fitted exponent by up to 0.2, so the fit "
        "is repeated under every convention that the runs record. N_eff is the training FLOP per "
        "token divided by six, causal attention and the output head included: with it C = 6 N D "
        "is exact.",
        "N_eff = f / 6,   f = 6 (12 L d² + V d) + 6 L d T",
        _PORIAN,
    ),
    Step(
        "IsoFLOP curves (approach 2)",
        "At each budget the losses of models of several sizes form an IsoFLOP curve; its minimum "
        "N* is that of a parabola in log N, near the lowest loss or over all sizes, of one skewed "
        "shape that all curves share, or of a spline: whichever has the least error of a in "
        "simulations of these sizes and this noise. fit.json names the method taken and why. A "
        "line through the minima in log-log, each weighted by its own variance and the scatter "
        "between budgets, gives the exponents; the other methods are checks. A curve that is open "
        "on one side has no minimum and is left out.",
        "N* ∝ C^a,   D* ∝ C^b",
        _HOFFMANN,
    ),
    Step(
        "Parametric surface (approach 3)",
        "One surface through all final losses, by the least sum of Huber losses (δ = 0.001 "
        "unless fit.json states another objective) of the log loss, from many starts, the best "
        "polished until its gradient vanishes.",
        "L(N, D) = E + A / N^α + B / D^β,   a = β / (α + β)",
        _BESIROGLU,
    ),
    Step(
        "Intervals",
        "Every interval is 90%, percentiles over refits: the surface to randomly weighted runs, "
        "the IsoFLOP curves to resampled residuals or to noise of the size seen between seeds. An "
        "interval holds what scatter of runs can move; it does not hold a wrong form, untuned "
        "training or another corpus.",
    ),
    Step(
        "Held-out budget",
        "The largest budget is left out, the law is fitted below it, and the loss of the best run "
        "there is predicted at that run's own N and D.",
    ),
    Step(
        "States",
        "A law is ok, flagged (its flags are named), or refused: then it has no numbers here, and "
        "no line in any figure.",
    ),
)
