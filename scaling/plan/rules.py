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

from configs.errors import BadInput
from model.config import GPTConfig
from model.flops import params_matmul, params_non_embedding
from scaling.fit.regimes import kaplan_learning_rate

LrName = Literal["toy", "step_law", "deepseek", "porian", "kaplan", "gpt3"]
BatchName = Literal["toy", "step_law", "step_porian", "deepseek", "porian", "gpt3"]
Beta2Name = Literal["toy", "token_memory"]
WarmupName = Literal["tenth", "parameters"]
InitName = Literal["width", "gpt2"]

# GPT-2 has no QK-norm; above this rate its loss spikes. The published rules met it only at sizes
# where they ask for less.
STABLE_LR = 6e-3


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


@dataclass(frozen=True)
class Rule:
    """A formula, the closed range of each property of Case in which it is accepted, and the most
    that its value, corrected by any factor, may be.
    """

    formula: Callable[[Case], float]
    within: Mapping[str, tuple[float, float]]
    cap: float = math.inf

    def excess(self, case: Case) -> dict[str, float]:
        """The properties of `case` outside their ranges, and by how many e-folds."""
        found = {}
        for name, (low, high) in self.within.items():
            value = getattr(case, name)
            if not low <= value <= high:
                found[name] = abs(math.log(value / (low if value < low else high)))
        return found


def step_law_lr(n_non_embedding: float, tokens: float) -> float:
    """1.79 N^-0.713 D^0.307, at least 1e-5 (Step Law, N without embeddings)."""
    return max(1e-5, 1.79 * n_non_embedding**-0.713 * tokens**0.307)


def step_law_batch(tokens: float) -> float:
    """0.58 D^0.571 tokens (Step Law)."""
    return 0.58 * tokens**0.571


def step_porian_batch(tokens: float) -> float:
    """2^round(log2(0.8 D^0.571)) tokens: between Step Law and Porian, in powers of two."""
    return 2.0 ** round(math.log2(0.8 * tokens**0.571))


def deepseek_lr(flops: float) -> float:
    """0.3118 C^-0.125 (DeepSeek; fitted with a multi-step schedule)."""
    return 0.3118 * flops**-0.125


def deepseek_batch(flops: float) -> float:
    """0.2920 C^0.3271 tokens (DeepSeek)."""
    return 0.2920 * flops**0.3271


def porian_lr(n_matmul: float) -> float:
    """0.0047 (N / 108M)^(-1/3) (Porian; at 20 tokens per parameter, with QK-norm)."""
    return 0.0047 * (n_matmul / 108e6) ** (-1 / 3)


def porian_batch(n_matmul: float) -> float:
    """328k (N / 108M)^(2/3) tokens (Porian, as above)."""
    return 328e3 * (n_matmul / 108e6) ** (2 / 3)


def gpt3_row(n_non_embedding: float) -> tuple[float, float]:
    """(learning rate, batch in tokens) of the GPT-3 model nearest in ln N."""
    # 12 L d^2 of the models called 125M, 350M, 760M and 1.3B.
    table = {85e6: (6e-4, 0.5e6), 302e6: (3e-4, 0.5e6), 680e6: (2.5e-4, 0.5e6), 1.21e9: (2e-4, 1e6)}
    return table[min(table, key=lambda n: abs(math.log(n / n_non_embedding)))]


def toy_lr(width: int) -> float:
    """min(0.02, 0.28 / d): within 0.01 nats of the best bracketed rate at d = 16 to 64."""
    return min(0.02, 0.28 / width)


def toy_batch(tokens: float) -> float:
    """0.2 D^0.571 tokens: a third of Step Law's, which costs 0.03 nats and more below 1 MB."""
    return 0.2 * tokens**0.571


