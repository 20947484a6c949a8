"""Which part runs when: one after the other what is measured, side by side what only prepares.

Nothing here outlasts the budget: what runs is killed in time, what is left is skipped with a line.
"""

import time
from collections.abc import Callable, Sequence

from benchmarks.gpu_check.context import PREPARING, Context
from benchmarks.gpu_check.processes import GRACE_S, Part, Running

FIRST = 0.1  # of the budget, for what must be measured before anything else runs
PREPARED = 0.58  # until then what compiles is waited for
LAST_S = 3 * GRACE_S  # at the end, to stop what is left and to write down what was found


def run_parts(
    parts: Sequence[Part], context: Context, say: Callable[[str], None]
) -> dict[str, str]:
    """How each part ended: done, failed or stopped, with the reason; `say` is told on the way."""
    ended: dict[str, str] = {}
    running: dict[str, Running] = {}

    def end(name: str, outcome: str) -> None:
        ended[name] = outcome
        if outcome != "done":
            say(f"{name}: {outcome}")

    def until(share: float) -> float:
        return context.started + share * context.seconds

    first = [part for part in parts if part.is_first]
    others = [part for part in parts if not part.is_first]
    try:
        for part in first:
            running[part.name] = Running(part, context)
            running[part.name].wait(until(FIRST))
            _conclude(running[part.name], "its share of the time is over", end)
        say(f"prepare {', '.join(part.name for part in others)}")
        for part in others:
            running[part.name] = Running(part, context)
        for part in others:  # those that are not measured end first, and leave the device
            if not part.measure_s:
                running[part.name].wait(until(PREPARING))
                _conclude(running[part.name], "not done in time", end)
        measured = [running[part.name] for part in others if part.measure_s]
        for process in measured:
            process.wait(until(PREPARED), ready_suffices=True)
        for process in measured:
            say(f"measure {process.part.name}")
            _let_measure(process, context, end)
    finally:
        for process in running.values():
            if not process.has_ended:
                process.stop()
    return ended


def _let_measure(process: Running, context: Context, end: Callable[[str, str], None]) -> None:
    """Measure it alone, if it is ready and there is time; it has ended afterwards."""
    left = min(process.part.measure_s, context.left() - LAST_S)
    why = f"no end after {left:.0f} s of measuring"
    if left <= 0:
        why = "no time left to measure"
    elif not process.is_ready:
        why = "not ready in time"
    elif not process.has_ended:
        process.go()
        process.wait(time.time() + left)
    _conclude(process, why, end)


def _conclude(process: Running, why: str, end: Callable[[str, str], None]) -> None:
    """Note how it ended, or stop it and note why."""
    if process.has_ended:
        end(process.part.name, process.outcome())
    else:
        process.stop()
        end(process.part.name, f"stopped: {why}")
