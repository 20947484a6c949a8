"""Train one GPT-2-style model to its token budget, on one device or under torchrun on many.

python train.py experiment=smoke out=runs/one                        goes on where it was stopped
python train.py experiment=smoke mode=plan                           counts, FLOP, steps
python train.py experiment=smoke mode=measure                        tokens/s, MFU, memory
python train.py --config-dir TRIAL --config-name config out=runs/x   one trial of a sweep by hand
torchrun --standalone --nproc_per_node=8 train.py experiment=gpt2_124m
"""

import configs.interrupt  # noqa: F401

# isort: split
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from torch.distributed.elastic.multiprocessing.errors import record as report_to_torchrun

from configs.errors import BadInput, ExitStatus, StopRequested
from configs.load import Arguments, build, run_entry
from training.attempt import RECORD, Attempt, beating, remove_checkpoints
from training.config import TrainConfig, as_mapping, trial_id
from training.dataset import open_data
from training.distributed import Ranks, joined
from training.hardware import rank_sequences, require_room
from training.loop import train_and_publish
from training.measure import measure, plan
from training.peers import cause, watched
from training.process import stop_at_once
from training.record import RunRecord, blank_record, publish, running_code
from training.run import initial_weights
from training.tracking import Labels, tracked
from training.trial import finished, take

SWEEPS_ONLY = ("grid", "launcher", "fit")


@dataclass(frozen=True)
class Command:
    """What to do with the trial, and where.

    mode  run; plan: say what it is and costs; measure: time a few steps
    out   the trial's folder; null: runs/<id>
    keep  final: the last checkpoints stay; none: they go once the record is there
    """

    mode: Literal["run", "plan", "measure"] = "run"
    out: str | None = None
    keep: Literal["final", "none"] = "final"


def main(arguments: Arguments) -> int:
    """Compose the trial and do what `mode` says."""
    command, config = compose(arguments)
    if command.mode == "plan":
        print(plan(config))
        return ExitStatus.DONE
    with stop_at_once(), joined(config.runtime) as ranks:
        ranks.require_same("the config of the ranks", as_mapping(config))
        ranks.require_same("the code of the ranks", str(running_code()))
        if command.mode == "run":
            return run(config, Path(command.out or f"runs/{trial_id(config)}"), command.keep, ranks)
        text = measure(config, ranks)
        say(ranks, text)
        return ExitStatus.DONE


def compose(arguments: Arguments) -> tuple[Command, TrainConfig]:
    """The command and its trial; what only sweeps read may stand in files but not be typed."""
    for override in arguments.overrides:
        name = override.lstrip("+~").partition("=")[0].partition(".")[0]
        if name in SWEEPS_ONLY:
            raise BadInput(f"{override}: train.py trains one model and reads no {name}: sweep.py")
    own = ("mode", "out", "keep")
    values: dict[str, Any] = arguments.compose(own)
    command = build(Command, {name: values.pop(name) for name in own if name in values})
    trial = {name: value for name, value in values.items() if name not in SWEEPS_ONLY}
    return command, build(TrainConfig, trial)


def run(config: TrainConfig, out: Path, keep: str, ranks: Ranks) -> int:
    """Train the trial in `out`, unless it has ended, and leave its record there."""
    ended = ranks.from_main(lambda: (record := finished(out, config)) and asdict(record))
    if ended is None:
        record = train_in(config, out, ranks)
        say(ranks, f"{out}: {record.summary}; more in {out / RECORD}")
    else:
        record = RunRecord(**ended)
        say(ranks, f"{out}: nothing to do, it has ended: {record.summary}")
    if ranks.is_main and keep == "none":
        remove_checkpoints(out)
    return ExitStatus.DONE if record.status == "done" else ExitStatus.NO_RESULT


def train_in(config: TrainConfig, out: Path, ranks: Ranks) -> RunRecord:
    """Claim the trial in `out`, train it and publish its record.

    Several ranks leave one of their failure, too, which nobody may be left to tell otherwise.
    """
    ranks.everywhere(lambda: rank_sequences(config, ranks))
    ranks.everywhere(lambda: require_room(config, ranks))
    data = open_data(config, ranks)
    if config.init_from is not None:
        ranks.from_main(lambda: str(initial_weights(config).origin))  # before anything is written
    attempt = Attempt(out, ranks.from_main(lambda: take(out, config).number))

    def fail(reason: str) -> None:
        publish(attempt, blank_record(config, attempt.number, "failed", reason))

    try:
        with watched(attempt, ranks, fail):
            if not ranks.is_main:
                return train_and_publish(config, attempt, ranks, data)
            with beating(attempt), tracked(attempt, config, Labels()):
                return train_and_publish(config, attempt, ranks, data)
    except StopRequested:
        raise
    except Exception:
        if ranks.world_size > 1 and (reason := cause(attempt, ranks)):
            fail(reason)
        raise


def say(ranks: Ranks, text: str) -> None:
    """Print on rank 0."""
    if ranks.is_main:
        print(text, flush=True)


def entry() -> int:
    """Run `main` and turn its end into an exit status."""
    return run_entry(main, "train", __doc__ or "")


if __name__ == "__main__":
    sys.exit(report_to_torchrun(entry)())
