"""Training one model: step, evaluate, log, save, until the token budget is spent."""

import gc
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch.nn.parallel import DistributedDataParallel

from configs.errors import BadInput, StopRequested
from model.flops import flops_per_token_exact, params_total
from model.gpt import weights_digest
from training.attempt import Attempt
from training.config import TrainConfig
from training.dataset import Data
from training.distributed import Ranks
from training.evaluate import evaluate
from training.hardware import peak_memory
from training.journal import Journal, utc_now
from training.metrics import Row, read_metrics, spikes
from training.peaks import mfu
from training.peers import last_words
from training.process import stop_flag
from training.record import RunRecord, Status, blank_record, publish
from training.room import is_out_of_memory
from training.run import Run, set_up
from training.saving import Saver
from training.step import Step, train_steps

TRAIN_LOSS_ROWS = 10


def train(
    config: TrainConfig,
    attempt: Attempt,
    ranks: Ranks,
    data: Data | None = None,
    quiet: bool = False,
) -> RunRecord:
    """Train a claimed trial to its end, from its newest checkpoint if it has one.

    `data` where the caller has opened it already; `quiet` keeps the terminal clean. Returns the
    record (done, diverged or oom) and publishes nothing but checkpoints. Raises BadInput for bad
    input, on all ranks before the first step, and RuntimeError on other ranks than 0 later;
    StopRequested, after saving, on SIGTERM or Ctrl-C and when the attempt was taken over.

    One rank that runs out of memory goes on from its newest checkpoint with half the sequences a
    pass, which changes no science, until a single one is too much; unless runtime.micro_batch says
    how many. Several ranks, which would have to agree on it, end, and take half when
    they are started again; on GPUs they tried it at set-up.
    """
    may_halve = ranks.world_size == 1 and config.runtime.micro_batch is None
    with Journal(attempt, config.schedule.steps, ranks.is_main, quiet) as journal:
        while True:
            record, micro_batch = _train_or_run_out(config, attempt, ranks, journal, data)
            if record.status != "oom" or micro_batch == 1 or not may_halve:
                return record
            smaller = micro_batch // 2
            journal.note(f"out of memory at {record.reason}; going on with {smaller} a pass")
            config = replace(config, runtime=replace(config.runtime, micro_batch=smaller))
            gc.collect()
            if ranks.device.type == "cuda":
                torch.cuda.empty_cache()


def _train_or_run_out(
    config: TrainConfig, attempt: Attempt, ranks: Ranks, journal: Journal, data: Data | None
) -> tuple[RunRecord, int]:
    """The record, of an end by lack of memory too, and the sequences of a pass."""
    run: Run | None = None
    try:
        run = set_up(config, attempt, ranks, journal, data)
        with (
            Saver(run, attempt, journal) as saver,  # which may end late, its last words told
            last_words(attempt, ranks, lambda: run.step),
            stop_flag() as stop,
        ):
            return _loop(run, attempt, journal, saver, stop), run.environment.micro_batch
    except BadInput as error:
        # Set-up agrees among the ranks; later a rank is alone with it, and rank 0 alone speaks.
        if run is None or ranks.is_main:
            raise
        raise RuntimeError(f"rank {ranks.rank}: {error}") from error
    except StopRequested:
        raise
    except Exception as error:
        if not is_out_of_memory(error):
            error.add_note(f"rank {ranks.rank}, after step {run.step if run else 0}")
            raise
        detail = str(error).partition("\n")[0]
        if run is None:
            return blank_record(config, attempt.number, "oom", detail), 1
        micro_batch = run.environment.micro_batch
        reason = f"step {run.step + 1}, {micro_batch} sequences a pass: {detail}"
        if ranks.world_size > 1:
            reason = f"rank {ranks.rank}, {reason}"
        return describe(run, attempt, "oom", reason), micro_batch


def train_and_publish(
    config: TrainConfig,
    attempt: Attempt,
    ranks: Ranks,
    data: Data | None = None,
    quiet: bool = False,
) -> RunRecord:
    """`train`, and leave the record in the trial's folder: by rank 0, as a rule.

    A rank that runs out of memory is alone in knowing it: it publishes, and raises RuntimeError,
    since its end is what frees the others. Raises StopRequested, too, when the attempt was taken
    over before it could publish.
    """
    record = train(config, attempt, ranks, data, quiet)
    is_out_of_memory = record.status == "oom"
    if (ranks.is_main or is_out_of_memory) and not publish(attempt, record) and attempt.fenced():
        raise StopRequested(f"{attempt.folder} was taken over; look for the record there")
    if is_out_of_memory and ranks.world_size > 1:
        raise RuntimeError(f"out of memory: {record.reason}")
    return record