# Ranges. Published rules: where they are known to agree (above), widened to the edges of a valley
# (1 to 320 tokens per parameter), and where their authors went beyond. toy: its sweeps, widened by
# a factor of two in width; in D to where its floor of two sequences decides, and up to one corpus.
LEARNING_RATES: Mapping[str, Rule] = {
    "toy": Rule(lambda case: toy_lr(case.width), {"width": (8, 192)}),
    "step_law": Rule(
        lambda case: step_law_lr(case.n_non_embedding, case.tokens),
        {"n_non_embedding": (9e4, 3e9), "tokens": (1e7, 1e13)},
        STABLE_LR,
    ),
    "deepseek": Rule(lambda case: deepseek_lr(case.flops), {"flops": (1e15, 1e25)}, STABLE_LR),
    "porian": Rule(lambda case: porian_lr(case.n_matmul), {"n_matmul": (2e6, 1e9)}, STABLE_LR),
    "kaplan": Rule(
        lambda case: float(kaplan_learning_rate(case.n_non_embedding)),
        {"n_non_embedding": (768, 1.5e9)},
    ),
    "gpt3": Rule(lambda case: gpt3_row(case.n_non_embedding)[0], {"n_non_embedding": (5e7, 2e9)}),
}
BATCHES: Mapping[str, Rule] = {
    "toy": Rule(lambda case: toy_batch(case.tokens), {"tokens": (1e3, 1e8)}),
    "step_law": Rule(lambda case: step_law_batch(case.tokens), {"tokens": (1e7, 1e13)}),
    "step_porian": Rule(lambda case: step_porian_batch(case.tokens), {"tokens": (1e7, 1e13)}),
    "deepseek": Rule(lambda case: deepseek_batch(case.flops), {"flops": (1e15, 1e25)}),
    "porian": Rule(lambda case: porian_batch(case.n_matmul), {"n_matmul": (2e6, 1e9)}),
    "gpt3": Rule(lambda case: gpt3_row(case.n_non_embedding)[1], {"n_non_embedding": (5e7, 2e9)}),
}
INITIALISATIONS: Mapping[str, Rule] = {
    # Equal to GPT-2's at its own smallest width; a fixed 0.02 costs 0.04, 0.12, 0.2 nats at
    # d = 16, 32, 64, so it moves the optimum.
    "width": Rule(lambda case: 0.02 * math.sqrt(768 / case.width), {"width": (8, 768)}),
    "gpt2": Rule(lambda case: 0.02, {}),
}


def learning_rate(name: LrName, case: Case, factor: float = 1.0) -> float:
    """Peak learning rate: `factor` times the rule's, at most its cap.

    Raises BadInput outside the rule's range.
    """
    return min(LEARNING_RATES[name].cap, factor * _apply("lr", LEARNING_RATES, name, case))


def batch_tokens(name: BatchName, case: Case, factor: float = 1.0) -> int:
    """Tokens of a step: `factor` times the rule's, in whole sequences (toy: two or more).

    Raises BadInput outside the rule's range.
    """
    block = case.model.block_size
    sequences = round(factor * _apply("batch", BATCHES, name, case) / block)
    return block * max(2 if name == "toy" else 1, sequences)


def beta2(name: Beta2Name, batch_tokens: int) -> float:
    """Adam's second decay: 0.99 (toy), or a memory constant in tokens (0.95 at 524,288 a step)."""
    return 0.99 if name == "toy" else min(0.999, 0.95 ** (batch_tokens / 524_288))


def warmup_tokens(name: WarmupName, case: Case, batch_tokens: int) -> int:
    """Tokens of linear warm-up: a tenth of D; or N_matmul tokens if fewer, yet at least 100 steps.

    The second is Porian's remedy for a warm-up that eats the small models' whole run.
    """
    tenth = round(case.tokens / 10)
    return tenth if name == "tenth" else max(min(case.n_matmul, tenth), 100 * batch_tokens)


def init_std(name: InitName, case: Case) -> float:
    """Standard deviation of the initial matrices. Raises BadInput outside the rule's range."""
    return _apply("init", INITIALISATIONS, name, case)


def _apply(kind: str, table: Mapping[str, Rule], name: str, case: Case) -> float:
    rule = table[name]
    excess = rule.excess(case)
    if not excess:
        return rule.formula(case)
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
