"""The schedule: values by hand, the peak where warm-up ends, the floor at the last update."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import BadInput
from training.config import ScheduleConfig
from training.schedule import drawing, learning_rate, warmup_steps

COSINE = ScheduleConfig(
    name="cosine", tokens=1000, batch_tokens=100, warmup_tokens=200, final_lr_fraction=0.1
)


def rates(schedule: ScheduleConfig, peak: float = 1.0) -> list[float]:
    return [learning_rate(step, peak, schedule) for step in range(schedule.steps)]


def test_values_by_hand():
    # Two steps of warm-up, eight of cosine: p = 1/8 ... 8/8.
    expected = [0.5, 1.0] + [0.1 + 0.45 * (1 + math.cos(math.pi * k / 8)) for k in range(1, 9)]
    assert rates(COSINE) == pytest.approx(expected, rel=1e-15)
    assert rates(COSINE)[5] == pytest.approx(0.55, rel=1e-15)  # half-way, half-way down
    assert rates(COSINE, 3e-4)[1] == 3e-4


def test_without_warmup_the_cosine_starts_at_once():
    schedule = replace(COSINE, warmup_tokens=0, tokens=200)
    assert rates(schedule) == pytest.approx([0.55, 0.1], rel=1e-15)


def test_a_cooldown_by_hand():
    # Two steps of warm-up, four constant, four of cool-down: p = 1/4 ... 4/4.
    linear = replace(COSINE, name="constant_linear", cooldown_fraction=0.4)
    expected = [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 0.1 + 0.9 * 0.75, 0.55, 0.1 + 0.9 * 0.25, 0.1]
    assert rates(linear) == pytest.approx(expected, rel=1e-15)
    root = replace(linear, name="constant_sqrt")
    expected[6:] = [0.55, 0.1 + 0.9 * (1 - 0.5**0.5), 0.1 + 0.9 * (1 - 0.75**0.5), 0.1]
    assert rates(root) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("change", [
    {"cooldown_fraction": 0.2},
    {"name": "constant_linear"},
    {"name": "constant_sqrt", "cooldown_fraction": 0.0},
    {"name": "constant_sqrt", "cooldown_fraction": 1.5},
])  # fmt: skip
def test_a_cooldown_and_its_share_go_together(change):
    with pytest.raises(BadInput, match="^schedule.cooldown_fraction: found"):
        replace(COSINE, **change)


def test_a_constant_rate_has_no_cosine():
    with pytest.raises(BadInput, match="^schedule.cosine_tokens: found 2000 with schedule.name"):
        replace(COSINE, name="constant_linear", cooldown_fraction=0.2, cosine_tokens=2000)


def test_the_drawing_has_the_rates_heights():
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
def test_one_rise_to_the_peak_and_one_fall_to_exactly_the_floor(
    name, share, steps, warmup, floor, batch
):
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


def test_the_budget_is_rounded_to_whole_batches():
    schedule = replace(COSINE, tokens=1049)
    assert (schedule.steps, schedule.tokens_seen) == (10, 1000)
    assert rates(schedule)[-1] == 0.1


def test_a_cosine_of_twice_the_run_stops_half_way_down():
    long = replace(COSINE, warmup_tokens=0, cosine_tokens=2000)
    assert rates(long)[-1] == pytest.approx(0.55, rel=1e-15)
    assert rates(long) == pytest.approx(rates(replace(long, tokens=2000))[:10], rel=1e-15)
    assert rates(replace(COSINE, cosine_tokens=COSINE.tokens)) == rates(COSINE)


def test_a_cosine_that_ends_before_the_run_is_refused():
    with pytest.raises(BadInput, match="schedule.cosine_tokens: found 999, expected null or at"):
        replace(COSINE, cosine_tokens=999)
