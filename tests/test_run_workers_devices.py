"""How a machine is divided among trials; a script of the test's own plays nvidia-smi."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from common.errors import BadInput
from scaling.run.workers import devices, gpus, mps
from scaling.run.workers.devices import this_machine
from tests.support.pretended_gpus import place_mps, place_nvidia_smi
from tests.support.tiny_sweep import LAUNCHER
from tests.support.tiny_training import tiny_config
from training.device.sdpa_choice import CHOICES


@pytest.fixture
def runtime(tmp_path):
    return replace(tiny_config(tmp_path).runtime, device="auto", threads=None)


@pytest.fixture
def four_gpus(tmp_path, monkeypatch):
    tools = tmp_path / "bin"
    place_nvidia_smi(tools, [card(index) for index in range(4)])
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setattr(mps, "DEFAULT", tmp_path / "nobody")
    monkeypatch.delenv("CUDA_MPS_PIPE_DIRECTORY", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(devices, "usable_cores", lambda: 16)
    return tools


def card(index: int, mode: str = "Default", mig: str = "Disabled") -> str:
    return f"{index}, GPU-{index}, {1024 * (index + 1)}, {mode}, {mig}"


def visible_devices(found, **options) -> list[str]:
    with found.processes(Path("cache"), **options) as (slots, packing):
        assert packing is None or len(slots) == packing.most * len(found.gpus)
        places = [slot._environment["CUDA_VISIBLE_DEVICES"] for slot in slots]
        assert places == [slot.place for slot in slots]
        return places


def test_this_machine_gives_core_and_thread_per_trial(runtime, monkeypatch):
    """A core a trial and a thread a trial."""
    monkeypatch.setattr(devices, "visible_gpus", lambda: ())
    monkeypatch.setattr(devices, "usable_cores", lambda: 6)
    found = this_machine(runtime, replace(LAUNCHER, devices=None))
    assert (found.n_parallel, found.runtime.threads, found.runtime.device) == (6, 1, "cpu")
    assert found.forks == (sys.platform == "linux")
    two_threads = this_machine(replace(runtime, threads=2), replace(LAUNCHER, devices=None))
    assert two_threads.n_parallel == 3
    two_ranks = this_machine(runtime, replace(LAUNCHER, devices=None, devices_per_trial=2))
    assert two_ranks.n_parallel == 3 and not two_ranks.forks


@pytest.mark.parametrize(
    ("changes", "expected", "threads"),
    [
        ({}, ["0", "1", "2", "3"], 4),
        ({"devices": 2}, ["0", "1"], 8),
        ({"devices_per_trial": 2}, ["0,1", "2,3"], 4),
        ({"devices_per_trial": 3, "devices": 3}, ["0,1,2"], 5),
        ({"trials_per_device": 2, "devices": 2}, ["0", "1", "0", "1"], 4),
    ],
)
def test_machine_divides_gpus_among_processes(four_gpus, runtime, changes, expected, threads):
    """GPUs are divided among processes."""
    found = this_machine(runtime, replace(LAUNCHER, **{"devices": None} | changes))
    assert visible_devices(found) == expected
    assert found.runtime.device == "cuda" and found.runtime.threads == threads


def test_machine_gives_processes_of_a_sweep_one_folder_of_kernel_choices(four_gpus, runtime):
    """All of its trials find there by which kernel others of their kind run."""
    found = this_machine(runtime, replace(LAUNCHER, devices=None))
    with found.processes(Path("out/cache")) as (slots, _):
        folders = {slot._environment[CHOICES] for slot in slots}
    assert folders == {str(Path.cwd() / "out/cache/attention")}


def test_this_machine_refuses_idle_gpu(four_gpus, runtime):
    """A gpu that would be idle is said."""
    with pytest.raises(BadInput, match="^launcher.devices: found 4, .* say launcher.devices=3$"):
        this_machine(runtime, replace(LAUNCHER, devices=None, devices_per_trial=3))


def test_visible_gpus_are_allowed_ones(four_gpus, runtime, monkeypatch):
    """Only allowed gpus are used, and their memory alone counts."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,GPU-3")
    found = this_machine(runtime, replace(LAUNCHER, devices=None))
    assert visible_devices(found) == ["2", "GPU-3"] and found.memory_bytes == 3 * 2**30
    assert this_machine(runtime, replace(LAUNCHER, devices=1)).memory_bytes == 3 * 2**30
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert this_machine(runtime, LAUNCHER).gpus == ()


@pytest.mark.parametrize("changes", [{"devices": 5}, {"devices_per_trial": 5, "devices": None}])
def test_this_machine_refuses_more_gpus_than_present(four_gpus, runtime, changes):
    """More gpus than there are is refused."""
    with pytest.raises(BadInput, match="found 5, expected at most 4 GPUs"):
        this_machine(runtime, replace(LAUNCHER, **changes))


def test_this_machine_refuses_too_many_trials_per_core(runtime, monkeypatch):
    """More trials at once than a machine bears are refused."""
    monkeypatch.setattr(devices, "visible_gpus", lambda: ())
    with pytest.raises(BadInput, match="launcher.devices: found 1000 x 1 trials at once"):
        this_machine(runtime, replace(LAUNCHER, devices=1000))