def _loop(
    run: Run, attempt: Attempt, journal: Journal, saver: Saver, stop: Callable[[], bool]
) -> RunRecord:
    runtime, steps = run.config.runtime, run.config.schedule.steps

    def must_evaluate(number: int) -> bool:
        return number == steps or _is_due(number, runtime.evaluate_every_steps)

    with frozen_collector() as freeze:
        is_first = True
        for step in train_steps(run, stop, saver.is_due, must_evaluate):
            if not step.is_finite:
                run.step = step.number - 1
                reason = f"loss {step.loss}, gradient norm {step.grad_norm} at step {step.number}"
                return describe(run, attempt, "diverged", reason)
            if is_first:
                is_first = False
                freeze()  # what set-up and compilation made stays
                run.first_step_s = run.tried_s + step.seconds
                run.warmed_up = step.number, run.train_s
                if run.environment.compile:
                    journal.note(f"first step: {run.first_step_s:.1f} s, compilation included")
            row = _row(run, step)
            if must_evaluate(step.number):
                run.loss = row["val_loss"] = held_out_loss(run)
                if not math.isfinite(run.loss):
                    reason = f"held-out loss {run.loss} after step {run.step}"
                    return describe(run, attempt, "diverged", reason)
            if "val_loss" in row or _is_due(step.number, runtime.log_every_steps):
                journal.row(row)
            if step.number == run.step < steps:  # else the step under way would have no row
                saver.save_if_due()
        if not run.has_finite_weights():  # no next step would tell
            reason = f"weights that are not finite after step {run.step}"
            return describe(run, attempt, "diverged", reason)
        saver.save_now()
    if run.step < steps:
        raise StopRequested(f"after step {run.step} of {steps}; the same command goes on")
    return describe(run, attempt, "done", None)


@contextmanager
def frozen_collector() -> Iterator[Callable[[], None]]:
    """Gives a function after which the garbage collector passes over all that there is by then.

    A walk over torch's objects takes many times as long as a small model's step.
    """

    def freeze() -> None:
        gc.collect()
        gc.freeze()

    try:
        yield freeze
    finally:
        gc.unfreeze()


def held_out_loss(run: Run) -> float:
    """Nats per token on the held-out windows, in the precision of training.

    Where the model is compiled and evaluations recur they are compiled too, which a single one
    would not repay. By published rates (490k tokens/s on an H200, 1.5 to 1.9 times those of eager
    mode) 10 million tokens of GPT-2 small every 250 steps of half a million then take 2.7% of the
    time and not 4 to 5%; not measured here.
    """
    forward = None
    if run.environment.compile and run.config.runtime.evaluate_every_steps:
        network = run.network  # DDP would cut the graph for its backward pass
        forward = network.module if isinstance(network, DistributedDataParallel) else network
    return evaluate(run.model, run.data.windows, run.ranks, run.autocast, forward)


def describe(run: Run, attempt: Attempt, status: Status, reason: str | None) -> RunRecord:
    """The record of a run that ends now."""
    config, environment = run.config, run.environment
    tokens = run.step * config.schedule.batch_tokens
    bytes_per_token = run.data.manifest.val.bytes_per_token
    loss = run.loss if status == "done" else None
    rows = read_metrics(attempt.trial)
    recent = [row["loss"] for row in rows[-TRAIN_LOSS_ROWS:]]
    jumps = spikes(rows)
    spike_step, spike_nats = max(jumps, key=lambda jump: jump[1], default=(None, None))
    return replace(
        blank_record(config, attempt.number, status, reason),
        loss=loss,
        loss_bpb=loss / math.log(2) / bytes_per_token if loss and bytes_per_token else None,
        train_loss=sum(recent) / len(recent) if recent else None,
        eval_tokens=run.data.windows.shape[0] * config.model.block_size,
        tokens=tokens,
        steps=run.step,
        epochs=tokens / run.data.loader.tokens_per_epoch,
        flops_6nd=6 * params_total(config.model) * tokens,
        flops_exact=flops_per_token_exact(config.model) * tokens,
        weights_digest=weights_digest(run.model) if status == "done" else None,
        spikes=len(jumps),
        spike_step=spike_step,
        spike_nats=spike_nats,
        bitwise=run.bitwise,
        data_digest=run.data.manifest.digest,
        torch=environment.torch,
        device=environment.device,
        world_size=environment.world_size,
        threads=environment.threads,
        train_s=run.train_s,
        wall_s=run.wall_s,
        first_step_s=run.first_step_s,
        tokens_per_s=run.tokens_per_s,
        mfu=utilisation(run, run.tokens_per_s) if run.tokens_per_s else None,
        peak_memory=peak_memory(run.ranks.device),
        started=run.started,
        ended=utc_now(),
    )


def utilisation(run: Run, tokens_per_s: float) -> float | None:
    """MFU of a run at a rate of all its ranks; None where the device's peak is unknown."""
    environment = run.environment
    return mfu(
        run.config.model,
        tokens_per_s,
        environment.device,
        run.config.precision,
        environment.world_size,
    )


def _row(run: Run, step: Step) -> Row:
    tokens = step.number * run.config.schedule.batch_tokens
    tokens_per_s = run.config.schedule.batch_tokens / step.seconds
    row = {
        "step": step.number,
        "tokens": tokens,
        "flops": tokens * flops_per_token_exact(run.config.model),
        "loss": step.loss,
        "lr": step.lr,
        "grad_norm": step.grad_norm,
        "tokens_per_s": tokens_per_s,
        "time": utc_now(),
    }
    if not step.instruments:
        return row
    speed = {"mfu": utilisation(run, tokens_per_s), "peak_memory": peak_memory(run.ranks.device)}
    return {**row, **step.instruments, **speed}


def _is_due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
