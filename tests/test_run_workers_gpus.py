"""Which GPUs a worker may use, and their memory; a script plays nvidia-smi."""

import os

import pytest

from scaling.run.workers import gpus
from scaling.run.workers.gpus import hidden_gpu, visible_gpus
from tests.support.pretended_gpus import place_nvidia_smi

LARGE, SMALL, DIVIDED = "GPU-1a7e", "GPU-5e11", "GPU-d17d"
CARDS = [
    f"0, {LARGE}, 81920, Default, Disabled",
    f"1, {SMALL}, 24576, Exclusive_Process, [N/A]",
    f"2, {DIVIDED}, 40960, Default, Enabled",
]
LISTING = f"""\
GPU 0: NVIDIA H100 80GB HBM3 (UUID: {LARGE})
GPU 1: NVIDIA A10 (UUID: {SMALL})
GPU 2: NVIDIA A100-SXM4-40GB (UUID: {DIVIDED})
  MIG 3g.20gb     Device  0: (UUID: MIG-aaaa)
  MIG 1c.2g.10gb  Device  1: (UUID: MIG-bbbb)"""


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    place_nvidia_smi(tmp_path, CARDS, LISTING)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return tmp_path


def seen(monkeypatch, allowed=None):
    if allowed is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", allowed)
    return [(gpu.name, gpu.memory_bytes) for gpu in visible_gpus()]


def test_visible_gpus_are_all_with_slices_for_what_is_divided(monkeypatch):
    slices = [("MIG-aaaa", 20 * 10**9), ("MIG-bbbb", 10 * 10**9)]
    assert seen(monkeypatch) == [("0", 80 * 2**30), ("1", 24 * 2**30), *slices]
    assert [gpu.exclusive for gpu in visible_gpus()] == [False, True, False, False]
    assert [gpu.is_slice for gpu in visible_gpus()] == [False, False, True, True]


@pytest.mark.parametrize(
    ("allowed", "names", "least_gib"),
    [
        ("0", ["0"], 80),
        ("1,0", ["1", "0"], 24),
        (LARGE, [LARGE], 80),
        ("GPU-5", ["GPU-5"], 24),
        ("MIG-bbbb", ["MIG-bbbb"], 10e9 / 2**30),
        ("2", ["MIG-aaaa", "MIG-bbbb"], 10e9 / 2**30),
        ("0,7,1", ["0"], 80),  # as CUDA, nothing after a name that is none
        ("-1", [], None),
        ("", [], None),
        ("NoDevFiles", [], None),
    ],
)
def test_visible_gpus_by_index_and_uuid_have_their_own_memory(
    monkeypatch, allowed, names, least_gib
):
    """Of those allowed alone: a larger or smaller one beside them says nothing."""
    found = seen(monkeypatch, allowed)
    assert [name for name, _ in found] == names
    assert min((memory / 2**30 for _, memory in found), default=None) == least_gib


def test_visible_gpus_of_old_slice_names(machine, monkeypatch):
    """Drivers before R470 name a slice by its GPU."""
    old = LISTING.replace("MIG-aaaa", f"MIG-{DIVIDED}/1/0")
    place_nvidia_smi(machine, CARDS, old)
    assert seen(monkeypatch, f"MIG-{DIVIDED}/1/0") == [(f"MIG-{DIVIDED}/1/0", 20 * 10**9)]


def test_visible_gpus_of_unknown_memory(machine, monkeypatch):
    """One that shares the processor's memory tells none; a tool that fails lists none."""
    place_nvidia_smi(machine, ["0, GPU-6b10, [N/A], Default, [N/A]", "No devices were found"])
    assert seen(monkeypatch) == [("0", None)]
    (machine / "nvidia-smi").write_text("#!/bin/sh\necho 0, GPU-1, 5, Default, Disabled\nexit 9\n")
    assert seen(monkeypatch) == []


def test_hidden_gpu_is_one_whose_driver_is_there_without_its_tool(machine, monkeypatch):
    monkeypatch.setattr(gpus, "_DRIVER", machine / "nvidiactl")
    (machine / "nvidia-smi").unlink()
    assert hidden_gpu() is None  # a machine without one
    (machine / "nvidiactl").touch()
    assert "nvidia-smi" in hidden_gpu()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert hidden_gpu() is None  # hidden on purpose
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    place_nvidia_smi(machine, CARDS, LISTING)
    assert hidden_gpu() is None
