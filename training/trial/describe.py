"""What a run tells of itself: a row of metrics on its way, and its record in the end."""

import math
from dataclasses import replace

from model.flops import flops_per_token_exact, params_total
from model.network import weights_digest
from training.device.mfu import mfu
from training.environment import peak_memory
from training.state import TrainState
from training.step import Step
from training.trial.attempt import Attempt
from training.trial.logger import utc_now
from training.trial.metrics import Row, read_metrics, spikes
from training.trial.record import DECIDES_BITS, RunRecord, Status, blank_record

TRAIN_LOSS_ROWS = 10


def describe(
    state: TrainState, attempt: Attempt, status: Status, reason: str | None = None
) -> RunRecord:
    """The record of a run that ends now."""
    config, environment, manifest = state.config, state.environment, state.data.manifest
    tokens = state.step * config.schedule.batch_tokens
    eval_tokens = state.data.windows.shape[0] * config.model.block_size
    bits = math.log(2) * state.data.text_bytes
    loss = state.loss if status == "done" else None
    rows = read_metrics(attempt.trial)
    recent = [row["loss"] for row in rows[-TRAIN_LOSS_ROWS:]]
    jumps = spikes(rows)
    spike_step, spike_nats = max(jumps, key=lambda jump: jump[1], default=(None, None))
    return replace(
        blank_record(config, attempt.number, status, reason),
        loss=loss,
        loss_by_position=state.loss_by_position if status == "done" else None,
        loss_bpb=loss * eval_tokens / bits if loss and bits else None,
        train_loss=sum(recent) / len(recent) if recent else None,
        eval_tokens=eval_tokens,
        tokens=tokens,
        steps=state.step,
        epochs=tokens / state.data.loader.tokens_per_epoch,
        flops_6nd=6 * params_total(config.model) * tokens,
        flops_exact=flops_per_token_exact(config.model) * tokens,
        flops_spent=_flops_spent(state),
        weights_digest=weights_digest(state.model) if status == "done" else None,
        spikes=len(jumps),
        spike_step=spike_step,
        spike_nats=spike_nats,
        bitwise=state.bitwise,
        data_digest=manifest.digest,
        **{name: getattr(environment, name) for name in DECIDES_BITS},
        train_s=state.train_s,
        wall_s=state.wall_s,
        first_step_s=state.first_step_s,
        tokens_per_s=state.tokens_per_s,
        mfu=utilisation(state, state.tokens_per_s),
        peak_memory=peak_memory(state.ranks.device),
        started=state.started,
        ended=utc_now(),
    )


def _flops_spent(state: TrainState) -> int | None:
    if not state.branched_at:
        return None
    steps = max(0, state.step - state.branched_at)
    tokens = steps * state.config.schedule.batch_tokens
    return flops_per_token_exact(state.config.model) * tokens


def utilisation(state: TrainState, tokens_per_s: float | None) -> float | None:
    """MFU at the throughput of all ranks; None where that or the device's peak is unknown."""
    if not tokens_per_s:
        return None
    where, config = state.environment, state.config
    return mfu(config.model, tokens_per_s, where.device, config.precision, where.world_size)


def metrics_row(state: TrainState, step: Step) -> Row:
    """What metrics.jsonl says of a step."""
    tokens = step.number * state.config.schedule.batch_tokens
    tokens_per_s = state.config.schedule.batch_tokens / step.seconds
    row = {
        "step": step.number,
        "tokens": tokens,
        "flops": tokens * flops_per_token_exact(state.config.model),
        "loss": step.loss,
        "lr": step.lr,
        "grad_norm": step.grad_norm,
        "tokens_per_s": tokens_per_s,
        "time": utc_now(),
    }
    if not step.instruments:
        return row
    memory = peak_memory(state.ranks.device)
    return row | step.instruments | {"mfu": utilisation(state, tokens_per_s), "peak_memory": memory}
