"""What the machine is, how a run computes on it, and the memory that it took.

How it computes is decided once: by the first attempt, kept in runtime.json, used by the later.
What stands there must not change the science, but it changes the last bits.
"""

import platform
import re
import resource
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from common.errors import BadInput, require
from common.files import read_json, to_json, write_atomic
from configs.schema import build
from model.config import GPTConfig
from model.flops import flops_per_token_exact, params_total
from training.config import TrainConfig
from training.device.backends import KERNELS, choose_sdpa, compiler_trouble
from training.device.compilation import compiles_on
from training.device.memory import (
    Computation,
    Head,
    head_that_fits,
    micro_batch_by_rule,
    state_bytes,
    too_large,
    usable_bytes,
)
from training.device.process import thread_limit, usable_cores, usable_memory
from training.device.sdpa_choice import choose_once
from training.ranks.distributed import Ranks
from training.trial.attempt import Attempt, attempts
from training.trial.record import DamagedRecord, read_record

NAME = "runtime.json"
_is_limited = False  # whether a trial of this process had a share of a GPU
THREAD_FLOPS = 1e10  # of a micro-batch, for each thread: a tenth of a second of a core


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


def gpu_memory_bytes(device: torch.device, share: float) -> int | None:
    """What a process may fill of a GPU of which it has a share; None for a CPU, which no rule asks.

    `share` as runtime.memory_share.
    """
    if device.type != "cuda":
        return None
    return usable_bytes(torch.cuda.mem_get_info(device)[1], share)


def limit_memory(device: torch.device, share: float) -> None:
    """Have torch take no more of a GPU than a share of it: an error here, and not at a neighbour.

    A whole GPU has no limit, unless an earlier trial of this process had one.
    """
    global _is_limited
    if device.type != "cuda" or (share == 1 and not _is_limited):
        return
    whole = torch.cuda.mem_get_info(device)[1]
    fraction = usable_bytes(whole, share) / whole if share < 1 else 1.0
    torch.cuda.set_per_process_memory_fraction(fraction, device)
    _is_limited = share < 1


