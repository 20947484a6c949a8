"""How fast this machine trains GPT-2, after a check that it computes the right thing.

For each model: tokens per second, MFU, peak memory and the time of each part of a step, written
as JSON with the machine, the versions and the command. Batches are random ids on the device, so
no figure contains reading data. Needs torch and numpy only.
"""

import common.interpreter  # noqa: F401

# isort: split
import argparse
import os
import platform
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy
import torch

from benchmarks.cases import CASES, CPU_CASES, GPU_CASES
from benchmarks.measure import Settings, measure
from benchmarks.peer import load_peer
from benchmarks.timing import parser
from common.errors import BadInput, ExitStatus
from common.files import to_json, write_atomic
from common.terminal import fit_streams
from training import environment
from training.device import data_sheets
from training.device.process import usable_cores
from training.trial.running_code import running_code

SCHEMA = 1
EPILOG = f"""\
models: {", ".join(CASES)}
        (10m to 1558m: context 1024, vocabulary 50257; cpu-a, -b, -c, tiny: small, for a CPU)

MFU counts 6 P + 12 L d T per token, P without position embeddings (nanoGPT's convention), against
the dense peak of the device's data sheet; empty where the device is not known. A CPU computes in
one thread; its peak memory is the most that the process held so far. nanoGPT/ours is the ratio of
step times, median [least, most] over pairs of steps taken in turn, on a CPU in CPU time, which
other processes hardly disturb. nanoGPT computes as its train.py would: in float32 on a CPU.
Exit status: 0 measured and right, 2 bad input, 3 a check failed or a model did not fit.
"""
ROW = "{:>7} {:>6} {:>11} {:>6} {:>10} {:>8} {:>9} {:>7} {:>9}  {:<6} {}"
TITLE = ROW.format(
    *("model", "micro", "tokens/s", "MFU", "step ms", "forward", "backward", "update"),
    *("peak GiB", "checks", "nanoGPT/ours"),
)


def main(arguments: Sequence[str]) -> ExitStatus:
    """Measure each model in turn; the file is rewritten after each, so a stop loses one at most."""
    options = _parser().parse_args(arguments)
    device = torch.device(options.device)
    on_gpu = device.type == "cuda"
    if on_gpu and not torch.cuda.is_available():
        raise BadInput("--device: found cuda, expected cpu: torch sees no GPU here")
    if not on_gpu:
        torch.set_num_threads(1)  # what a trial of a sweep gets
    settings = Settings(
        device=device,
        precision=options.precision or ("bf16" if on_gpu else "float32"),
        compiled=on_gpu if options.compile is None else options.compile,
        micro_batch=options.micro_batch,
        batch_tokens=options.batch_tokens,
        seconds=options.seconds,
    )
    peer = load_peer(options.peer) if options.peer else None
    report = _header(settings, arguments)
    print(f"{report['machine']['device']}, torch {torch.__version__}, {settings.precision}", end="")
    print(", compiled\n" if settings.compiled else "\n")
    print(TITLE)
    for name in options.models or (GPU_CASES if on_gpu else CPU_CASES):
        report["models"].append(measure(CASES[name], settings, peer))
        write_atomic(options.out, to_json(report))
        print(_row(report["models"][-1]), flush=True)
    print(f"\n{options.out}")
    sound = all(model["status"] == "ok" for model in report["models"])
    return ExitStatus.DONE if sound else ExitStatus.NO_RESULT


def _parser() -> argparse.ArgumentParser:
    arguments = parser("throughput", __doc__, EPILOG)
    add = arguments.add_argument
    add("--models", nargs="+", choices=CASES, metavar="NAME", help="default: the device's list")
    add("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    add("--precision", choices=("bf16", "float32"), help="default: bf16 on a GPU, else float32")
    add("--compile", action=argparse.BooleanOptionalAction, help="torch.compile; default: on a GPU")
    add("--micro-batch", type=_positive, help="sequences at a time to start halving from")
    add("--batch-tokens", type=_positive, help="tokens per optimizer step; default: 524288 on GPU")
    add("--seconds", type=float, default=10.0, help="time of each measured loop (10)")
    add("--peer", type=Path, metavar="PATH", help="race a checkout of karpathy/nanoGPT")
    add("--out", type=Path, default=Path("runs/throughput.json"), help="(runs/throughput.json)")
    return arguments


def _positive(text: str) -> int:
    if int(text) <= 0:
        raise ValueError
    return int(text)


def _header(settings: Settings, arguments: Sequence[str]) -> dict[str, Any]:
    commit, dirty = running_code()
    return {
        "schema": SCHEMA,
        "command": shlex.join(["python", "-m", "benchmarks.throughput", *arguments]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "device": environment.device_name(settings.device),
            "peak_flops": data_sheets.peak_flops(
                environment.device_name(settings.device), settings.precision
            ),
            "cpu": environment.device_name(torch.device("cpu")),
            "cores": usable_cores(),
            "threads": torch.get_num_threads(),
            "load_average": os.getloadavg()[0],
            "platform": platform.platform(),
        },
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
            "numpy": numpy.__version__,
            "commit": commit,
            "dirty": dirty,
        },
        "precision": settings.precision,
        "compiled": settings.compiled,
        "mfu_formula": "model.flops.flops_per_token_nanogpt * tokens_per_s / peak_flops",
        "models": [],
    }


def _row(model: dict[str, Any]) -> str:
    if model["status"] == "oom":
        return f"{model['name']:>7}  out of memory with one sequence: {model['reason']}"
    seconds = model["seconds"]
    shares = [
        f"{seconds[part] / seconds['step_s']:.0%}"
        for part in ("forward_s", "backward_s", "update_s")
    ]
    failed = [check for check in model["checks"] if not check["passed"]]
    peer = model["peer"]
    ratio = peer and (peer["ratio_cpu_time"] or peer["ratio"])
    line = ROW.format(
        model["name"],
        model["micro_batch"],
        f"{model['tokens_per_s']:,.0f}",
        "" if model["mfu"] is None else f"{model['mfu']:.1%}",
        f"{1e3 * seconds['step_s']:,.1f}",
        *shares,
        f"{model['peak_memory_bytes'] / 2**30:.2f}",
        "WRONG" if failed else "right",
        f"{ratio['median']:.2f} [{ratio['min']:.2f}, {ratio['max']:.2f}]" if ratio else "",
    )
    problems = [
        f"        {check['name']}: found {check['found']}, expected {check['expected']} "
        f"within {check['tolerance']}"
        for check in failed
    ]
    return "\n".join([line.rstrip(), *problems])


if __name__ == "__main__":
    fit_streams()
    try:
        sys.exit(main(sys.argv[1:]))
    except BadInput as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(ExitStatus.BAD_INPUT)
