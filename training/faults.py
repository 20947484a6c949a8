"""What may end the steps of a run early, handled in one place around the loop.

A signal asks to stop; another rank is lost; memory runs out; an attention kernel fails; the input
turns out bad.
"""

import gc
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from common.errors import BadInput, StopRequested
from training.config import TrainConfig
from training.device.micro_batch import is_out_of_memory
from training.device.process import stop_flag
from training.ranks.distributed import Ranks
from training.ranks.failures import failure_report
from training.state import TrainState
from training.step import Step
from training.trial.attempt import Attempt
from training.trial.describe import describe
from training.trial.logger import MetricsLogger
from training.trial.record import RunRecord, blank_record

# Kernels whose backward pass has been seen to give NaN in the midst of a sound run, and what takes
# their place: cuDNN's on an H100 after 65k steps (kyutai-labs/pocket-tts, pull request 264).
INSTEAD_OF = {"cudnn": "flash"}


class WrongKernel(Exception):
    """A gradient that is not finite where the loss is, by a kernel of INSTEAD_OF."""

    def __init__(self, step: Step, sdpa: str) -> None:
        self.instead = INSTEAD_OF[sdpa]
        super().__init__(
            f"gradient norm {step.grad_norm} beside loss {step.loss:.4f} at step {step.number}, "
            f"which {sdpa} attention may be the cause of; continuing with {self.instead} attention "
            "from the last checkpoint"
        )


class OutOfMemory(Exception):
    """Memory ran out in a step; with the record of that end, and the micro-batch it had."""

    def __init__(self, record: RunRecord, micro_batch: int) -> None:
        super().__init__(record.reason)
        self.record, self.micro_batch = record, micro_batch


@contextmanager
def faults_handled(state: TrainState, attempt: Attempt) -> Iterator[Callable[[], bool]]:
    """Around the steps of a run; gives whether a signal asked to stop, for the loop to look at.

    A rank that is lost or fails leaves a failure report for the others. Lack of memory becomes
    OutOfMemory. Set-up agrees among the ranks about bad input; later a rank is alone with it, and
    rank 0 alone speaks: BadInput becomes RuntimeError elsewhere.
    """
    ranks = state.ranks
    try:
        with failure_report(attempt, ranks, lambda: state.step), stop_flag() as stop:
            yield stop
    except BadInput as error:
        if ranks.is_main:
            raise
        raise RuntimeError(f"rank {ranks.rank}: {error}") from error
    except StopRequested:
        raise
    except Exception as error:
        if not is_out_of_memory(error):
            error.add_note(f"rank {ranks.rank}, after step {state.step}")
            raise
        size, detail = state.environment.micro_batch, _first_line(error)
        rank = f"rank {ranks.rank}, " if ranks.world_size > 1 else ""
        reason = f"{rank}step {state.step + 1}, micro-batch size {size}: {detail}"
        raise OutOfMemory(describe(state, attempt, "oom", reason), size) from None


def retrying(
    train_once: Callable[[TrainConfig], RunRecord],
    config: TrainConfig,
    attempt: Attempt,
    ranks: Ranks,
    logger: MetricsLogger,
) -> RunRecord:
    """The record of `train_once`, called again from the last checkpoint where that may help.

    With half the micro-batch where memory ran out, unless runtime.micro_batch fixes it. Not on
    several ranks, which would have to agree on it: they end, and take half when they are started
    again; on GPUs they tried it at set-up. With another attention kernel after WrongKernel, once,
    which all ranks meet in the same step.
    """
    may_halve = ranks.world_size == 1 and config.runtime.micro_batch is None
    while True:
        try:
            return train_once(config)
        except OutOfMemory as error:
            if error.micro_batch == 1 or not may_halve:
                return error.record
            change: dict[str, Any] = {"micro_batch": error.micro_batch // 2}
            size = change["micro_batch"]
            note = f"out of memory at {error}; continuing with micro-batch size {size}"
        except WrongKernel as error:
            change, note = {"sdpa": error.instead}, str(error)
        except (BadInput, StopRequested):
            raise
        except Exception as error:  # in set-up, which tried a micro-batch of one; or told already
            if not is_out_of_memory(error):
                # Nothing may follow the words of a failure that names its rank: they are the last.
                if not (hasattr(error, "__notes__") or str(error).startswith("rank ")):
                    error.add_note(f"rank {ranks.rank}, after step 0")
                raise
            return blank_record(config, attempt.number, "oom", _first_line(error))
        logger.note(note)
        config = replace(config, runtime=replace(config.runtime, **change))
        gc.collect()  # the frames of the error held the network
        if ranks.device.type == "cuda":
            torch.cuda.empty_cache()


def reason_of_divergence(state: TrainState, step: Step) -> str:
    """Why a step whose numbers are not finite ends the run.

    WrongKernel where it need not: the loss is finite, and the attention kernel one of INSTEAD_OF
    which no config fixes.
    """
    reason = f"loss {step.loss}, gradient norm {step.grad_norm} at step {step.number}"
    sdpa = state.environment.sdpa
    if sdpa not in INSTEAD_OF or not math.isfinite(step.loss):
        return reason
    if state.config.runtime.sdpa is None:
        raise WrongKernel(step, sdpa)
    return f"{reason}; {sdpa} attention may be the cause: try runtime.sdpa={INSTEAD_OF[sdpa]}"


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
