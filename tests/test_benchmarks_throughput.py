"""The benchmark runs where only torch and numpy are, and says what it measured."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.cases import CASES
from benchmarks.checks import check_device
from benchmarks.measure import Settings, measure
from benchmarks.trainee import random_batch, timed_step
from common.errors import BadInput
from common.files import to_json
from model.gpt import GPT

ROOT = Path(__file__).resolve().parent.parent

# Stands for a machine with torch and numpy alone.
BARE = """
import importlib.abc, runpy, sys
class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in {absent}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
runpy.run_module("benchmarks.throughput", run_name="__main__", alter_sys=True)
"""
ABSENT = ("hydra", "omegaconf", "yaml", "tiktoken", "tokenizers", "datasets", "wandb", "scipy")

# nanoGPT's interface around our own blocks.
PEER = """
import torch
from dataclasses import dataclass
from torch import nn
import model.gpt as ours
from model.config import GPTConfig as Shape

@dataclass
class GPTConfig:
    block_size: int
    vocab_size: int
    n_layer: int
    n_head: int
    n_embd: int
    dropout: float
    bias: bool

class GPT(nn.Module):
    def __init__(self, config):
        super().__init__()
        print("number of parameters")
        shape = Shape(config.n_layer, config.n_head, config.n_embd, config.block_size,
                      config.vocab_size, 0.02)
        self.inner = [ours.GPT(shape, torch.Generator())]
        names = ("wte", "wpe", "h", "ln_f")
        self.transformer = nn.ModuleDict({{n: getattr(self.inner[0], n) for n in names}})
        self.lm_head = self.inner[0].lm_head

    def configure_optimizers(self, weight_decay, lr, betas, device_type):
        return torch.optim.AdamW(self.parameters(), lr=lr, betas=betas)

    def forward(self, tokens, targets):
        return None, self.inner[0](tokens, targets) + {error}
