"""Train one GPT-2-style model to its token budget, on one device or under torchrun on many.

python train.py experiment=smoke out=runs/one                        goes on where it was stopped
python train.py experiment=smoke mode=plan [launcher.device=H200]    counts, FLOP, steps, hours
python train.py experiment=smoke mode=measure                        tokens/s, MFU, memory; no data
next: docs/reproduce-124m.md

python train.py mode=page out=runs/one                               its loss and speed as a page
python train.py --config-dir TRIAL --config-name config out=runs/x   one trial of a sweep by hand
torchrun --standalone --nproc_per_node=8 train.py experiment=gpt2_124m
"""

import common.start  # noqa: F401

# isort: split
from configs.cli import answer_help, run_entry
from training.trial.command import KEYS, compose

if __name__ == "__main__":
    answer_help("train", __doc__ or "", KEYS)  # before torch, which takes seconds

# isort: split
import os
from dataclasses import asdict
from functools import partial
from pathlib import Path

from torch.distributed.elastic.multiprocessing.errors import record as report_to_torchrun

from common.errors import ExitStatus
from configs.cli import Arguments
from training.config import TrainConfig, as_mapping
from training.device.process import stop_at_once
from training.ranks.distributed import Ranks, end_process, joined
from training.step import StepFunction, begin_step
from training.throughput import measure, plan
from training.trial.attempt import RECORD, remove_checkpoints
from training.trial.identity import trial_id
from training.trial.record import NO_DIGEST, RunRecord
from training.trial.running_code import running_code
from training.whole_trial import ended_in, train_in


def main(arguments: Arguments, step_function: StepFunction = begin_step) -> int:
    """Compose the trial and do what `mode` says; a test gives a step that fails."""
    command, config = compose(arguments)
    if command.mode == "plan":
        if os.environ.get("RANK", "0") == "0":
            print(plan(config, command.launcher))
        return ExitStatus.DONE
    if command.mode == "page":
        from scaling.report.run_page import write_run_page  # scipy too, which no training needs

        print(f"page: {write_run_page(Path(command.out or '.'))}")
        return ExitStatus.DONE
    with stop_at_once(), joined(config.runtime) as ranks:
        ranks.require_same("the config of the ranks", as_mapping(config))
        ranks.require_same("the code of the ranks", str(running_code()))
        if command.mode == "run":
            out = Path(command.out or f"runs/{trial_id(config)}")
            return run(config, out, command.keep, ranks, step_function)
        text = measure(config, ranks)
        say(ranks, text)
        return ExitStatus.DONE


def run(
    config: TrainConfig, out: Path, keep: str, ranks: Ranks, step_function: StepFunction
) -> int:
    """Train the trial in `out`, unless it has ended, and leave its record there."""
    ended = ranks.broadcast_from_rank0(lambda: (record := ended_in(config, out)) and asdict(record))
    if ended is None:
        record = train_in(config, out, ranks, step_function)
        say(ranks, f"{out}: {record.summary}; more in {out / RECORD}")
    else:
        record = RunRecord(**ended)
        say(ranks, f"{out}: nothing to do, it has ended: {record.summary}")
        if record.digest is None:
            say(ranks, f"warning: {out / RECORD} {NO_DIGEST}")
    if ranks.is_main and keep == "none":
        remove_checkpoints(out)
    return ExitStatus.DONE if record.status == "done" else ExitStatus.NO_RESULT


def say(ranks: Ranks, text: str) -> None:
    """Print on rank 0."""
    if ranks.is_main:
        print(text, flush=True)


def entry(step_function: StepFunction = begin_step) -> int:
    """Run `main` and turn its end into an exit status."""
    main_with_step = partial(main, step_function=step_function)
    return run_entry(main_with_step, "train", __doc__ or "", keys=KEYS)


if __name__ == "__main__":
    end_process(report_to_torchrun(entry)() or 0)
