"""What a run leaves: record.json, complete without its checkpoint, written once. Torch-free."""

from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from common.errors import BadInput
from common.files import (
    DIGEST,
    digest,
    digest_holds,
    parse_json,
    read_bytes,
    to_json,
    with_digest,
    write_once,
)
from configs.schema import build
from data.tokenizer import is_byte_vocabulary
from model import flops
from training.config import TrainConfig, as_mapping
from training.schedule import cooldown_tokens
from training.trial.attempt import RECORD, Attempt, newest_attempt
from training.trial.identity import trial_id
from training.trial.running_code import running_code, torch_version

SCHEMA = 1

DAMAGED = "record.damaged.json"  # what set_damaged_aside makes of it
NO_DIGEST = "without a digest (by hand, or of an earlier version): no changed byte is seen"
REMEDY = "; restore it from a copy, or start the run again, which sets it aside and trains anew"

Status = Literal["done", "diverged", "oom", "failed"]
RETRIABLE = ("oom", "failed")  # ends that another machine, or another runtime, may spare

DECIDES_BITS = ("torch", "device", "world_size", "threads", "sdpa")  # of a run's environment


class DamagedRecord(BadInput):
    """A record that is not as it was written: the trial is as if it had none."""


@dataclass(frozen=True)
class RunRecord:
    """The end of one trial. Losses in nats per token, times in seconds, memory in bytes.

    loss            held-out loss of the final weights; loss_bpb the same in bits per byte of
                    the text that the evaluated tokens stand for
    loss_by_position  the mean of `loss` over ranges of positions in context, each by its last
    train_loss      mean of the last logged training losses
    params_*        the counts of model/flops.py, without the vocabulary's padding
    flops_6nd       6 params_total tokens; flops_exact: the count of flops_per_token_exact
    tokens          trained so far; tokens_planned: what the schedule asks for
    epochs          tokens over the training tokens there are
    weights_digest  of the final weights (model.network.weights_digest)
    bitwise         whether an uninterrupted run would have ended in the same bits
                    (Environment.is_deterministic)
    config_digest   of the whole config, `runtime` included (id leaves that out)
    sdpa            the attention kernel in the end
    train_s         inside training steps; wall_s: with set-up, evaluation and saving
    first_step_s    of the last attempt, with compilation and the trial of micro-batches
    tokens_per_s    of the last attempt's steps but the first, if there are any
    mfu             by the nanoGPT count over the device's dense peak; null if that is not known
    cooldown_tokens  while which a constant rate falls at the end; null: a cosine
    flops_spent     what a branch took itself of flops_exact, beside its trunk; null: all of it
    digest          over all the rest, as it stands in record.json; None in one written by hand, or
                    by an earlier version
    spikes          logged losses that rose far and stayed up (metrics.spikes); the highest of them
                    was after `spike_step` updates, `spike_nats` above
    """

    id: str
    status: Status
    reason: str | None
    attempts: int
    # The trial, flat, for tables.
    n_layer: int
    n_head: int
    n_embd: int
    vocab_size: int
    block_size: int
    init_std: float
    batch_tokens: int
    lr: float
    warmup_tokens: int
    seed: int
    precision: str
    dataset: str
    tokenizer: str
    eval_tokens: int
    tokens_planned: int
    params_total: int
    params_non_embedding: int
    params_matmul: int
    params_effective: int
    config_digest: str
    residual: str = "float32"
    family: str = "gpt2"
    n_kv_head: int | None = None
    n_inner: int | None = None
    tied_head: bool = True
    parametrization: str = "standard"
    base_width: int | None = None
    base_depth: int | None = None
    cooldown_tokens: int | None = None
    # The result.
    loss: float | None = None
    loss_bpb: float | None = None
    train_loss: float | None = None
    loss_by_position: tuple[tuple[int, float], ...] | None = None
    tokens: int = 0
    steps: int = 0
    epochs: float | None = None
    flops_6nd: int = 0
    flops_exact: int = 0
    flops_spent: int | None = None
    weights_digest: str | None = None
    spikes: int | None = None
    spike_step: int | None = None
    spike_nats: float | None = None
    bitwise: bool | None = None
    # Where it came from.
    data_digest: str | None = None
    code_commit: str | None = None
    code_dirty: bool | None = None
    torch: str | None = None
    device: str | None = None
    world_size: int | None = None
    threads: int | None = None
    sdpa: str | None = None
    train_s: float | None = None
    first_step_s: float | None = None
    wall_s: float | None = None
    tokens_per_s: float | None = None
    mfu: float | None = None
    peak_memory: int | None = None
    started: str | None = None
    ended: str | None = None
    schema: int = SCHEMA
    digest: str | None = field(default=None, compare=False)

    @property
    def summary(self) -> str:
        """One line for people."""
        if self.status == "done":
            bits = "" if self.loss_bpb is None else f" ({self.loss_bpb:.4f} bits per byte)"
            unit = "byte" if is_byte_vocabulary(self.vocab_size) else "token"
            return f"held-out loss {self.loss:.4f} nats per {unit}{bits}, {self.tokens:,} tokens"
        return f"{self.status}: {self.reason}"


