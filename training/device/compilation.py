"""When compiling a trial's step pays, what it costs, and which trials share what was compiled.

By rule and never by a clock, so that equal trials on equal devices are computed alike. Torch-free.
"""

from training.config import TrainConfig
from training.device.data_sheets import peak_flops
from training.device.memory import Computation, Kind, head_that_fits, micro_batch_by_rule
from training.device.stated import StatedThroughput, stated_throughput

# How many times as long as a compiled step one takes that is not: 250 ms against 135 ms for GPT-2
# 124M on an A100 (nanoGPT's README). Not measured here.
NOT_COMPILED = 250 / 135
# Seconds on a GPU, estimates and not measured: until a new process has imported torch and opened
# its device, and until the graphs of a training step and of an evaluation are compiled.
START_S, COMPILE_S = 10.0, 35.0
# A trial is compiled if that saves more than it takes: 41 s of compiled steps and more.
PAYS_FROM_S = COMPILE_S / (NOT_COMPILED - 1)


def compiles(config: TrainConfig, throughput: StatedThroughput | None) -> bool:
    """Whether a trial is compiled on a GPU of so much throughput: as its config says, or by rule.

    On one whose throughput is not known it is; an architecture that torch does not compile never.
    """
    if not config.model.architecture.compiles:
        return False
    if config.runtime.compile is not None:
        return config.runtime.compile
    return throughput is None or throughput.alone_s(config) > PAYS_FROM_S


def compiles_on(config: TrainConfig, device: str, ranks: int) -> bool:
    """The same for a GPU by the name that its driver gives it."""
    return compiles(config, throughput_of(device, config.precision, ranks))


def throughput_of(
    device: str, precision: str, ranks: int, packed: int = 1
) -> StatedThroughput | None:
    """Throughput of a trial by its GPU's data sheet; None where there is none of that name."""
    if peak_flops(device, precision) is None:
        return None
    return stated_throughput(device, None, precision, ranks, packed)


def graph_key(config: TrainConfig, kind: Kind, memory_bytes: int | None, ranks: int) -> str:
    """What a compiled step depends on: not the batch, but the parts in which it is computed.

    `memory_bytes` of its device are the process's.
    """
    model, runtime = config.model, config.runtime
    sequences = max(1, config.schedule.batch_tokens // model.block_size // ranks)
    known = memory_bytes if kind == "cuda" else None
    how = Computation(config.precision, kind == "cuda", kind)
    head = runtime.loss_head or head_that_fits(model, sequences * model.block_size, known, how)
    by_rule = micro_batch_by_rule(model, sequences, kind, known, head, how)
    part = min(sequences, runtime.micro_batch or by_rule)
    last = sequences % part or part
    sizes = (model.n_layer, model.n_head, model.n_embd, model.block_size, model.vocab_size)
    return f"{sizes} {model.variant} {config.precision} {head} {part} {last}"
