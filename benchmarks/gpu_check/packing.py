"""Trials of a small model that share the device: 1, 2 and 4 at once, taking turns or under MPS.

Each is a process that compiles its step and then takes steps while a window that counts it is open.
As a script it is such a process.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

from benchmarks.gpu_check.context import PREPARING, Context, Findings, read_context, wait
from benchmarks.gpu_check.small_models import small_model, stepping
from benchmarks.gpu_check.variants import own_graphs
from common.files import to_json, write_atomic
from scaling.run.workers.gpus import visible_gpus
from scaling.run.workers.mps import PIPES, shared
from training.device.process import end_with_parent

MODEL = "3m"
AT_ONCE = (1, 2, 4)
WINDOW_S = 5.0
TURNS, MPS = "in turns", "under MPS"


def packing(context: Context, findings: Findings) -> Iterator[None]:
    """Windows for so many at once, in each group; the second is skipped where there is no MPS."""
    with shared(visible_gpus()[:1]) as sharing, ExitStack() as at_the_end:
        findings.note("sharing", mps=sharing.is_mps, by=sharing.by)
        # A folder without a daemon: where one runs for all, both groups would share by it.
        groups: dict[str, Mapping[str, str]] = {TURNS: {PIPES: str(context.path("no-mps"))}}
        if sharing.is_mps:
            groups[MPS] = sharing.environment
        else:
            findings.line(f"{MPS}: skipped, {sharing.by}")
        ready = []
        for group, environment in groups.items():
            for index in range(max(AT_ONCE)):
                at_the_end.callback(_end, _start(context, group, index, environment))
                ready.append(_file(context, group, index, "ready"))
        while context.left(PREPARING) > 0 and not all(path.exists() for path in ready):
            time.sleep(0.05)
        yield
        one_alone = None
        for group in groups:
            for count in AT_ONCE:
                rate, answers = _window(context, group, count)
                one_alone = one_alone or rate
                findings.note(f"{count} {group}", tokens_per_s=rate, answers=answers)
                findings.line(
                    f"{f'{MODEL}, {count} {group}':<26}{rate:>12,.0f} tokens/s in all, "
                    f"{rate / one_alone if one_alone else 0:.2f} x one, {answers} answered"
                )


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _start(
    context: Context, group: str, index: int, more: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    own = group, str(index), str(os.getpid())
    words = ["-m", "benchmarks.gpu_check.packing", context.work, *own]
    return subprocess.Popen([sys.executable, *words], env=os.environ | dict(more))


def _file(context: Context, group: str, index: int, end: str) -> Path:
    return context.path(f"{group.replace(' ', '-')}-{index}.{end}")


def _window(context: Context, group: str, count: int) -> tuple[float, int]:
    """Tokens per second of all that took steps, and how many did."""
    begin = time.time() + 0.3
    end = begin + (1.0 if context.toy else WINDOW_S)
    content = to_json({"count": count, "begin": begin, "end": end})
    write_atomic(_file(context, group, 0, "window"), content)
    answers = [_file(context, group, index, f"of{count}") for index in range(count)]
    while time.time() < end + 3 * WINDOW_S and not all(path.exists() for path in answers):
        time.sleep(0.05)
    found = [json.loads(path.read_text()) for path in answers if path.exists()]
    tokens = small_model(MODEL, context)[1].tokens_BT.numel()
    return sum(tokens * steps / seconds for steps, seconds in found), len(found)


def main(work: str, group: str, number: str, owner: str) -> int:
    """Take steps in every window that counts process `number` of `group`; not beyond `owner`."""
    end_with_parent(signal.SIGKILL, int(owner))
    context, index = read_context(work), int(number)
    config, batch = small_model(MODEL, context)
    step = stepping(own_graphs(MODEL), config, "compiled", batch, context)
    step()
    wait(context.on)
    _file(context, group, index, "ready").touch()
    last = 0.0
    while context.left() > 0:
        try:
            window = json.loads(_file(context, group, 0, "window").read_text())
        except FileNotFoundError:
            window = {"begin": last}
        if window["begin"] == last or index >= window["count"]:
            time.sleep(0.01)
            continue
        last = window["begin"]
        time.sleep(max(0.0, last - time.time()))
        steps = 0
        while time.time() < window["end"]:
            step()
            steps += 1
            if steps % 8 == 0:  # not too far ahead of the device, as in training
                wait(context.on)
        wait(context.on)
        answer = to_json([steps, time.time() - last])
        write_atomic(_file(context, group, index, f"of{window['count']}"), answer)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
