"""What a worker may use here: GPUs or cores, and the slots into which they are divided.

With GPUs a slot is a process (or one a rank) that serves them; on CPUs a child forked for each
trial, one thread a trial, as many as cores.
"""

import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from configs.errors import BadInput
from scaling.run import execution
from scaling.run.config import LauncherConfig
from scaling.run.slots import ForkedSlot, ServedSlot, Slot
from training.config import RuntimeConfig
from training.process import usable_cores, usable_memory

MOST_TRIALS_A_CORE = 4  # beyond, a mistyped number would only exhaust the machine
SERVER = (sys.executable, "-m", "scaling.run.execution")


@dataclass(frozen=True)
class Machine:
    """What one worker uses here: `gpus` by the names CUDA_VISIBLE_DEVICES takes, else `cores`.

    runtime  that of every trial on this machine, its device and threads decided
    """

    gpus: tuple[str, ...]
    cores: int
    runtime: RuntimeConfig
    launcher: LauncherConfig
    forks: bool

    @property
    def n_slots(self) -> int:
        """Trials at once."""
        ranks, packed = self.launcher.devices_per_trial, self.launcher.trials_per_device
        if self.gpus:
            return len(self.gpus) // ranks * packed
        return max(1, self.cores * packed // (ranks * (self.runtime.threads or 1)))

    @property
    def memory_bytes(self) -> int | None:
        """Memory of its smallest GPU, or of the machine; None where that cannot be found."""
        if self.gpus:
            sizes = [int(mib) for mib in _nvidia_smi("memory.total") if mib.isdigit()]
            return 2**20 * min(sizes, default=0) or None
        return usable_memory()

    def slots(self, cache: Path) -> list[Slot]:
        """Free slots; what torch compiles is shared among them, and kept, in `cache`."""
        if self.forks:
            execution.warm_up()
            return [ForkedSlot(execution.run_task) for _ in range(self.n_slots)]
        ranks = self.launcher.devices_per_trial
        environment = {
            "TORCHINDUCTOR_CACHE_DIR": str(cache.absolute()),
            "TORCHINDUCTOR_COMPILE_THREADS": str(max(1, usable_cores() // self.n_slots)),
        }
        slots: list[Slot] = []
        for index in range(self.n_slots):
            first = index // self.launcher.trials_per_device * ranks
            visible = ",".join(self.gpus[first : first + ranks])
            own = environment | ({"CUDA_VISIBLE_DEVICES": visible} if self.gpus else {})
            slots.append(ServedSlot(SERVER, ranks, own))
        return slots


def this_machine(
    runtime: RuntimeConfig,
    launcher: LauncherConfig,
    slots: Literal["auto", "served"] = "auto",
) -> Machine:
    """What `launcher` may use here; `slots=served` has served slots on a CPU too."""
    gpus = visible_gpus() if runtime.device != "cpu" else ()
    if runtime.device == "cuda" and not gpus:
        raise BadInput("runtime.device: found no GPU (nvidia-smi lists none), expected cuda")
    wanted, present = launcher.devices, len(gpus) or usable_cores()
    if wanted is not None and gpus and wanted > present:
        raise BadInput(f"launcher.devices: found {wanted}, expected at most {present} GPUs")
    if gpus and launcher.devices_per_trial > present:
        raise BadInput(
            f"launcher.devices_per_trial: found {launcher.devices_per_trial}, expected at most "
            f"{present} GPUs"
        )
    count = wanted or present
    if count % launcher.devices_per_trial and (gpus or wanted):
        raise BadInput(
            f"launcher.devices: found {count}, expected a multiple of launcher.devices_per_trial "
            f"{launcher.devices_per_trial}, so that none is idle; say launcher.devices="
            f"{count // launcher.devices_per_trial * launcher.devices_per_trial}"
        )
    if not gpus and count * launcher.trials_per_device > MOST_TRIALS_A_CORE * present:
        raise BadInput(
            f"launcher.devices: found {count} x {launcher.trials_per_device} trials at once on "
            f"{present} cores, expected at most {MOST_TRIALS_A_CORE} a core"
        )
    # On GPUs the cores are divided; on a CPU a thread more a trial is worth less than a trial more.
    threads = max(1, usable_cores() // (count * launcher.trials_per_device)) if gpus else 1
    device = "cuda" if gpus else "cpu"
    runtime = replace(runtime, device=device, threads=runtime.threads or threads)
    alone = not gpus and launcher.devices_per_trial == 1
    forks = slots == "auto" and alone and sys.platform == "linux"
    return Machine(gpus[:count], 0 if gpus else count, runtime, launcher, forks)


def visible_gpus() -> tuple[str, ...]:
    """The GPUs this process may use, found without waking CUDA."""
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    listing = _nvidia_smi("index")
    if allowed is None or not listing:
        return tuple(listing)
    return tuple(name.strip() for name in allowed.split(",") if name.strip() not in ("", "-1"))


def _nvidia_smi(fields: str) -> list[str]:
    """A line for each GPU of the machine; none where nvidia-smi does not answer."""
    try:
        return subprocess.run(
            ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return []
