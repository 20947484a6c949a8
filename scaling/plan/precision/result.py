"""The precision to expect of a plan's fit, and the lines that state it; simulate.py finds it."""

from dataclasses import dataclass

from scaling.plan.precision.assumed_law import AssumedLaw


@dataclass(frozen=True)
class LawPrecision:
    """The expected estimates of one law; intervals and bias over the simulations that fit it.

    a, b     (low, high) of the 90% interval; None where it is fitted in too few simulations
    sd       standard deviation of a
    bias     mean of a less the assumed law's
    factor   90% of simulations have N* at the target within this factor of the assumed law's
    fitted   share of simulations that are not refused
    flags    share of simulations by flag or, where it is refused, by reason
    """

    name: str
    a: tuple[float, float] | None
    b: tuple[float, float] | None
    sd: float
    bias: float
    factor: float
    fitted: float
    flags: dict[str, float]

    def line(self, target_flops: float) -> str:
        """The exponents and N* at the target that this law is expected to give."""
        if self.a is None or self.b is None:
            return f"{self.name:<10}  fitted in {self.fitted:.0%} of the simulations: no interval"
        (a, da), (b, db) = (((high + low) / 2, (high - low) / 2) for low, high in (self.a, self.b))
        return (
            f"{self.name:<10}  a = {a:.3f} +-{da:.3f}, b = {b:.3f} +-{db:.3f}, "
            f"N* at {target_flops:.3g} FLOP within a factor {self.factor:.2f}"
        )


@dataclass(frozen=True)
class ExpectedPrecision:
    """The precision of a plan's fit if the assumed law holds.

    laws       of isoflop and parametric, in this order, those that the fit asks for
    losses     least and greatest of the assumed law at the cells
    bracketed  every curve keeps its minimum while N* lies within these factors of the assumed
               law's; None where some has none even there, or isoflop is not asked
    collinear  which constants the cells do not separate under that law, and why; None if they do
    """

    assumed: AssumedLaw
    noise: tuple[float, float]
    losses: tuple[float, float]
    target_flops: float
    simulations: int
    laws: tuple[LawPrecision, ...]
    bracketed: tuple[float, float] | None
    collinear: str | None = None

    @property
    def unreliable(self) -> str | None:
        """Why no interval is given; None where one of the simulated laws is asked and may hold."""
        if not self.laws:
            return "not simulated: fit.laws asks for neither isoflop nor parametric"
        if self.losses[1] <= self.assumed.guessing:
            return None
        return (
            f"no interval: that law has losses of {self.losses[1]:.3g} nats here, guessing "
            f"{self.assumed.guessing:.3g}; name another by foresight.law"
        )

    @property
    def headline(self) -> str:
        """The first law in one line, or why there is none."""
        return self.unreliable or self.laws[0].line(self.target_flops)


def precision_lines(found: ExpectedPrecision) -> list[str]:
    """The premise, a line a law, and how far off the centre the optimum may be."""
    if found.unreliable:
        return [f"expected precision by {found.assumed.name}:", f"  {found.unreliable}"]
    least, most = found.noise
    noise = f"{most:.2g}" if least == most else f"{most:.2g} to {least:.2g}"
    lines = [
        "expected precision of the fit, 90% intervals, if loss follows",
        f"  {found.assumed.name}; noise {noise} nats, {found.simulations} simulations",
        *(f"  {law.line(found.target_flops)}" for law in found.laws),
    ]
    for law in found.laws:
        if law.flags:
            shares = ", ".join(f"{code} in {share:.0%}" for code, share in law.flags.items())
            lines.append(f"  {law.name}: {shares}")
    if found.collinear:
        lines.append(f"  collinear design: {found.collinear}")
    if found.laws[0].name != "isoflop":
        return lines
    if found.bracketed is None:
        lines.append(
            "  by that law the optimum of some budget lies at the edge of its sizes, or beyond"
        )
    else:
        down, up = found.bracketed
        lines.append(
            f"  every IsoFLOP curve has a minimum while N* lies within {down:.2g} to {up:.2g} "
            "times that law's"
        )
    return lines