def choose_threads(config: GPTConfig, micro_batch: int, ranks: Ranks) -> int:
    """Threads of a rank: all the cores there are for it, but on a CPU no second for little work.

    Never more than OMP_NUM_THREADS says.

    Threads that meet after every operation wait for each other, and on a busy machine for other
    programs: there the two threads of a toy model took twenty times as long as one.
    """
    cores = max(1, usable_cores() // ranks.local_world_size)
    cores = min(cores, thread_limit() or cores)
    if ranks.device.type != "cpu":
        return cores
    pass_flops = flops_per_token_exact(config) * micro_batch * config.block_size
    return max(1, min(cores, int(pass_flops / THREAD_FLOPS)))


def crowding(config: TrainConfig, ranks: Ranks) -> str | None:
    """What to say of more threads than cores, which the config asks for; they take turns."""
    asked, cores = (config.runtime.threads or 0) * ranks.local_world_size, usable_cores()
    if asked <= cores:
        return None
    return f"runtime.threads {config.runtime.threads}: {asked} threads take turns on {cores} cores"


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

    @property
    def is_deterministic(self) -> bool:
        """Whether equal runs end in the same bits; as far as tests show, and no further.

        A GPU sums the gradients of attention and embeddings by atomic additions, in no fixed order;
        so does the compiler's code for several threads of a CPU (PyTorch issue 94855).
        """
        return self.device.startswith("CPU") and not (self.compile and self.threads > 1)

    def changes_since(self, earlier: dict[str, Any]) -> list[str]:
        """What is not as in the mapping of an earlier environment: `threads changed 1 -> 2`."""
        now = asdict(self)
        return [
            f"{name} changed {earlier.get(name)} -> {now[name]}"
            for name in now
            if earlier.get(name) != now[name]
        ]


def decide(
    config: TrainConfig,
    ranks: Ranks,
    earlier: Environment | None,
    note: Callable[[str], None] = lambda _: None,
) -> Environment:
    """What the config says; where it says null, what an attempt decided earlier, else the rules.

    What was decided for another device does not bind, nor the threads of another number of ranks:
    the last bits differ there anyway. `note` hears that nothing can be compiled though it would be;
    where the config asks for it that is BadInput. torch.OutOfMemoryError for a model that no GPU
    here holds.
    """
    runtime, model, device = config.runtime, config.model, device_name(ranks.device)
    rank_batch = rank_sequences(config, ranks)
    memory = gpu_memory_bytes(ranks.device, runtime.memory_share)
    if memory is not None and state_bytes(config) > memory:
        raise torch.OutOfMemoryError(too_large(config, "chunked", memory))
    known = earlier if earlier and earlier.device == device else None
    pays = ranks.kind == "cuda" and compiles_on(config, device, ranks.world_size)
    compiled = known.compile if known else pays
    compiled = compiled if runtime.compile is None else runtime.compile
    compiled = compiled and _can_compile(runtime.compile, ranks, note)
    how = Computation(config.precision, compiled, ranks.kind)
    if known:
        head, micro_batch = runtime.loss_head or known.head, known.micro_batch
    else:
        rank_tokens = rank_batch * model.block_size
        head = runtime.loss_head or head_that_fits(model, rank_tokens, memory, how)
        micro_batch = micro_batch_by_rule(model, rank_batch, ranks.kind, memory, head, how)
    micro_batch = min(rank_batch, runtime.micro_batch or micro_batch)
    if known and known.world_size == ranks.world_size:
        threads = known.threads
    else:
        threads = choose_threads(model, micro_batch, ranks)

    def attention() -> str:
        if not model.architecture.attends:
            return runtime.sdpa or "math"  # which nothing will ask for
        if known and known.sdpa in KERNELS and not runtime.sdpa:
            return known.sdpa

        def choose() -> str:
            return choose_sdpa(model, config.precision, ranks.device, micro_batch, runtime.sdpa)

        if runtime.sdpa:
            return choose()
        sizes = f"heads of {model.n_embd // model.n_head}, sequences of {model.block_size}"
        kind = f"{device}, torch {torch.__version__}, {config.precision}, {sizes}"
        return choose_once(kind, ranks.device.type, KERNELS, choose)

    return Environment(
        device=device,
        torch=torch.__version__,
        world_size=ranks.world_size,
        threads=runtime.threads or threads,
        compile=compiled,
        micro_batch=micro_batch,
        sdpa=ranks.broadcast_from_rank0(attention),  # for all: their devices may not be of one kind
        head=head,
    )


def _can_compile(asked: bool | None, ranks: Ranks, note: Callable[[str], None]) -> bool:
    """Whether every rank can compile; BadInput on all where that was asked for and one cannot."""
    trouble = compiler_trouble(ranks.device.type)
    if asked:
        expected = f"null or false: torch cannot compile here: {trouble}"
        ranks.on_all_ranks(lambda: require(trouble is None, "runtime.compile", "true", expected))
    (failures,) = ranks.sum(float(trouble is not None))
    if failures:
        note(f"not compiled, so slower: {trouble or 'another rank cannot compile'}")
    return not failures


def rank_sequences(config: TrainConfig, ranks: Ranks) -> int:
    """Sequences of a step that fall to each rank; BadInput if the batch cannot be divided."""
    return sequences_of_a_rank(config, ranks.world_size)


def sequences_of_a_rank(config: TrainConfig, ranks: int) -> int:
    """Sequences of a step for each of so many ranks; BadInput if they cannot divide the batch."""
    sequences = config.schedule.batch_tokens // config.model.block_size
    if sequences % ranks:
        raise BadInput(
            f"schedule.batch_tokens: found {sequences} sequences of {config.model.block_size} "
            f"tokens a step, expected a multiple of the {ranks} ranks"
        )
    return sequences // ranks


def require_room(config: TrainConfig, ranks: Ranks) -> None:
    """BadInput for a model whose state alone fills the machine: the kernel would kill the process.

    (A GPU says itself that it is full, and the run ends with that.)
    """
    needed, there = state_bytes(config), usable_memory() // ranks.local_world_size
    if ranks.device.type != "cuda" and needed > there:
        raise BadInput(
            f"model: found {params_total(config.model) / 1e6:,.0f}M parameters, of which weights, "
            f"gradients and moments take {needed / 1e9:.1f} GB, expected less than the "
            f"{there / 1e9:.1f} GB of memory of each rank: at most {there / 16e6:,.0f}M parameters"
        )


def write_environment(attempt: Attempt, environment: Environment) -> None:
    """Leave the decisions for later attempts."""
    write_atomic(attempt.folder / NAME, to_json(asdict(environment)))


def earlier_environment(attempt: Attempt, start: Path | None = None) -> Environment | None:
    """What the last attempt before this one decided, if any came so far.

    With half the micro-batch if it ended by lack of memory. A run that begins with a checkpoint of
    another (`start`) computes as that did.
    """
    for folder in reversed(attempts(attempt.trial)):
        if folder != attempt.folder and (folder / NAME).exists():
            found = build(Environment, read_json(folder / NAME), str(folder / NAME))
            try:
                record = read_record(folder)  # set aside there
            except DamagedRecord:
                record = None
            if record is None or record.status != "oom":
                return found
            return replace(found, micro_batch=max(1, found.micro_batch // 2))
    if start is not None and (path := start.parent.parent / NAME).exists():
        return build(Environment, read_json(path), str(path))
    return None
