"""The device of a process, and what is said where a GPU stays unused."""

import pytest
import torch

from common.errors import BadInput
from training.device import choose
from training.device.choose import NoSuchGPU, choose_device


def test_choose_device_refuses_what_is_no_device():
    """A device that is none of the known ones is no GPU that is missing."""
    with pytest.raises(BadInput, match="^device: found 'tpu', expected auto, cpu, cuda or mps"):
        choose_device("tpu")


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """A machine with a driver of NVIDIA's whose GPUs torch does not see."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(choose, "NVIDIA_DRIVER", tmp_path / "nvidiactl")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    (tmp_path / "nvidiactl").touch()
    return tmp_path / "nvidiactl"


@pytest.mark.parametrize(
    ("cuda", "reason"), [(None, "is built without CUDA"), ("13.0", "finds no GPU by its driver")]
)
def test_choose_device_says_why_a_gpu_stays_unused(driver, monkeypatch, capsys, cuda, reason):
    """A line where the CPU is taken by itself, once for all ranks; in the error where it is not."""
    monkeypatch.setattr(torch.version, "cuda", cuda)
    text = f"{driver} is there, but torch {torch.__version__} {reason}"
    assert choose_device("auto").type == choose_device("auto", 1).type == "cpu"
    assert capsys.readouterr().err == f"warning: training on the CPU: {text}\n"
    with pytest.raises(NoSuchGPU) as caught:
        choose_device("cuda")
    assert str(caught.value) == (
        f"runtime.device: found 0 GPUs ({text}), expected at least 1; start fewer ranks or say "
        "runtime.device=cpu"
    )


def test_choose_device_says_nothing_where_no_gpu_is_there_or_wanted(driver, monkeypatch, capsys):
    """Neither without a driver, nor where the GPUs are hidden, nor where the CPU was asked for."""
    choose_device("cpu")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    choose_device("auto")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    driver.unlink()
    choose_device("auto")
    assert capsys.readouterr().err == ""