def test_this_machine_refuses_mistyped_threads(runtime, monkeypatch):
    """More threads of a trial than a machine bears are refused; a few more than cores are not."""
    monkeypatch.setattr(devices, "visible_gpus", lambda: ())
    monkeypatch.setattr(devices, "usable_cores", lambda: 2)
    with pytest.raises(BadInput, match="runtime.threads: found 999 a rank, 999 a trial, on 2 cor"):
        this_machine(replace(runtime, threads=999), replace(LAUNCHER, devices=None))
    assert this_machine(replace(runtime, threads=3), LAUNCHER).runtime.threads == 3


def test_this_machine_refuses_idle_cores():
    """Devices that would stay idle."""
    with pytest.raises(BadInput, match=r"launcher.devices: found 3, .* say launcher.devices=2"):
        replace(LAUNCHER, devices=3, devices_per_trial=2)


def test_machine_has_no_apple_gpu_for_a_sweep(runtime):
    """A sweep does not take an Apple machine's GPU for a CPU."""
    with pytest.raises(BadInput, match="^runtime.device: found mps, expected auto, cpu or cuda"):
        this_machine(replace(runtime, device="mps"), LAUNCHER)


PACKED = replace(LAUNCHER, devices=None, trials_per_device=2)


def test_machine_packs_by_uuid_under_mps(four_gpus, runtime, monkeypatch, capsys):
    """A daemon counts the GPUs that it was shown by itself, so its clients name them by UUID."""
    place_mps(four_gpus, monkeypatch)
    monkeypatch.setenv("MPS_NOTES", str(four_gpus / "notes"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    found = this_machine(runtime, PACKED)
    with found.processes(Path("cache")) as (slots, packing):
        assert [slot.place for slot in slots] == ["GPU-2", "GPU-3"] * 2
        assert packing.is_mps and packing.most == 2 and not packing.by_size
        [pipes] = {slot._environment["CUDA_MPS_PIPE_DIRECTORY"] for slot in slots}
        assert Path(pipes, "control").is_socket()
    assert not Path(pipes).exists()
    assert (four_gpus / "notes").read_text().startswith("start GPU-2,GPU-3\n")
    assert capsys.readouterr().out.startswith("MPS: 2 trials at most share a GPU, by a daemon")


@pytest.mark.parametrize(
    ("cards", "packed", "places", "words"),
    [
        ([card(0)], 2, ["0", "0"], "its trials take turns"),
        ([card(0, "Exclusive_Process")], 2, ["0"], "it is given one trial at a time"),
        ([card(0)], "auto", ["0"], "it is given one trial at a time"),
    ],
)
def test_machine_packs_without_mps(
    four_gpus, runtime, monkeypatch, capsys, cards, packed, places, words
):
    """In turn, or one at a time where turns gain nothing or a second process would fail."""
    monkeypatch.setenv("PATH", str(four_gpus))
    place_nvidia_smi(four_gpus, cards)
    found = this_machine(runtime, replace(PACKED, trials_per_device=packed))
    assert visible_devices(found) == places
    said = capsys.readouterr().out
    assert "nvidia-cuda-mps-control is not on PATH" in said and words in said
    assert said.count("\n") == 1


def test_machine_counts_on_no_packing_by_size(four_gpus, runtime, monkeypatch):
    """What it gains is not measured: a plan counts, and measures, one trial on each GPU."""
    found = this_machine(runtime, replace(PACKED, trials_per_device="auto"))
    assert found.n_parallel == 4
    assert visible_devices(found, as_planned=True) == ["0", "1", "2", "3"]


def test_machine_of_slices(four_gpus, runtime, monkeypatch, capsys):
    """Each is a device of its own memory; they are no ranks of one trial, and know no MPS here."""
    listing = "GPU 0: NVIDIA A100 (UUID: GPU-0)\n" + "".join(
        f"  MIG 1g.5gb     Device  {n}: (UUID: MIG-{n})\n" for n in range(2)
    )
    place_nvidia_smi(four_gpus, [card(0, mig="Enabled")], listing)
    place_mps(four_gpus, monkeypatch)
    found = this_machine(runtime, replace(LAUNCHER, devices=None))
    assert visible_devices(found) == ["MIG-0", "MIG-1"] and found.memory_bytes == 5 * 10**9
    assert visible_devices(this_machine(runtime, PACKED)) == ["MIG-0", "MIG-1"] * 2
    assert "(the GPU is divided by MIG): its trials take turns" in capsys.readouterr().out
    with pytest.raises(BadInput, match="devices_per_trial: found 2, expected 1: slices"):
        this_machine(runtime, replace(LAUNCHER, devices_per_trial=2))


def test_this_machine_says_that_it_sees_no_gpu(four_gpus, runtime, monkeypatch, capsys):
    """A driver without nvidia-smi is not a machine without a GPU."""
    (four_gpus / "nvidia-smi").unlink()
    (four_gpus / "nvidiactl").touch()
    monkeypatch.setattr(gpus, "_DRIVER", four_gpus / "nvidiactl")
    assert this_machine(runtime, LAUNCHER).gpus == ()
    said = capsys.readouterr().out
    assert said.startswith("warning: ") and said.endswith("trials run on the CPU\n")
    with pytest.raises(BadInput, match="runtime.device: found no GPU .*not on PATH"):
        this_machine(replace(runtime, device="cuda"), LAUNCHER)
    this_machine(replace(runtime, device="cpu"), LAUNCHER)
    assert capsys.readouterr().out == ""


def test_this_machine_refuses_more_trials_than_mps_takes(four_gpus, runtime):
    with pytest.raises(BadInput, match="trials_per_device: found 49, expected at most 48"):
        this_machine(runtime, replace(PACKED, trials_per_device=49))
