"""Learning rate, batch, beta2, warm-up and initialisation by named rules, each with its range.

A rule is a published (or here measured) formula; outside the range in which it is believed it is
refused instead of extrapolated. N, D and C are parameters, training tokens and training FLOP; each
formula says which N it means.

    Step Law  Li et al. 2025, arXiv 2503.04715      DeepSeek  Bi et al. 2024, arXiv 2401.02954
    Porian    Porian et al. 2024, arXiv 2406.19146  Kaplan    Kaplan et al. 2020, arXiv 2001.08361
    GPT-3     Brown et al. 2020, arXiv 2005.14165, table 2.1
    toy       two to four layers over bytes, d = 16 to 96, D = 0.1 to 2.3 MB: one-seed sweeps of
              this project on code, so a working point and not a law

At 20 tokens per parameter, 1e16 to 1e20 FLOP, the rates and batches of Step Law, DeepSeek and
Porian agree within a factor of 3.5. None was made for GPT-2's exact recipe: before a large grid,
run its centre at lr_factor 1/2 and 2.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from common.errors import BadInput
from model.config import GPTConfig
from model.flops import params_effective, params_matmul, params_non_embedding
from scaling.fit.other_laws import kaplan_learning_rate

LrName = Literal["toy", "step_law", "deepseek", "porian", "kaplan", "gpt3"]
BatchName = Literal["toy", "toy_size", "step_law", "step_porian", "deepseek", "porian", "gpt3"]
Beta2Name = Literal["toy", "token_memory"]
WarmupName = Literal["tenth", "parameters", "size"]
InitName = Literal["width", "gpt2"]

# GPT-2 has no QK-norm; its loss spikes above this learning rate. The published rules met it only
# at sizes where they ask for less.
STABLE_LR = 6e-3
# The factor by which a batch may be rounded for its ranks: half a step of tuning.
MOST_ROUNDING = 1.42


@dataclass(frozen=True)
class Case:
    """What a rule may look at: the network, and the tokens (D) and FLOP (C) of the whole run."""

    model: GPTConfig
    tokens: float
    flops: float

    @property
    def width(self) -> int:
        """n_embd."""
        return self.model.n_embd

    @property
    def n_non_embedding(self) -> int:
        """12 L d^2."""
        return params_non_embedding(self.model)

    @property
    def n_matmul(self) -> int:
        """12 L d^2 + V d."""
        return params_matmul(self.model)

    @property
    def n_effective(self) -> int:
        """Exact training FLOP of a token over 6."""
        return params_effective(self.model)


@dataclass(frozen=True)
class Rule:
    """A formula of some properties of Case, in the closed range of each in which it is accepted.

    `cap` is the most that its value, corrected by any factor, may be.
    """

    formula: Callable[..., float]
    within: Mapping[str, tuple[float, float]]
    cap: float = math.inf

    def __call__(self, case: Case) -> float:
        """The formula's value, whatever the range."""
        return self.formula(*(getattr(case, name) for name in self.within))

    def excess(self, case: Case) -> dict[str, float]:
        """The properties of `case` outside their ranges, and by how many e-folds."""
        found = {}
        for name, (low, high) in self.within.items():
            value = getattr(case, name)
            if not low <= value <= high:
                found[name] = abs(math.log(value / (low if value < low else high)))
        return found


def gpt3_row(n_non_embedding: float) -> tuple[float, float]:
    """(learning rate, batch in tokens) of the GPT-3 model nearest in ln N."""
    # 12 L d^2 of the models called 125M, 350M, 760M and 1.3B.
    table = {85e6: (6e-4, 0.5e6), 302e6: (3e-4, 0.5e6), 680e6: (2.5e-4, 0.5e6), 1.21e9: (2e-4, 1e6)}
    return table[min(table, key=lambda n: abs(math.log(n / n_non_embedding)))]


