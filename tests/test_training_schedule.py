"""The schedule: values by hand, the peak where warm-up ends, the floor at the last update."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import BadInput
from training.config import ScheduleConfig
from training.schedule import cooldown_tokens, drawing, learning_rate, warmup_steps

COSINE = ScheduleConfig(
    name="cosine", tokens=1000, batch_tokens=100, warmup_tokens=200, final_lr_fraction=0.1
)


def rates(schedule: ScheduleConfig, peak: float = 1.0) -> list[float]:
    return [learning_rate(step, peak, schedule) for step in range(schedule.steps)]


def test_schedule_values_equal_a_hand_computation():
    """Values by hand."""
    # Two steps of warm-up, eight of cosine: p = 1/8 ... 8/8.
    expected = [0.5, 1.0] + [0.1 + 0.45 * (1 + math.cos(math.pi * k / 8)) for k in range(1, 9)]
    assert rates(COSINE) == pytest.approx(expected, rel=1e-15)
    assert rates(COSINE)[5] == pytest.approx(0.55, rel=1e-15)  # half-way, half-way down
    assert rates(COSINE, 3e-4)[1] == 3e-4


def test_schedule_without_warmup_starts_the_cosine_at_once():
    """Without warmup the cosine starts at once."""
    schedule = replace(COSINE, warmup_tokens=0, tokens=200)
    assert rates(schedule) == pytest.approx([0.55, 0.1], rel=1e-15)


def test_schedule_cooldown_equals_a_hand_computation():
    """A cooldown by hand."""
    # Two steps of warm-up, four constant, four of cool-down: p = 1/4 ... 4/4.
    linear = replace(COSINE, name="constant_linear", cooldown_fraction=0.4)
    expected = [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 0.1 + 0.9 * 0.75, 0.55, 0.1 + 0.9 * 0.25, 0.1]
    assert rates(linear) == pytest.approx(expected, rel=1e-15)
    root = replace(linear, name="constant_sqrt")
    expected[6:] = [0.55, 0.1 + 0.9 * (1 - 0.5**0.5), 0.1 + 0.9 * (1 - 0.75**0.5), 0.1]
    assert rates(root) == pytest.approx(expected, rel=1e-14)
    assert cooldown_tokens(linear) == 4 * linear.batch_tokens and cooldown_tokens(COSINE) is None


@pytest.mark.parametrize("change", [
    {"cooldown_fraction": 0.2},
    {"name": "constant_linear"},
    {"name": "constant_sqrt", "cooldown_fraction": 0.0},
    {"name": "constant_sqrt", "cooldown_fraction": 1.5},
])  # fmt: skip
def test_schedule_cooldown_and_its_share_go_together(change):
    """A cooldown and its share go together."""
    with pytest.raises(BadInput, match="^schedule.cooldown_fraction: found"):
        replace(COSINE, **change)


def test_schedule_constant_rate_has_no_cosine():
    """A constant rate has no cosine."""
    with pytest.raises(BadInput, match="^schedule.cosine_tokens: found 2000 with schedule.name"):
        replace(COSINE, name="constant_linear", cooldown_fraction=0.2, cosine_tokens=2000)


def test_schedule_drawing_has_the_heights_of_the_rate():
    """The drawing has the rates heights."""
    lines = drawing(3e-4, replace(COSINE, name="constant_linear", cooldown_fraction=0.5), 10, 2)
    assert lines == [
        # In sixteenths of the peak: 8 16 16 16 16, then 13.1 10.2 7.4 4.5 1.6.
        "  0.0003 | ████▅▂",
        "         |███████▇▄▂",
        "       0 +----------",
        "          0 1,000 tokens",
    ]


@given(
    name=st.sampled_from(["cosine", "constant_linear", "constant_sqrt"]),
    share=st.floats(0.001, 1),
    steps=st.integers(1, 400),
    warmup=st.floats(0, 0.999),
    floor=st.floats(0, 1),
    batch=st.integers(1, 1000),
)
def test_schedule_rises_once_to_the_peak_and_falls_once_to_the_floor(
    name, share, steps, warmup, floor, batch
):
    """One rise to the peak and one fall to exactly the floor."""
    tokens = steps * batch
    schedule = ScheduleConfig(
        name=name,
        cooldown_fraction=None if name == "cosine" else share,
        tokens=tokens,
        batch_tokens=batch,
        warmup_tokens=int(warmup * tokens),
        final_lr_fraction=floor,
    )
    values = rates(schedule)
    top = warmup_steps(schedule)
    assert len(values) == schedule.steps == steps
    assert values[-1] == floor
    assert values[:top] == sorted(values[:top]) and values[top:] == sorted(values[top:])[::-1]
    assert max(values[:top], default=1.0) == 1.0
    assert all(0 <= value <= 1 for value in values)


def test_schedule_rounds_the_budget_to_whole_batches():
    """The budget is rounded to whole batches."""
    schedule = replace(COSINE, tokens=1049)
    assert (schedule.steps, schedule.tokens_planned) == (10, 1000)
    assert rates(schedule)[-1] == 0.1


def test_schedule_cosine_of_twice_the_run_stops_half_way_down():
    """A cosine of twice the run stops half way down."""
    long = replace(COSINE, warmup_tokens=0, cosine_tokens=2000)
    assert rates(long)[-1] == pytest.approx(0.55, rel=1e-15)
    assert rates(long) == pytest.approx(rates(replace(long, tokens=2000))[:10], rel=1e-15)
    assert rates(replace(COSINE, cosine_tokens=COSINE.tokens)) == rates(COSINE)


def test_schedule_refuses_a_cosine_that_ends_before_the_run():
    """A cosine that ends before the run is refused."""
    with pytest.raises(BadInput, match="schedule.cosine_tokens: found 999, expected null or at"):
        replace(COSINE, cosine_tokens=999)


@pytest.mark.parametrize("tokens", [2**53 + 1, 10**30, 10**400])
def test_schedule_refuses_more_tokens_than_a_float_counts(tokens):
    """Steps that no float counts exactly are refused, and the largest budget can be drawn."""
    with pytest.raises(BadInput, match="schedule.tokens: found .*, expected at most 9e"):
        replace(COSINE, tokens=tokens)
    assert len(drawing(1.0, replace(COSINE, tokens=2**53))) == 8
