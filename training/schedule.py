"""The learning rate of every update: warm-up, then a cosine that ends at the token budget."""

import math

from training.config import ScheduleConfig


def learning_rate(step: int, peak: float, schedule: ScheduleConfig) -> float:
    """The rate of update `step` (0 <= step < S = schedule.steps).

    The curve is read where the update ends, at (step + 1) * batch_tokens tokens. With W the
    warm-up in whole steps (warmup_tokens / batch_tokens, rounded, at most S - 1) and f the final
    fraction, in units of `peak`:

        step < W    (step + 1) / W
        otherwise   f + (1 - f) (1 + cos(pi p)) / 2,   p = (step + 1 - W) / (S - W)

    So update W - 1 has the peak and the last one, S - 1, exactly f times the peak: the budget is
    the end of the cosine. Where `cosine_tokens` is set, S in p is that horizon in steps, so that
    the run stops above f. (SGDR's cosine, Loshchilov and Hutter 2017, arXiv 1608.03983, without
    restarts; ending it at the budget: Hoffmann et al. 2022, 2203.15556, appendix B.)
    """
    assert 0 <= step < schedule.steps
    warmup = warmup_steps(schedule)
    if step < warmup:
        return peak * (step + 1) / warmup
    end = schedule.steps
    if schedule.cosine_tokens is not None:
        end = max(end, round(schedule.cosine_tokens / schedule.batch_tokens))
    progress = (step + 1 - warmup) / (end - warmup)
    floor = schedule.final_lr_fraction
    return peak * (floor + (1 - floor) * (1 + math.cos(math.pi * progress)) / 2)


def warmup_steps(schedule: ScheduleConfig) -> int:
    """The warm-up in whole steps; at least one step is left for the cosine."""
    return min(round(schedule.warmup_tokens / schedule.batch_tokens), schedule.steps - 1)
