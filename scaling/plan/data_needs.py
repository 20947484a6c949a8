"""How much of a data set a sweep reads: its longest run decides, and no more has to be prepared."""

import math
from collections.abc import Sequence

from scaling.plan.plan import Plan
from training.config import TrainConfig

# Tuning rounds steps to other batches, and a window is lost at the end of each shard.
_MARGIN = 1.01
_VAL_MARGIN = 1.5  # documents are held out by chance
_LEAST = 1_000_000  # prepared in a second, and enough documents for a split by chance


def is_bounded_by_plan(base: TrainConfig) -> bool:
    """Whether the plan says how many training tokens are prepared.

    Of data sets of the hub and copies of them, which are sampled at random so that any beginning
    serves; where `data.train_tokens` leaves it open. A folder of one's own is prepared whole: its
    first files may be of another kind than its last.
    """
    return base.data.source == "hf" and base.data.train_tokens is None


def longest_run(plans: Sequence[Plan]) -> int:
    """Tokens that the longest run of any stage reads."""
    return max(t.config.schedule.tokens_planned for plan in plans for t in plan.trials)


def tokens_needed(plans: Sequence[Plan]) -> int | None:
    """Training tokens to prepare, to three digits; None where a scout is yet to find the centre.

    As many as the longest run reads, and no fewer than leave the evaluation its tokens.
    """
    if plans[0].stage == "scout":
        return None
    base = plans[0].base
    needed = max(_LEAST, _MARGIN * longest_run(plans))
    if share := base.data.val_fraction:  # so that the held-out part has its tokens too
        needed = max(needed, _VAL_MARGIN * base.evaluation.tokens * (1 - share) / share)
    unit = 10 ** (math.floor(math.log10(needed)) - 2)
    return math.ceil(needed / unit) * unit
