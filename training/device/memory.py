"""How much memory a run takes: what is exact, and what is estimated. Torch-free."""

from dataclasses import dataclass, replace
from typing import Literal

from model.config import GPTConfig
from model.flops import params_allocated, params_non_embedding
from training.config import TrainConfig

Kind = Literal["cpu", "cuda"]
Head = Literal["plain", "chunked"]

# On a CPU attention takes float32 copies of its inputs and outputs (model/gpt.py): bytes of a token
# by layer and width in bf16, more than its family keeps (model/families.py).
_FLOAT32_ATTENTION = 10
# Bytes of a logit. Compiled: itself, in whose place the gradient is written (as on a CPU:
# model/loss.py). Eager on a GPU: logarithm of its probability, the gradient of that and its own, in
# float32 while the two before exist.
_LOGIT = {"bf16": 2, "float32": 4}
_LOGIT_EAGER = 12
_MARGIN = 1.3  # of what is estimated: blocks that do not fit each other, and small buffers
_PROCESS = 350_000_000  # bytes that a process with torch takes of a CPU's memory
# Bytes that a process takes of a GPU beside its tensors: CUDA's context and the workspaces of
# libraries. Not measured; 0.3 to 0.6 GB are reported.
_CONTEXT = 600_000_000
_CHUNKS = 3 * 2**30  # what the chunked head holds at a time (model/loss.py)
_FILLS_A_GPU = 8192  # tokens of a micro-batch; not measured
# Tokens of a micro-batch beyond which a GPU gains about nothing: the casts of weights, done once a
# micro-batch, are 0.3% of a step of GPT-2 small at 64 x 1024 (arithmetic, not measured).
_MOST_TOKENS = 65_536
_MOST_LOGITS = 2**31  # of an evaluation: 4.3 GB in bf16

# From so many bytes on a checkpoint is copied and a thread writes the copy; a disk takes less in a
# fraction of a second.
BACKGROUND_BYTES = 2**28


def state_bytes(config: TrainConfig) -> int:
    """Weights, gradients and the optimizer's moments in float32: what every rank must hold.

    Four numbers a weight with AdamW; three for the hidden matrices with Muon, which has one moment.
    """
    saved = params_non_embedding(config.model) if config.optimizer.name == "muon" else 0
    return 4 * (4 * params_allocated(config.model) - saved)


@dataclass(frozen=True)
class Computation:
    """How a network is computed, as far as memory depends on it."""

    precision: Literal["float32", "bf16"] = "bf16"
    compiled: bool = True
    kind: Kind = "cuda"


COMPILED = Computation()


def activation_bytes(model: GPTConfig, head: Head = "plain", how: Computation = COMPILED) -> int:
    """Estimated bytes of one token of a micro-batch: what its backward pass begins with.

    That is its largest moment: activations are given up as gradients of weights appear.
    """
    eager = how.kind == "cuda" and not how.compiled
    family = model.architecture
    kept = family.kept(model)[how.precision == "float32"]
    if how.kind == "cpu" and how.precision == "bf16" and family.attends:
        kept += _FLOAT32_ATTENTION * model.n_embd
    logit = 0 if head == "chunked" else _LOGIT_EAGER if eager else _LOGIT[how.precision]
    ends = 6 * model.n_embd  # the last norm's, as a layer's
    return kept * model.n_layer + ends + logit * model.padded_vocab_size


def weight_bytes(model: GPTConfig, head: Head = "plain", how: Computation = COMPILED) -> int:
    """Bytes beside `state_bytes` that do not grow with tokens.

    In bf16 a copy of each weight; the gradient of the token embedding, which is made while all
    activations are kept, and with the chunked head two in float32 and its chunks.
    """
    width = 2 if how.precision == "bf16" else 4
    copy = width * params_allocated(model) if how.precision == "bf16" else 0
    table = model.padded_vocab_size * model.n_embd
    return copy + (_CHUNKS + 8 * table if head == "chunked" else width * table)


def usable_bytes(memory_bytes: int, share: float) -> int:
    """Bytes for the tensors of a process that may take `share` of a GPU's memory."""
    return max(0, int(share * memory_bytes) - _CONTEXT)


def tokens_that_fit(
    model: GPTConfig, memory_bytes: int, head: Head = "plain", how: Computation = COMPILED
) -> int:
    """Tokens whose activations fit in what weights, gradients and AdamW's moments leave.

    With a margin of 1.3, since the estimate is tried (training/device/micro_batch.py).
    """
    held = 4 * 4 * params_allocated(model) + weight_bytes(model, head, how)
    return max(0, int((memory_bytes - held) / (_MARGIN * activation_bytes(model, head, how))))


def too_large(config: TrainConfig, head: Head, memory_bytes: int | None) -> str:
    """One line for a model of which not a single sequence fits, that says what would."""
    there = "" if memory_bytes is None else f" in {memory_bytes / 1e9:.1f} GB"
    remedy = "runtime.loss_head=chunked, " if head == "plain" else ""
    remedy += "fewer trials on a device, " if config.runtime.memory_share < 1 else ""
    return (
        f"one sequence of {config.model.block_size} tokens does not fit{there} beside "
        f"{state_bytes(config) / 1e9:.1f} GB of weights, gradients and moments; try {remedy}"
        "a smaller model.block_size or model, or a device with more memory (more ranks do not help)"
    )