# Ranges. Published rules: where they are known to agree (above), widened to the edges of an IsoFLOP
# curve (1 to 320 tokens per parameter), and where their authors went beyond. toy: its sweeps,
# widened by a factor of two in width; in D to where its floor of two sequences decides, and up to
# one corpus.
_STEP_LAW = {"n_non_embedding": (9e4, 3e9), "tokens": (1e7, 1e13)}
LEARNING_RATES: Mapping[str, Rule] = {
    # Within 0.01 nats of the best bracketed learning rate at d = 16 to 64.
    "toy": Rule(lambda width: min(0.02, 0.28 / width), {"width": (8, 192)}),
    "step_law": Rule(lambda n, d: max(1e-5, 1.79 * n**-0.713 * d**0.307), _STEP_LAW, STABLE_LR),
    # Fitted with a multi-step schedule.
    "deepseek": Rule(lambda c: 0.3118 * c**-0.125, {"flops": (1e15, 1e25)}, STABLE_LR),
    # At 20 tokens per parameter, with QK-norm.
    "porian": Rule(lambda n: 0.0047 * (n / 108e6) ** (-1 / 3), {"n_matmul": (2e6, 1e9)}, STABLE_LR),
    "kaplan": Rule(lambda n: float(kaplan_learning_rate(n)), {"n_non_embedding": (768, 1.5e9)}),
    "gpt3": Rule(lambda n: gpt3_row(n)[0], {"n_non_embedding": (5e7, 2e9)}),
}
BATCHES: Mapping[str, Rule] = {  # in tokens
    # A third of Step Law's, which costs 0.03 nats and more below 1 MB.
    "toy": Rule(lambda d: 0.2 * d**0.571, {"tokens": (1e3, 1e8)}),
    # The same at D = 20 N whatever the horizon, so that runs of a size may share a trunk.
    "toy_size": Rule(lambda n: 0.2 * (20 * n) ** 0.571, {"n_effective": (50, 5e6)}),
    "step_law": Rule(lambda d: 0.58 * d**0.571, {"tokens": (1e7, 1e13)}),
    # Between Step Law and Porian, in powers of two.
    "step_porian": Rule(lambda d: 2.0 ** round(math.log2(0.8 * d**0.571)), {"tokens": (1e7, 1e13)}),
    "deepseek": Rule(lambda c: 0.2920 * c**0.3271, {"flops": (1e15, 1e25)}),
    "porian": Rule(lambda n: 328e3 * (n / 108e6) ** (2 / 3), {"n_matmul": (2e6, 1e9)}),
    "gpt3": Rule(lambda n: gpt3_row(n)[1], {"n_non_embedding": (5e7, 2e9)}),
}
INITIALISATIONS: Mapping[str, Rule] = {
    # Equal to GPT-2's at its own smallest width; a fixed 0.02 costs 0.04, 0.12, 0.2 nats at
    # d = 16, 32, 64, so it moves the optimum.
    "width": Rule(lambda width: 0.02 * math.sqrt(768 / width), {"width": (8, 768)}),
    "gpt2": Rule(lambda: 0.02, {}),
}


def learning_rate(name: LrName, case: Case, factor: float = 1.0) -> float:
    """Peak learning rate: `factor` times the rule's, at most its cap.

    Raises BadInput outside the rule's range.
    """
    return min(LEARNING_RATES[name].cap, factor * _apply("lr", LEARNING_RATES, name, case))


def batch_tokens(name: BatchName, case: Case, factor: float = 1.0, multiple: int = 1) -> int:
    """Tokens of a step: `factor` times the rule's, in whole sequences (toy: two or more).

    The nearest multiple of `multiple` sequences. Raises BadInput outside the rule's range, and
    where that is another batch altogether.
    """
    block = case.model.block_size
    asked = round(factor * _apply("batch", BATCHES, name, case) / block)
    asked = max(2 if name in ("toy", "toy_size") else 1, asked)
    sequences = multiple * max(1, round(asked / multiple))
    if max(sequences / asked, asked / sequences) > MOST_ROUNDING:
        raise BadInput(
            f"grid.rules.batch: {name} at shape ({case.model.n_layer}, {case.width}) found a batch "
            f"of {asked} sequences, expected near a multiple of {multiple} (grid.rules."
            "batch_multiple, else launcher.devices_per_trial; fewer of them divide it)"
        )
    return block * sequences


def beta2(name: Beta2Name, batch_tokens: int) -> float:
    """Adam's second decay: 0.99 (toy), or a memory constant in tokens (0.95 at 524,288 a step)."""
    return 0.99 if name == "toy" else min(0.999, 0.95 ** (batch_tokens / 524_288))


def warmup_tokens(name: WarmupName, case: Case, batch_tokens: int) -> int:
    """Tokens of linear warm-up: a tenth of D; or N_matmul tokens if fewer, yet at least 100 steps.

    The second is Porian's remedy for a warm-up that eats the small models' whole run; `size` is the
    same without the tenth, which depends on the horizon.
    """
    if name == "size":
        return max(case.n_matmul, 100 * batch_tokens)
    tenth = round(case.tokens / 10)
    return tenth if name == "tenth" else max(min(case.n_matmul, tenth), 100 * batch_tokens)


def of_size(kind: Literal["lr", "batch", "warmup"]) -> list[str]:
    """The rules of a kind that know the size alone, and neither the horizon nor the budget."""
    if kind == "warmup":
        return ["size"]
    table = LEARNING_RATES if kind == "lr" else BATCHES
    return [name for name, rule in table.items() if not {"tokens", "flops"} & set(rule.within)]


def init_std(name: InitName, case: Case) -> float:
    """Standard deviation of the initial matrices. Raises BadInput outside the rule's range."""
    return _apply("init", INITIALISATIONS, name, case)


def _apply(kind: str, table: Mapping[str, Rule], name: str, case: Case) -> float:
    rule = table[name]
    excess = rule.excess(case)
    if not excess:
        return rule(case)
    misses = {
        other: max(table[other].excess(case).values(), default=0.0)
        for other in table
        if other != name
    }
    nearest = min(misses, key=lambda other: misses[other])
    remedy = "holds there" if misses[nearest] == 0 else "comes nearest, but does not hold either"
    worst = max(excess, key=lambda key: excess[key])
    low, high = rule.within[worst]
    raise BadInput(
        f"grid.rules.{kind}: {name} at shape ({case.model.n_layer}, {case.width}) found {worst} "
        f"{getattr(case, worst):.3g}, expected {low:.3g} to {high:.3g}; {nearest} {remedy}"
    )
