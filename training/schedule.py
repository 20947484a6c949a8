"""The learning rate of every update: warm-up, then a fall to the budget, or to `cosine_tokens`."""

import math

from training.config import ScheduleConfig


def learning_rate(step: int, peak: float, schedule: ScheduleConfig) -> float:
    """The rate of update `step` (0 <= step < S = schedule.steps).

    The curve is read where the update ends, at (step + 1) * batch_tokens tokens. With W the
    warm-up in whole steps (warmup_tokens / batch_tokens, rounded, at most S - 1), F where the fall
    begins and f the final fraction, in units of `peak`:

        step < W    (step + 1) / W
        otherwise   f + (1 - f) g(p),   p = (step + 1 - F) / (S - F), 0 before F

        cosine            g = (1 + cos(pi p)) / 2,  F = W
        constant_linear   g = 1 - p,                S - F = cooldown_fraction S, rounded
        constant_sqrt     g = 1 - sqrt(p),          the same F, W at least and S - 1 at most

    So update W - 1 has the peak and the last one, S - 1, exactly f times the peak: the budget is
    the end of the fall. Where `cosine_tokens` is set, S in p is that horizon in steps, so that
    the run stops above f. (SGDR's cosine, Loshchilov and Hutter 2017, arXiv 1608.03983, without
    restarts; ending it at the budget: Hoffmann et al. 2022, 2203.15556, appendix B. Constant with
    a cool-down: Haegele et al. 2024, 2405.18392.)
    """
    assert 0 <= step < schedule.steps
    warmup = warmup_steps(schedule)
    if step < warmup:
        return peak * (step + 1) / warmup
    begin, end = _fall(schedule, warmup)
    progress = max(0.0, (step + 1 - begin) / (end - begin))
    if schedule.name == "cosine":
        height = (1 + math.cos(math.pi * progress)) / 2
    else:
        height = 1 - (progress if schedule.name == "constant_linear" else math.sqrt(progress))
    floor = schedule.final_lr_fraction
    return peak * (floor + (1 - floor) * height)


def _fall(schedule: ScheduleConfig, warmup: int) -> tuple[int, int]:
    """The steps between which the rate falls."""
    steps = schedule.steps
    if schedule.cooldown_fraction is not None:
        cooldown = max(1, round(schedule.cooldown_fraction * steps))
        return max(warmup, steps - cooldown), steps
    if schedule.cosine_tokens is not None:
        return warmup, max(steps, round(schedule.cosine_tokens / schedule.batch_tokens))
    return warmup, steps


def shared_steps(schedule: ScheduleConfig) -> int:
    """Updates before the rate begins to fall: what runs of a constant rate have in common."""
    return _fall(schedule, warmup_steps(schedule))[0]


def cooldown_tokens(schedule: ScheduleConfig) -> int | None:
    """Tokens while which a constant rate falls at the end; None for a cosine, which has no such."""
    if schedule.cooldown_fraction is None:
        return None
    return (schedule.steps - shared_steps(schedule)) * schedule.batch_tokens


def warmup_steps(schedule: ScheduleConfig) -> int:
    """The warm-up in whole steps; at least one step is left for the fall."""
    return min(round(schedule.warmup_tokens / schedule.batch_tokens), schedule.steps - 1)


def drawing(peak: float, schedule: ScheduleConfig, width: int = 64, height: int = 6) -> list[str]:
    """The rate against tokens as lines of text, `height` of them above an axis, peak on top."""
    steps = schedule.steps
    columns = min(width, steps)
    at = [round(column * (steps - 1) / max(1, columns - 1)) for column in range(columns)]
    eighths = [round(8 * height * learning_rate(step, 1.0, schedule)) for step in at]
    lines = []
    for row in reversed(range(height)):
        filled = [" ▁▂▃▄▅▆▇█"[min(8, max(0, value - 8 * row))] for value in eighths]
        label = f"{peak:g}" if row == height - 1 else ""
        lines.append(f"{label:>8} |{''.join(filled)}".rstrip())
    lines.append(f"{'0':>8} +{'-' * columns}")
    end = f"{schedule.tokens_planned:,} tokens"
    lines.append(f"{'':>8}  0{end:>{max(columns - 1, len(end) + 1)}}")
    return lines
