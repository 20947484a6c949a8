"""What is foreseen of a plan's fit, and how it is said; scaling/plan/precision.py simulates it."""

import math
from dataclasses import dataclass

from scaling.plan.prior import Prior


@dataclass(frozen=True)
class LawForesight:
    """What one law would come out as; intervals and bias over the simulations in which it stands.

    a, b     (low, high) of the 90% interval; None where it stands in too few simulations
    sd       standard deviation of a
    bias     mean of a less the prior's
    factor   90% of simulations have N* at the target within this factor of the prior's
    stands   share of simulations that are not refused
    doubts   share of simulations by flag or, where it is refused, by reason
    """

    name: str
    a: tuple[float, float] | None
    b: tuple[float, float] | None
    sd: float
    bias: float
    factor: float
    stands: float
    doubts: dict[str, float]


@dataclass(frozen=True)
class Foresight:
    """What a plan promises if `prior` holds.

    losses     least and greatest of the prior at the cells
    bracketed  every valley keeps its vertex while N* lies within these factors of the prior's;
               None where some has none even there
    """

    prior: Prior
    noise: tuple[float, float]
    losses: tuple[float, float]
    target_flops: float
    simulations: int
    laws: tuple[LawForesight, ...]
    bracketed: tuple[float, float] | None


def foresight_lines(found: Foresight, vocab_size: int) -> list[str]:
    """What is foreseen of the fit: the premise, a line a law, how far off the centre may be."""
    least, most = found.noise
    noise = f"{most:.2g}" if least == most else f"{most:.2g} to {least:.2g}"
    lines = [
        "expected of the fit, 90% intervals, if loss follows",
        f"  {found.prior.name}; noise {noise} nats, {found.simulations} simulations",
        *(f"  {law_line(law, found.target_flops)}" for law in found.laws),
    ]
    for law in found.laws:
        if law.doubts:
            shares = ", ".join(f"{code} in {share:.0%}" for code, share in law.doubts.items())
            lines.append(f"  {law.name}: {shares}")
    guessing = math.log(vocab_size)
    if found.losses[1] > guessing:
        lines.append(
            f"  not to be relied on: that law has losses of {found.losses[1]:.3g} nats here, "
            f"guessing {guessing:.3g}; name another"
        )
    if found.bracketed is None:
        lines.append(
            "  by that law the optimum of some budget lies at the edge of its sizes, or beyond"
        )
    else:
        down, up = found.bracketed
        lines.append(
            f"  every valley has a vertex while N* lies within {down:.2g} to {up:.2g} times "
            "that law's"
        )
    return lines


def law_line(law: LawForesight, target_flops: float) -> str:
    """The exponents and N* that one law is expected to give."""
    if law.a is None or law.b is None:
        return f"{law.name:<10}  stands in {law.stands:.0%} of the simulations: no interval"
    (a, da), (b, db) = (((high + low) / 2, (high - low) / 2) for low, high in (law.a, law.b))
    return (
        f"{law.name:<10}  a = {a:.3f} +-{da:.3f}, b = {b:.3f} +-{db:.3f}, "
        f"N* at {target_flops:.3g} FLOP within a factor {law.factor:.2f}"
    )
