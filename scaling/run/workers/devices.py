"""The GPUs or cores that a worker may use here, and the trial processes that share them.

With GPUs a process (or one a rank) serves trial after trial; on CPUs a child is forked for each
trial, one thread a trial, as many as cores.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from common.errors import BadInput, require
from scaling.run.config import LauncherConfig, require_no_idle
from scaling.run.trial_states import TrialState
from scaling.run.workers import mps, run_trial
from scaling.run.workers.gpus import Gpu, gpu_models, hidden_gpu, visible_gpus
from scaling.run.workers.packing import Packing
from scaling.run.workers.processes import ForkedProcess, ServingProcesses, TrialProcess
from training.config import RuntimeConfig, TrainConfig
from training.device.compilation import compiles_on, graph_key
from training.device.data_sheets import peak_flops
from training.device.memory import Kind, usable_bytes
from training.device.process import usable_cores, usable_memory
from training.device.sdpa_choice import CHOICES

MOST_TRIALS_A_CORE = 4  # beyond, a mistyped number would only exhaust the machine
SERVER = (sys.executable, "-m", "scaling.run.workers.run_trial")


@dataclass(frozen=True)
class Machine:
    """What one worker uses here: `gpus`, else `cores`.

    runtime  that of every trial on this machine, its device and threads decided
    """

    gpus: tuple[Gpu, ...]
    cores: int
    runtime: RuntimeConfig
    launcher: LauncherConfig
    forks: bool

    @property
    def n_parallel(self) -> int:
        """Trials at once, as a plan counts them."""
        ranks, packed = self.launcher.devices_per_trial, self.launcher.packed
        if self.gpus:
            return len(self.gpus) // ranks * packed
        return max(1, self.cores * packed // (ranks * (self.runtime.threads or 1)))

    @property
    def memory_bytes(self) -> int | None:
        """Memory of the smallest GPU in use, or of the machine; None where that is not known."""
        if self.gpus:
            return min((gpu.memory_bytes for gpu in self.gpus if gpu.memory_bytes), default=None)
        return usable_memory()

    @cached_property
    def gpu_name(self) -> str | None:
        """What its GPUs' driver calls them, the slowest of several kinds; None without GPUs."""
        if any(gpu.is_slice for gpu in self.gpus):
            return None  # whose share of the card no data sheet tells
        names = gpu_models() if self.gpus else ()
        return min(names, key=lambda name: peak_flops(name, "bf16") or 0.0, default=None)

    def shape_of(self) -> Callable[[TrainConfig], str]:
        """Gives what a trial shares with those that one process may train after it.

        On GPUs the graph that is compiled for them, or that none is. On a CPU nothing is compiled,
        but a process tells its memory only once: at its largest.
        """
        kind: Kind = "cuda" if self.gpus else "cpu"
        ranks, name, whole = self.launcher.devices_per_trial, self.gpu_name, self.memory_bytes
        share = self.runtime.memory_share / self.launcher.packed
        memory = usable_bytes(whole, share) if self.gpus and whole else None

        def shape(config: TrainConfig) -> str:
            config = replace(config, runtime=self.runtime)
            if name and not compiles_on(config, name, ranks):
                return "not compiled"
            return graph_key(config, kind, memory, ranks)

        return shape

    @contextmanager
    def processes(
        self, cache: Path, as_planned: bool = False
    ) -> Iterator[tuple[list[TrialProcess], Packing | None]]:
        """Idle trial processes, which keep in `cache` what torch compiles, and choices of kernels.

        And how trials share a GPU, None where they do not. Under MPS, where it can be had, for the
        block; without it they take turns, or have a GPU one at a time where their number goes by
        their size or the GPU takes one process. `as_planned`: as many as the plan counts on.
        """
        by_size = self.launcher.trials_per_device == "auto"
        packed = self.launcher.packed if as_planned else self.launcher.most_packed
        if self.forks:
            run_trial.warm_up()
            yield [ForkedProcess(run_trial.run_task) for _ in range(self.n_parallel)], None
        elif not self.gpus or packed == 1:
            yield self._serving(cache, self.n_parallel, self._names()), None
        else:
            with mps.shared(self.gpus) as sharing:
                alone = by_size or any(gpu.exclusive for gpu in self.gpus)
                if sharing.is_mps:
                    print(f"MPS: {packed} trials at most share a GPU, by {sharing.by}", flush=True)
                else:
                    how = "it is given one trial at a time" if alone else "its trials take turns"
                    print(f"warning: no MPS on a GPU ({sharing.by}): {how}", flush=True)
                    packed = 1 if alone else packed
                names = [gpu.uuid for gpu in self.gpus] if sharing.is_mps else self._names()
                processes = self._serving(cache, packed * len(names), names, sharing.environment)
                packing = Packing(packed, by_size, sharing.is_mps) if packed > 1 else None
                yield processes, packing

    def _names(self) -> list[str]:
        return [gpu.name for gpu in self.gpus]

    def _serving(
        self, cache: Path, count: int, names: Sequence[str], more: Mapping[str, str] | None = None
    ) -> list[TrialProcess]:
        """So many processes, on the GPUs in turn: each has one before any has two."""
        ranks = self.launcher.devices_per_trial
        environment = {
            "TORCHINDUCTOR_CACHE_DIR": str(cache.absolute()),
            "TORCHINDUCTOR_COMPILE_THREADS": str(max(1, usable_cores() // count)),
            CHOICES: str(cache.absolute() / "attention"),
            **(more or {}),
        }
        places = [",".join(names[n : n + ranks]) for n in range(0, len(names), ranks)]
        processes: list[TrialProcess] = []
        for index in range(count):
            place = places[index % len(places)] if places else ""
            own = environment | ({"CUDA_VISIBLE_DEVICES": place} if place else {})
            processes.append(ServingProcesses(SERVER, ranks, own, place))
        return processes


def this_machine(
    runtime: RuntimeConfig,
    launcher: LauncherConfig,
    processes: Literal["auto", "serving"] = "auto",
) -> Machine:
    """The devices that `launcher` may use here; "serving" has serving processes on a CPU too."""
    if runtime.device == "mps":
        raise BadInput(
            "runtime.device: found mps, expected auto, cpu or cuda: train.py alone has it"
        )
    gpus = visible_gpus() if runtime.device != "cpu" else ()
    unseen = None if gpus or runtime.device == "cpu" else hidden_gpu()
    if runtime.device == "cuda" and not gpus:
        reason = unseen or "nvidia-smi lists none"
        raise BadInput(f"runtime.device: found no GPU ({reason}), expected cuda")
    if unseen:
        print(f"warning: {unseen}: trials run on the CPU", flush=True)
    present, ranks = len(gpus) or usable_cores(), launcher.devices_per_trial
    count, packed = launcher.devices or present, launcher.packed
    if gpus:
        most, whole = launcher.most_packed, ranks == 1 or not any(gpu.is_slice for gpu in gpus)
        least = f"at most {mps.MOST_CLIENTS} on a GPU"
        require(most <= mps.MOST_CLIENTS, "launcher.trials_per_device", most, least)
        require(whole, "launcher.devices_per_trial", ranks, "1: slices of a GPU (MIG) do not join")
        require(count <= present, "launcher.devices", count, f"at most {present} GPUs")
        require(ranks <= present, "launcher.devices_per_trial", ranks, f"at most {present} GPUs")
    if gpus:
        require_no_idle("launcher.devices", count, ranks)
    require(
        bool(gpus) or count * packed <= MOST_TRIALS_A_CORE * present,
        "launcher.devices",
        f"{count} x {packed} trials at once on {present} cores",
        f"at most {MOST_TRIALS_A_CORE} a core",
    )
    # On GPUs the cores are divided; on a CPU a thread more a trial is worth less than a trial more.
    threads = max(1, usable_cores() // (count * launcher.most_packed)) if gpus else 1
    cores, asked = usable_cores(), (runtime.threads or 0) * ranks
    require(
        asked <= MOST_TRIALS_A_CORE * cores,
        "runtime.threads",
        f"{runtime.threads} a rank, {asked} a trial, on {cores} cores",
        f"at most {MOST_TRIALS_A_CORE} a core",
    )
    device = "cuda" if gpus else "cpu"
    runtime = replace(runtime, device=device, threads=runtime.threads or threads)
    alone = not gpus and ranks == 1
    forks = processes == "auto" and alone and sys.platform == "linux"
    return Machine(gpus[:count], 0 if gpus else count, runtime, launcher, forks)


def require_divisible(states: Sequence[TrialState], launcher: LauncherConfig) -> None:
    """BadInput where the ranks of a trial could not share out the batch of one that is missing."""
    ranks = launcher.devices_per_trial
    missing = [state.trial.config for state in states if state.record is None]
    batches = [c.schedule.batch_tokens // c.model.block_size for c in missing]
    odd = [sequences for sequences in batches if sequences % ranks]
    serves = next(n for n in range(ranks, 0, -1) if not any(batch % n for batch in batches))
    require(
        not odd,
        "launcher.devices_per_trial",
        ranks,
        f"what divides the batch of every trial, as {serves}; {len(odd)} of {len(missing)} that "
        f"are missing have batches that are no multiple of {ranks} sequences, as {min(odd or [0])}",
    )
