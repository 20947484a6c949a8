"""The rules give their published numbers, and nothing outside their ranges."""

import math

import pytest

from common.errors import BadInput
from model.config import GPTConfig
from scaling.plan import rules
from scaling.plan.rules import BATCHES, LEARNING_RATES, Case


def chinchilla(flops: float) -> tuple[float, float]:
    """N and D at 20 tokens per parameter and C = 6 N D."""
    n_params = math.sqrt(flops / 120)
    return n_params, 20 * n_params


def two_layers(width: int, tokens: float = 1e6) -> Case:
    model = GPTConfig(2, 1, width, block_size=64, vocab_size=256, init_std=0.02)
    return Case(model, tokens, flops=1e11)


GPT2 = Case(GPTConfig(12, 12, 768, 1024, 50257, 0.02), tokens=1e10, flops=8e18)


@pytest.mark.parametrize(
    ("flops", "rates", "batches"),
    [
        (1e16, (6.7e-3, 3.1e-3, 1.07e-2), (30e3, 50e3, 63e3)),
        (1e18, (2.6e-3, 1.75e-3, 5.0e-3), (113e3, 226e3, 293e3)),
        (1e20, (1.0e-3, 9.9e-4, 2.3e-3), (0.42e6, 1.0e6, 1.4e6)),
    ],
)
def test_published_rules_at_twenty_tokens_per_parameter(flops, rates, batches):
    n_params, tokens = chinchilla(flops)
    assert rates == pytest.approx(
        (
            LEARNING_RATES["step_law"].formula(n_params, tokens),
            LEARNING_RATES["deepseek"].formula(flops),
            LEARNING_RATES["porian"].formula(n_params),
        ),
        rel=0.04,
    )
    assert batches == pytest.approx(
        (
            BATCHES["step_law"].formula(tokens),
            BATCHES["deepseek"].formula(flops),
            BATCHES["porian"].formula(n_params),
        ),
        rel=0.04,
    )


def test_rules_of_kaplan_and_gpt3():
    """Kaplan and gpt3."""
    assert [LEARNING_RATES["kaplan"].formula(n) for n in (1e6, 1e7, 124e6)] == pytest.approx(
        [1.31e-3, 9.9e-4, 6.39e-4], rel=0.01
    )
    assert rules.gpt3_row(85e6) == (6e-4, 0.5e6)
    assert rules.gpt3_row(3e8) == (3e-4, 0.5e6)


@pytest.mark.parametrize("flops", [1e16, 1e18, 1e20])
def test_step_porian_batch_is_power_of_two(flops):
    """The default batch is a power of two about those of step law and porian."""
    n_params, tokens = chinchilla(flops)
    batch = BATCHES["step_porian"].formula(tokens)
    assert math.log2(batch).is_integer()
    low, high = BATCHES["step_law"].formula(tokens), BATCHES["porian"].formula(n_params)
    assert low / math.sqrt(2) <= batch <= high * math.sqrt(2)


def test_learning_rate_is_capped_where_gpt2_grows_unstable():
    """Rates are capped where gpt2 grows unstable."""
    grow_foot = Case(GPTConfig(3, 3, 96, 1024, 8192, 0.02), tokens=1e9, flops=1e16)
    assert LEARNING_RATES["step_law"](grow_foot) > rules.STABLE_LR
    assert rules.learning_rate("step_law", grow_foot) == rules.STABLE_LR
    assert rules.learning_rate("step_law", grow_foot, 2.0) == rules.STABLE_LR
    low = rules.STABLE_LR / LEARNING_RATES["step_law"](grow_foot) / 2
    assert rules.learning_rate("step_law", grow_foot, low) == pytest.approx(rules.STABLE_LR / 2)
    assert rules.learning_rate("toy", two_layers(8)) == 0.02
    assert rules.learning_rate("toy", two_layers(64)) == pytest.approx(4.375e-3)


@pytest.mark.parametrize(("tokens", "batch"), [(20e3, 128), (565_140, 384), (1_808_449, 768)])
def test_batch_tokens_of_toy_are_two_whole_sequences_or_more(tokens, batch):
    """The toy batch is whole sequences and at least two."""
    assert rules.batch_tokens("toy", two_layers(32, tokens)) == batch


def test_batch_factor_multiplies_before_rounding():
    assert rules.batch_tokens("toy", two_layers(32, 565_140), factor=2) == 768


def test_beta2_is_constant_memory_in_tokens():
    """Beta2 is a constant memory in tokens."""
    assert rules.beta2("toy", 128) == 0.99
    assert rules.beta2("token_memory", 524_288) == pytest.approx(0.95)
    assert rules.beta2("token_memory", 65_536) == pytest.approx(0.994, abs=5e-4)
    assert rules.beta2("token_memory", 16_384) == pytest.approx(0.998, abs=5e-4)
    assert rules.beta2("token_memory", 1024) == 0.999


def test_warmup_is_tenth_or_tokens_of_parameters():
    """Warmup is a tenth or as many tokens as parameters."""
    assert rules.warmup_tokens("tenth", GPT2, 524_288) == 10**9
    assert rules.warmup_tokens("parameters", GPT2, 524_288) == GPT2.n_matmul
    assert rules.warmup_tokens("parameters", two_layers(16, 1e6), 128) == 100 * 128


def test_init_std_agrees_at_gpt2():
    """Initialisations agree at gpt2."""
    assert rules.init_std("width", GPT2) == rules.init_std("gpt2", GPT2) == 0.02
    assert rules.init_std("width", two_layers(48)) == pytest.approx(0.08)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (
            lambda: rules.learning_rate("toy", GPT2),
            r"grid.rules.lr: toy at shape \(12, 768\) found width 768, expected 8 to 192; "
            "step_law holds there",
        ),
        (
            lambda: rules.learning_rate("gpt3", two_layers(32)),
            r"grid.rules.lr: gpt3 at shape \(2, 32\) found n_non_embedding 2.46e\+04, expected "
            r"5e\+07 to 2e\+09; toy holds there",
        ),
        (lambda: rules.batch_tokens("step_law", two_layers(32)), "grid.rules.batch: .*toy holds"),
        (
            lambda: rules.init_std("width", Case(GPTConfig(48, 25, 1600, 64, 256, 1.0), 1e9, 1e20)),
            "grid.rules.init: .*gpt2 holds there",
        ),
        (
            lambda: rules.batch_tokens("toy", two_layers(40_000, tokens=10)),
            "comes nearest, but does not hold either",
        ),
    ],
)
def test_rules_refuse_outside_range_and_name_nearest(ask, message):
    """Outside its range a rule is refused and the nearest named."""
    with pytest.raises(BadInput, match=message):
        ask()


def test_batch_is_the_nearest_multiple_or_refused():
    """A batch is rounded for its ranks, but by no more than half a step of tuning."""
    plain = rules.batch_tokens("step_porian", GPT2) // 1024
    assert rules.batch_tokens("step_porian", GPT2, multiple=8) // 1024 == plain
    six = rules.batch_tokens("step_porian", GPT2, multiple=6) // 1024
    assert six % 6 == 0 and abs(six - plain) <= 3
    with pytest.raises(
        BadInput, match=f"{plain} sequences, expected near a multiple of {2 * plain}"
    ):
        rules.batch_tokens("step_porian", GPT2, multiple=2 * plain)
