"""The GPUs that this process may use, as nvidia-smi lists them, found without waking CUDA."""

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

_FIELDS = "index,uuid,memory.total,compute_mode,mig.mode.current"
_CARD = re.compile(r"GPU (\d+): ")
_SLICE = re.compile(r"\s+MIG (\S+)\s+Device\s+\d+: \(UUID: (MIG-[^)]+)\)")
_DRIVER = Path("/dev/nvidiactl")  # there where a driver of NVIDIA's is loaded
_PATIENCE_S = 60.0


@dataclass(frozen=True)
class Gpu:
    """A GPU, or a slice of one (MIG), which is a device with memory of its own.

    name          as CUDA_VISIBLE_DEVICES takes it: what stands there, else its index
    uuid          which names it in whatever order they are counted
    memory_bytes  None where nvidia-smi does not say; a slice's is that of its name, as 1g.10gb
    exclusive     its compute mode lets one process use it, or MPS
    """

    name: str
    uuid: str
    memory_bytes: int | None
    exclusive: bool = False

    @property
    def is_slice(self) -> bool:
        """Whether it is a part of a GPU that MIG divides."""
        return self.uuid.startswith("MIG-")


@dataclass(frozen=True)
class _Card:
    """A whole GPU; one that MIG divides can be used by its slices alone."""

    gpu: Gpu
    is_divided: bool
    slices: tuple[Gpu, ...] = ()

    @property
    def usable(self) -> tuple[Gpu, ...]:
        return self.slices if self.is_divided else (self.gpu,)


def visible_gpus() -> tuple[Gpu, ...]:
    """The GPUs this process may use, in the order of CUDA_VISIBLE_DEVICES.

    That names them by index or by UUID, of which its beginning is enough; as CUDA does, nothing
    after a name that fits none is heeded. A GPU that MIG divides stands for all its slices.
    """
    cards = _cards()
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is None:
        return tuple(gpu for card in cards for gpu in card.usable)
    found: list[Gpu] = []
    for name in map(str.strip, allowed.split(",")):
        named = list(_named(name, cards)) if name else []
        if not named:
            break
        found += [gpu for gpu in named if gpu.uuid not in {other.uuid for other in found}]
    return tuple(found)


def gpu_models() -> tuple[str, ...]:
    """What the driver calls each GPU of the machine, as NVIDIA H200; none where it does not say."""
    return tuple(_nvidia_smi("--query-gpu=name", "--format=csv,noheader"))


def hidden_gpu() -> str | None:
    """Why a machine with a driver of NVIDIA's shows no GPU; None where it has none, or is told."""
    if not _DRIVER.exists() or "CUDA_VISIBLE_DEVICES" in os.environ or _cards():
        return None
    return f"{_DRIVER} is there, but nvidia-smi, which lists the GPUs, is not on PATH or fails"


def _named(name: str, cards: Sequence[_Card]) -> Iterator[Gpu]:
    for card in cards:
        if name == card.gpu.name or (name.startswith("GPU-") and card.gpu.uuid.startswith(name)):
            whole = replace(card.gpu, name=name)
            yield from card.slices if card.is_divided else (whole,)
        elif name.startswith("MIG-"):
            yield from (part for part in card.slices if part.uuid.startswith(name))


def _cards() -> list[_Card]:
    """Every GPU of the machine; none where nvidia-smi does not answer."""
    cards = []
    for line in _nvidia_smi(f"--query-gpu={_FIELDS}", "--format=csv,noheader,nounits"):
        values = [value.strip() for value in line.split(",")]
        if len(values) == len(_FIELDS.split(",")):
            index, uuid, mib, mode, mig = values
            memory = 2**20 * int(mib) if mib.isdecimal() and int(mib) else None
            gpu = Gpu(index, uuid, memory, mode.startswith("Exclusive"))
            cards.append(_Card(gpu, mig == "Enabled"))
    if not any(card.is_divided for card in cards):
        return cards
    slices = _slices()
    return [replace(card, slices=tuple(slices.get(card.gpu.name, ()))) for card in cards]


def _slices() -> dict[str, list[Gpu]]:
    """The slices of each GPU, by its index."""
    found: dict[str, list[Gpu]] = {}
    index = ""
    for line in _nvidia_smi("-L"):
        if card := _CARD.match(line):
            index = card[1]
        elif part := _SLICE.match(line):
            size = re.search(r"\.(\d+)gb", part[1])
            memory = 10**9 * int(size[1]) if size else None
            found.setdefault(index, []).append(Gpu(part[2], part[2], memory))
    return found


def _nvidia_smi(*options: str) -> list[str]:
    try:
        return subprocess.run(
            ["nvidia-smi", *options],
            capture_output=True,
            text=True,
            errors="replace",
            check=True,
            timeout=_PATIENCE_S,
        ).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return []