def head_that_fits(
    model: GPTConfig, rank_tokens: int, memory_bytes: int | None, how: Computation = COMPILED
) -> Head:
    """The loss head for a GPU: chunked where logits alone would make its micro-batches too small.

    `rank_tokens` are a rank's share of a step. Not measured on a GPU. Plain where `memory_bytes` is
    None: on a CPU, which has its own way of saving memory (model/loss.py).
    """
    if memory_bytes is None:
        return "plain"
    plain = tokens_that_fit(model, memory_bytes, "plain", how)
    if plain >= min(rank_tokens, _FILLS_A_GPU):
        return "plain"
    chunked = tokens_that_fit(model, memory_bytes, "chunked", how)
    return "chunked" if chunked > plain else "plain"


def safe_micro_batch_tokens(model: GPTConfig, kind: Kind) -> int:
    """Tokens of a micro-batch that any machine of the kind holds, as are their logits.

    CPU: 16k tokens, 2^27 logits (0.5 GB in float32); GPU: 64k tokens, 2^28 logits (1 GB, held
    beside those in bf16 and their logarithms).
    """
    tokens, logits = (65_536, 2**28) if kind == "cuda" else (16_384, 2**27)
    return min(tokens, logits // model.padded_vocab_size)


def parts(rank_batch: int, most: int) -> int:
    """Sequences of a micro-batch: `rank_batch` of them in parts of at most `most`.

    The parts are equal if that costs less than twice as many, since each new shape is compiled
    anew; else nearly equal.
    """
    fewest = -(-rank_batch // max(1, most))
    equal = (count for count in range(fewest, 2 * fewest) if rank_batch % count == 0)
    return -(-rank_batch // next(equal, fewest))


def micro_batch_by_rule(
    model: GPTConfig,
    rank_batch: int,
    kind: Kind,
    memory_bytes: int | None,
    head: Head = "plain",
    how: Computation = COMPILED,
) -> int:
    """Sequences of a micro-batch, never by a clock, so that a repeat does the same.

    What any machine holds, or what is estimated to fit a GPU of known memory, which is then tried
    (training/device/micro_batch.py).
    """
    if kind == "cpu" or memory_bytes is None:
        most = safe_micro_batch_tokens(model, kind)
    else:
        most = min(_MOST_TOKENS, tokens_that_fit(model, memory_bytes, head, how))
    return parts(rank_batch, most // model.block_size)


def evaluation_tokens(
    model: GPTConfig, micro_batch: int, head: Head, trained: Computation, evaluated: Computation
) -> int:
    """Tokens of a micro-batch of an evaluation: no more memory than a training's takes.

    That of training, of `micro_batch` sequences, was found to fit and is the same on all ranks.
    Without a gradient only one layer's tensors exist at a time, so on a GPU many more tokens fit:
    up to 2^31 logits.
    """
    if evaluated.kind == "cpu":
        return safe_micro_batch_tokens(model, "cpu")
    layer = replace(model, n_layer=1)
    room = micro_batch * model.block_size * activation_bytes(model, head, trained)
    fitting = room // activation_bytes(layer, "plain", evaluated)
    return min(fitting, _MOST_LOGITS // model.padded_vocab_size)


def run_bytes(config: TrainConfig, kind: Kind, memory_bytes: int | None, ranks: int = 1) -> int:
    """Estimated bytes of a rank at its fullest: of tensors on a GPU, of the process on a CPU.

    Right to 1.3 against the graphs of torch's compiler (tests/test_training_device_memory.py). On a
    CPU in float32 measured against this: 8 layers of 512, vocabulary 4096, 4096 tokens, 2.19 GB
    against 1.95; 2 layers of 128, vocabulary 50257, 1.49 against 1.35. `memory_bytes` is what the
    device has for the process, None where it is not known.
    """
    model, block = config.model, config.model.block_size
    sequences = max(1, config.schedule.batch_tokens // block // ranks)
    known = memory_bytes if kind == "cuda" else None
    how = Computation(config.precision, config.runtime.compile is not False, kind)
    head = config.runtime.loss_head or head_that_fits(model, sequences * block, known, how)
    by_rule = micro_batch_by_rule(model, sequences, kind, known, head, how)
    part = min(sequences, config.runtime.micro_batch or by_rule)
    kept = part * block * activation_bytes(model, head, how)
    held = state_bytes(config) + weight_bytes(model, head, how)
    if kind == "cuda":
        # Where gradients are added up, those of a part exist beside the sum when it ends.
        return held + (max(kept, 4 * params_allocated(model)) if part < sequences else kept)
    saved = state_bytes(config) - 4 * params_allocated(model)
    saving = saved if saved >= BACKGROUND_BYTES else 0  # the copy that a thread writes
    return _PROCESS + held + kept + saving
