"""What the machine is, how a run computes on it, and the memory that it took.

How it computes is decided once: by the first attempt, kept in runtime.json, used by the later.
What stands there must not change the science, but it changes the last bits.
"""

import platform
import re
import resource
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from configs.errors import BadInput
from configs.files import read_json, to_json, write_atomic
from model.config import GPTConfig
from model.flops import flops_per_token_exact, params_total
from training.attempt import Attempt, attempts
from training.config import TrainConfig
from training.distributed import Ranks
from training.kernels import KERNELS, choose_sdpa
from training.memory import (
    Head,
    head_that_fits,
    parts,
    small_pass_tokens,
    state_bytes,
    tokens_that_fit,
    too_large,
)
from training.process import usable_cores, usable_memory
from training.record import read_record

NAME = "runtime.json"
THREAD_FLOPS = 1e10  # of a pass, for each thread: a tenth of a second of a core


def device_name(device: torch.device) -> str:
    """The maker's name of a GPU, or of the CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    except OSError:
        model = None
    return f"CPU {model[1].strip()}" if model else f"CPU {platform.processor()}".strip()


def peak_memory(device: torch.device) -> int:
    """The most bytes this process held: on the GPU for a GPU, else resident in memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def loss_head(config: GPTConfig, rank_batch: int, device: torch.device) -> Head:
    """The loss head by rule: a CPU has its own way of saving memory (model/loss.py)."""
    if device.type != "cuda":
        return "plain"
    memory = torch.cuda.mem_get_info(device)[1]
    return head_that_fits(config, rank_batch * config.block_size, memory)


def micro_batch_sequences(
    config: GPTConfig, rank_batch: int, device: torch.device, head: Head = "plain"
) -> int:
    """Sequences per forward pass, by rule and never by a clock, so that a repeat does the same.

    A CPU takes little at a time, a GPU what is estimated to fit (training/memory.py) and then
    tried (training/room.py).
    """
    if device.type == "cuda":
        limit_tokens = tokens_that_fit(config, torch.cuda.mem_get_info(device)[1], head)
    else:
        limit_tokens = small_pass_tokens(config, "cpu")
    return parts(rank_batch, limit_tokens // config.block_size)


def threads_that_pay(config: GPTConfig, micro_batch: int, ranks: Ranks) -> int:
    """Threads of a rank: all the cores there are for it, but on a CPU none for little work.

    Threads that meet after every operation wait for each other, and on a busy machine for other
    programs: there the two threads of a toy model took twenty times as long as one.
    """
    cores = max(1, usable_cores() // ranks.local_world_size)
    if ranks.device.type != "cpu":
        return cores
    pass_flops = flops_per_token_exact(config) * micro_batch * config.block_size
    return max(1, min(cores, int(pass_flops / THREAD_FLOPS)))


@dataclass(frozen=True)
class Environment:
    """Where and how a run computes; `micro_batch` in sequences, `threads` per rank.

    `sdpa` names the attention kernel (auto: torch's own choice, before it was made here), `head`
    the loss head.
    """

    device: str
    torch: str
    world_size: int
    threads: int
    compile: bool
    micro_batch: int
    sdpa: str
    head: Head = "plain"

    def differences(self, other: dict[str, Any]) -> list[str]:
        """What is not as it was in `other`, the mapping of an earlier environment."""
        now = asdict(self)
        return [f"{k}: {other.get(k)!r}, now {now[k]!r}" for k in now if other.get(k) != now[k]]


def decide(config: TrainConfig, ranks: Ranks, earlier: Environment | None) -> Environment:
    """What the config says; where it says null, what an attempt decided earlier, else the rules.

    What was decided for another device does not bind, nor the threads of another number of ranks:
    the last bits differ there anyway. torch.OutOfMemoryError for a model that no GPU here holds.
    """
    runtime, device = config.runtime, device_name(ranks.device)
    rank_batch = rank_sequences(config, ranks)
    if ranks.device.type == "cuda":
        memory = torch.cuda.mem_get_info(ranks.device)[1]
        if state_bytes(config) > memory:
            raise torch.OutOfMemoryError(too_large(config, "chunked", memory))
    if earlier is None or earlier.device != device:
        compiled = ranks.device.type == "cuda"
        head = runtime.loss_head or loss_head(config.model, rank_batch, ranks.device)
        micro_batch = micro_batch_sequences(config.model, rank_batch, ranks.device, head)
    else:
        compiled, micro_batch = earlier.compile, earlier.micro_batch
        head = runtime.loss_head or earlier.head
    micro_batch = min(rank_batch, runtime.micro_batch or micro_batch)
    if earlier and earlier.device == device and earlier.world_size == ranks.world_size:
        threads = earlier.threads
    else:
        threads = threads_that_pay(config.model, micro_batch, ranks)

    def attention() -> str:
        if earlier and earlier.device == device and earlier.sdpa in KERNELS and not runtime.sdpa:
            return earlier.sdpa
        return choose_sdpa(config.model, config.precision, ranks.device, micro_batch, runtime.sdpa)

    return Environment(
        device=device,
        torch=torch.__version__,
        world_size=ranks.world_size,
        threads=runtime.threads or threads,
        compile=compiled if runtime.compile is None else runtime.compile,
        micro_batch=micro_batch,
        sdpa=ranks.from_main(attention),  # for all: their devices may not be of one kind
        head=head,
    )


def rank_sequences(config: TrainConfig, ranks: Ranks) -> int:
    """Sequences of a step that fall to each rank; BadInput if the batch cannot be divided."""
    sequences = config.schedule.batch_tokens // config.model.block_size
    if sequences % ranks.world_size:
        raise BadInput(
            f"schedule.batch_tokens: found {sequences} sequences of {config.model.block_size} "
            f"tokens a step, expected a multiple of the {ranks.world_size} ranks"
        )
    return sequences // ranks.world_size


def require_room(config: TrainConfig, ranks: Ranks) -> None:
    """BadInput for a model whose state alone fills the machine: the kernel would kill the process.

    (A GPU says itself that it is full, and the run ends with that.)
    """
    needed, there = state_bytes(config), usable_memory() // ranks.local_world_size
    if ranks.device.type == "cpu" and needed > there:
        raise BadInput(
            f"model: found {params_total(config.model) / 1e6:,.0f}M parameters, of which weights, "
            f"gradients and moments take {needed / 1e9:.1f} GB, expected less than the "
            f"{there / 1e9:.1f} GB of memory of each rank: at most {there / 16e6:,.0f}M parameters"
        )


def write_environment(attempt: Attempt, environment: Environment) -> None:
    """Leave the decisions for later attempts."""
    write_atomic(attempt.folder / NAME, to_json(asdict(environment)))


def earlier_environment(attempt: Attempt) -> Environment | None:
    """What the last attempt before this one decided, if any came so far.

    With half the sequences a pass if it ended by lack of memory.
    """
    for folder in reversed(attempts(attempt.trial)):
        if folder != attempt.folder and (folder / NAME).exists():
            from configs.load import build  # here: benchmarks read none and do without Hydra

            found = build(Environment, read_json(folder / NAME), str(folder / NAME))
            record = read_record(folder)  # set aside there
            if record is None or record.status != "oom":
                return found
            return replace(found, micro_batch=max(1, found.micro_batch // 2))
    return None