def blank_record(
    config: TrainConfig, attempts: int, status: Status, reason: str | None
) -> RunRecord:
    """The record of a trial of which nothing but its config is known (its process died, say)."""
    model, schedule = config.model, config.schedule
    commit, dirty = running_code()
    return RunRecord(
        id=trial_id(config),
        status=status,
        reason=reason,
        attempts=attempts,
        **asdict(model),
        batch_tokens=schedule.batch_tokens,
        lr=config.optimizer.lr,
        warmup_tokens=schedule.warmup_tokens,
        cooldown_tokens=cooldown_tokens(schedule),
        seed=config.seed,
        precision=config.precision,
        dataset=config.data.name,
        tokenizer=config.data.tokenizer,
        eval_tokens=config.evaluation.tokens,
        tokens_planned=schedule.tokens_planned,
        params_total=flops.params_total(model),
        params_non_embedding=flops.params_non_embedding(model),
        params_matmul=flops.params_matmul(model),
        params_effective=flops.params_effective(model),
        config_digest=digest(as_mapping(config)),
        code_commit=commit,
        code_dirty=dirty,
        torch=torch_version(),
    )


def publish(attempt: Attempt, record: RunRecord) -> bool:
    """Write record.json, unless it is there or the attempt is fenced off; True if this wrote it."""
    if attempt.is_superseded():
        return False
    return write_once(attempt.trial / RECORD, record_text(record))


def record_text(record: RunRecord) -> str:
    """The content of record.json, with its digest."""
    return to_json(with_digest(asdict(record)))


def read_record(trial: Path) -> RunRecord | None:
    """The record of a trial, None if it has none yet.

    Raises DamagedRecord for what no version wrote, other BadInput for what this one cannot read.
    """
    path = trial / RECORD
    if not path.exists():
        return None
    values = read_object(path)
    schema = values.get("schema")
    if type(schema) is int and schema > SCHEMA:
        raise BadInput(f"{path}: found schema {schema}, expected {SCHEMA}; use the newer code")
    if type(schema) is not int or schema < SCHEMA:
        raise DamagedRecord(f"{path}: found schema {schema!r}, expected {SCHEMA}{REMEDY}")
    try:
        record = build(RunRecord, values)
        if record.status == "done" and record.loss is None:
            raise BadInput("loss: found None, expected a number in a record that is done")
    except BadInput as error:
        # With its digest it is as it was written, by a version of other fields.
        kind = BadInput if values.get(DIGEST) else DamagedRecord
        raise kind(f"{path}: {error}{'' if values.get(DIGEST) else REMEDY}") from None
    return record


def read_object(path: Path) -> dict[str, Any]:
    """What a record's file holds, its digest checked if it has one; raises as `read_record`."""
    if path.exists() and not path.is_file():
        raise DamagedRecord(f"{path}: found no file, expected a record{REMEDY}")
    try:
        values = parse_json(read_bytes(path))
    except ValueError as error:
        raise DamagedRecord(f"{path}: not strict JSON: {error}{REMEDY}") from None
    if not isinstance(values, dict):
        raise DamagedRecord(f"{path}: found no mapping, expected a record{REMEDY}")
    if digest_holds(values) is False:
        raise DamagedRecord(f"{path}: differs from its own digest, so a byte has changed{REMEDY}")
    return values


def set_damaged_aside(trial: Path) -> str | None:
    """Let a trial whose record is damaged run again; the file moves into its newest attempt.

    Returns what was done; None where the record is whole, or another process has just moved it.
    """
    try:
        read_record(trial)
    except DamagedRecord as error:
        written_by = newest_attempt(trial) or Attempt(trial, 1)
        written_by.folder.mkdir(exist_ok=True)
        with suppress(FileNotFoundError):
            (trial / RECORD).rename(written_by.folder / DAMAGED)
            written_by.release()
            what = str(error).removesuffix(REMEDY)
            return f"{what}; set aside as {written_by.folder / DAMAGED}, the trial is trained again"
    return None


def set_aside(trial: Path, record: RunRecord) -> bool:
    """Let the trial of `record` run again: the record moves into the attempt that wrote it.

    Its next attempt, which resumes from the newest checkpoint, may then write its own. False if
    another process moved it just now. Only who moved it gives back that attempt, and no later one:
    another process may have begun one meanwhile.
    """
    written_by = Attempt(trial, record.attempts)
    written_by.folder.mkdir(exist_ok=True)  # a record may have been copied here without it
    try:
        (trial / RECORD).rename(written_by.folder / RECORD)
    except FileNotFoundError:
        return False
    written_by.release()  # its owner may live, and be at other trials
    return True
