"""How much memory a run takes: what is exact, and what is estimated. Torch-free."""

from typing import Literal

from model.config import GPTConfig
from model.flops import params_allocated, params_non_embedding
from training.config import TrainConfig

Kind = Literal["cpu", "cuda"]
Head = Literal["plain", "chunked"]

# Bytes of a token's activations kept for the backward pass, by layer and width: 34 in two bytes
# with attention recomputed (Korthikanti et al. 2022, 2205.05198, eq. 2).
_KEPT = 34
_PROCESS = 350_000_000  # bytes that a process with torch takes of a CPU's memory
_LOGIT = 12  # bytes of a logit: in bf16, in float32 and its gradient
_CHUNKS = 3 * 2**30  # what the chunked head holds at a time (model/loss.py), and its gradients
_FILLS_A_GPU = 16_384  # tokens of a pass; not measured

# From so many bytes on a checkpoint is copied and a thread writes the copy; a disk takes less in a
# fraction of a second.
BACKGROUND_BYTES = 2**28


def state_bytes(config: TrainConfig) -> int:
    """Weights, gradients and the optimizer's moments in float32: what every rank must hold.

    Four numbers a weight with AdamW; three for the hidden matrices with Muon, which has one moment.
    """
    saved = params_non_embedding(config.model) if config.optimizer.name == "muon" else 0
    return 4 * (4 * params_allocated(config.model) - saved)


def activation_bytes(model: GPTConfig, head: Head = "plain") -> int:
    """Bytes of one token of a pass, as estimated for bf16 and a compiled model."""
    logits = _LOGIT * model.padded_vocab_size if head == "plain" else 0
    return _KEPT * model.n_layer * model.n_embd + logits


def tokens_that_fit(model: GPTConfig, memory_bytes: int, head: Head = "plain") -> int:
    """Tokens whose activations fit in half of what weights, gradients and AdamW's moments leave.

    The other half is for what is not compiled, for float32 and for the estimate's error.
    """
    held = 4 * 4 * params_allocated(model) + (_CHUNKS if head == "chunked" else 0)
    return max(0, (memory_bytes - held) // (2 * activation_bytes(model, head)))


def too_large(config: TrainConfig, head: Head, memory_bytes: int | None) -> str:
    """One line for a model of which not a single sequence fits, that says what would."""
    there = "" if memory_bytes is None else f" in {memory_bytes / 1e9:.1f} GB"
    remedy = "runtime.loss_head=chunked, " if head == "plain" else ""
    return (
        f"one sequence of {config.model.block_size} tokens does not fit{there} beside "
        f"{state_bytes(config) / 1e9:.1f} GB of weights, gradients and moments; try {remedy}"
        "a smaller model.block_size or model, or a device with more memory (more ranks do not help)"
    )


def head_that_fits(model: GPTConfig, rank_tokens: int, memory_bytes: int) -> Head:
    """The loss head for a GPU: chunked where the logits alone would make its passes too small.

    `rank_tokens` are a rank's share of a step. Not measured on a GPU.
    """
    plain = tokens_that_fit(model, memory_bytes)
    if plain >= min(rank_tokens, _FILLS_A_GPU):
        return "plain"
    return "chunked" if tokens_that_fit(model, memory_bytes, "chunked") > plain else "plain"


def small_pass_tokens(model: GPTConfig, kind: Kind) -> int:
    """Tokens of a pass that any machine of the kind holds, as are their logits.

    CPU: 16k tokens, 2^27 logits (0.5 GB in float32); GPU: 64k tokens, 2^28 logits (1 GB, held
    beside those in bf16 and their logarithms).
    """
    tokens, logits = (65_536, 2**28) if kind == "cuda" else (16_384, 2**27)
    return min(tokens, logits // model.padded_vocab_size)


def parts(rank_batch: int, most: int) -> int:
    """Sequences of a pass: `rank_batch` of them in parts of at most `most`.

    The parts are equal if that costs less than twice as many, since each new shape is compiled
    anew; else nearly equal.
    """
    fewest = -(-rank_batch // max(1, most))
    equal = (count for count in range(fewest, 2 * fewest) if rank_batch % count == 0)
    return -(-rank_batch // next(equal, fewest))


def run_bytes(config: TrainConfig, kind: Kind, memory_bytes: int | None, ranks: int = 1) -> int:
    """Estimated bytes of a rank at its fullest; activations may be off by a factor of two.

    With bf16 a copy of the weights is kept beside those in float32; in float32 activations are
    twice as large. On a CPU measured against this: 8 layers of 512, passes of 8192 tokens, 3.30 GB
    against 3.09; 4 layers of 256, 16384 tokens, 1.81 against 1.64. `memory_bytes` is that of the
    device, None where it is not known.
    """
    model, block = config.model, config.model.block_size
    sequences = max(1, config.schedule.batch_tokens // block // ranks)
    most, head = small_pass_tokens(model, kind), config.runtime.loss_head or "plain"
    if kind == "cuda" and memory_bytes is not None:
        head = config.runtime.loss_head or head_that_fits(model, sequences * block, memory_bytes)
        most = tokens_that_fit(model, memory_bytes, head)
    tokens = (config.runtime.micro_batch or parts(sequences, most // block)) * block
    width = 1 if config.precision == "bf16" else 2
    kept = tokens * activation_bytes(model, head) * width + (_CHUNKS if head == "chunked" else 0)
    copy = 2 * params_allocated(model) if config.precision == "bf16" else 0
    if kind == "cuda":
        return state_bytes(config) + copy + kept
    saved = state_bytes(config) - 4 * params_allocated(model)
    saving = saved if saved >= BACKGROUND_BYTES else 0  # the copy that a thread writes
    return _PROCESS + state_bytes(config) + copy + kept + saving