"""


def settings(**changes: Any) -> Settings:
    values = {
        "device": torch.device("cpu"),
        "precision": "float32",
        "compiled": False,
        "micro_batch": None,
        "batch_tokens": None,
        "seconds": 0.0,
    }
    return Settings(**values | changes)


def run(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    code = BARE.format(absent=ABSENT)
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def checkout(folder: Path, error: float) -> Path:
    (folder / "model.py").write_text(PEER.format(error=error))
    return folder


def test_throughput_needs_only_torch_and_numpy(tmp_path: Path) -> None:
    """Figures of a tiny model on a bare machine."""
    out = tmp_path / "figures.json"
    result = run(["--device=cpu", "--models", "tiny", "--seconds", "0", "--out", str(out)])
    assert result.returncode == 0, result.stderr
    report = json.loads(out.read_text())
    assert report["versions"]["torch"] == torch.__version__
    assert report["command"].endswith(f"--out {out}")
    assert report["machine"]["threads"] == 1
    (model,) = report["models"]
    seconds = model["seconds"]
    assert model["status"] == "ok" and all(check["passed"] for check in model["checks"])
    assert model["batch_tokens"] == 64 and model["micro_batch"] == 2 and model["sdpa"] == "flash"
    assert model["tokens_per_s"] == pytest.approx(64 / seconds["step_s"])
    assert model["mfu"] is None and report["machine"]["peak_flops"] is None
    assert model["peak_memory_bytes"] > 0 and model["peer"] is None
    assert f"{model['tokens_per_s']:,.0f}" in result.stdout


def test_throughput_races_an_equal_peer(tmp_path: Path) -> None:
    """Race against a peer of the same mathematics."""
    out = tmp_path / "figures.json"
    peer = str(checkout(tmp_path, error=0.0))
    arguments = ["--device=cpu", "--models", "tiny", "--seconds", "0", "--out", str(out)]
    result = run([*arguments, "--peer", peer])
    assert result.returncode == 0, result.stderr
    race = json.loads(out.read_text())["models"][0]["peer"]
    for ratio in (race["ratio"], race["ratio_cpu_time"]):
        assert 0 < ratio["min"] <= ratio["median"] <= ratio["max"]


def test_throughput_notices_an_unequal_peer(tmp_path: Path) -> None:
    """A peer of other mathematics fails the check."""
    out = tmp_path / "figures.json"
    peer = str(checkout(tmp_path, error=0.01))
    arguments = ["--device=cpu", "--models", "tiny", "--seconds", "0", "--out", str(out)]
    result = run([*arguments, "--peer", peer])
    assert result.returncode == 3
    assert "the peer's loss against ours: found" in result.stdout
    assert json.loads(out.read_text())["models"][0]["status"] == "wrong"


def test_throughput_refuses_a_missing_peer(tmp_path: Path) -> None:
    """A missing peer is one line and status 2."""
    command = [sys.executable, "-m", "benchmarks.throughput", "--peer", str(tmp_path)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert result.returncode == 2
    assert result.stderr == (
        f"error: --peer: {tmp_path}/model.py not found, expected a checkout of karpathy/nanoGPT\n"
    )


def test_timed_step_parts_add_up() -> None:
    """Parts of a step are its time, in one of a few tries: another process may come between."""
    tries = []
    for _ in range(5):
        seconds = measure(CASES["cpu-c"], settings(), None)["seconds"]
        parts = seconds["forward_s"] + seconds["backward_s"] + seconds["update_s"]
        tries.append(parts / seconds["step_s"])
        if tries[-1] == pytest.approx(1, rel=0.2):
            return
    raise AssertionError(tries)


@pytest.mark.parametrize("defect", ["loss", "gradient", "nan"])
def test_check_device_notices_wrong_results(defect: str) -> None:
    """The network goes wrong as it is moved, as on a device with a broken kernel."""
    device = torch.device("cpu")
    batch = random_batch(4, 16, 120, device, seed=0)

    class Broken(GPT):
        def to(self, device: torch.device) -> "Broken":
            if defect == "loss":
                self.register_forward_hook(lambda _, __, loss: loss + 0.01)
            else:
                factor = {"gradient": -1.0, "nan": float("nan")}[defect]
                self.wpe.weight.register_hook(lambda gradient: gradient * factor)
            return self

    generator = torch.Generator().manual_seed(0)
    sound = check_device(GPT(CASES["tiny"].config, generator), device, "float32", batch)
    assert all(check.passed for check in sound)
    broken = check_device(Broken(CASES["tiny"].config, generator), device, "float32", batch)
    assert not all(check.passed for check in broken)
    to_json([check.as_json() for check in broken])  # strict, whatever was found


def test_measure_halves_the_micro_batch_until_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def step(trainee, batch):
        tried.append(trainee.micro_batch)
        if trainee.micro_batch > 1:
            raise torch.OutOfMemoryError("no room")
        return timed_step(trainee, batch)

    monkeypatch.setattr("benchmarks.measure.timed_step", step)
    figures = measure(CASES["tiny"], settings(micro_batch=4), None)
    assert tried[:3] == [4, 2, 1] and figures["micro_batch"] == 1
    assert figures["status"] == "ok"


def test_measure_reports_out_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model without room is reported."""

    def step(trainee, batch):
        raise torch.OutOfMemoryError("no room\nat all")

    monkeypatch.setattr("benchmarks.measure.timed_step", step)
    figures = measure(CASES["tiny"], settings(), None)
    assert (figures["status"], figures["reason"]) == ("oom", "no room")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_tokens": 100}, "--batch-tokens: found 100, expected a multiple of 16"),
        ({"micro_batch": 3}, "--micro-batch: found 3, expected a divisor of the 4 sequences"),
    ],
)
def test_measure_refuses_sizes_that_do_not_divide(changes: dict[str, int], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        measure(CASES["tiny"], settings(**changes), None)
