"""muP and CompleteP: a network of the base size is the standard one, and sizes do not drift."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from common.errors import BadInput
from model.config import GPTConfig
from model.network import build_network, weights_digest
from model.parametrization import scales
from training.config import OptimizerConfig
from training.optimizer import build_optimizer

BASE = GPTConfig(n_layer=2, n_head=2, n_embd=32, block_size=16, vocab_size=128, init_std=0.1)
ADAMW = OptimizerConfig("adamw", 1e-2, (0.9, 0.95), 1e-8, 0.1, None)
STEPS = 4


def mup(config: GPTConfig) -> GPTConfig:
    return replace(config, parametrization="mup", base_width=32)


def completep(config: GPTConfig) -> GPTConfig:
    return replace(config, parametrization="completep", base_width=32, base_depth=2)


def stream(config: GPTConfig) -> float:
    """Mean size of the residual stream before the last norm, after some steps of AdamW."""
    network = build_network(config, torch.Generator().manual_seed(0))
    last_norm = network.ln_f if config.family == "gpt2" else network.norm
    seen: list[float] = []
    last_norm.register_forward_pre_hook(lambda _, x: seen.append(x[0].abs().mean().item()))
    optimizer = build_optimizer(network, ADAMW)
    tokens_BT = torch.randint(128, (4, 17), generator=torch.Generator().manual_seed(1))
    for _ in range(STEPS):
        network(tokens_BT[:, :-1], tokens_BT[:, 1:]).backward()
        optimizer.step()
        optimizer.zero_grad()
    network(tokens_BT[:, :-1])
    return seen[-1]


def growth(sizes: list[int], values: list[float]) -> float:
    """The power of size with which a value grows."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_parametrization_coordinates_are_of_one_size_at_every_width(family: str) -> None:
    """The coordinate check (Yang et al. 2022, appendix D.1) after four steps.

    With muP the stream is as large at four times the width; without it grows with width.
    """
    widths = [32, 64, 128]
    shapes = [replace(BASE, n_embd=w, n_head=w // 16, family=family) for w in widths]
    assert abs(growth(widths, [stream(mup(shape)) for shape in shapes])) < 0.15
    assert growth(widths, [stream(shape) for shape in shapes]) > 0.8


def test_parametrization_coordinates_are_of_one_size_at_every_depth() -> None:
    """With CompleteP the stream is as large at four times the depth; with muP it grows with it."""
    depths = [2, 4, 8]
    shapes = [replace(BASE, n_layer=depth) for depth in depths]
    assert abs(growth(depths, [stream(completep(shape)) for shape in shapes])) < 0.2
    assert growth(depths, [stream(mup(shape)) for shape in shapes]) > 0.6


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_parametrization_at_its_base_begins_as_the_standard_one(family: str) -> None:
    """The same weights to the bit, and groups of the same rate, decay and eps."""
    config = replace(BASE, family=family)
    twin = mup(config)
    networks = [build_network(c, torch.Generator().manual_seed(0)) for c in (config, twin)]
    assert weights_digest(networks[0]) == weights_digest(networks[1])
    groups = build_optimizer(networks[1], ADAMW).param_groups
    assert [g["weight_decay"] for g in groups] == [0.1, 0.0, 0.1]
    assert {g["lr"] for g in groups} == {1e-2} and {g["eps"] for g in groups} == {1e-8}
    assert scales(twin).output == scales(twin).residual == 1


def test_parametrization_groups_and_initial_weights_follow_the_table() -> None:
    """Four times the width, eight the depth: rate and decay of hidden matrices, eps of them all."""
    config = completep(replace(BASE, n_embd=128, n_head=8, n_layer=16))
    network = build_network(config, torch.Generator().manual_seed(0))
    rest, vectors, hidden, inner = build_optimizer(network, ADAMW).param_groups
    assert (hidden["lr_scale"], hidden["lr"], hidden["weight_decay"]) == (0.25, 2.5e-3, 0.4)
    assert "lr_scale" not in rest and (rest["lr"], vectors["lr"]) == (1e-2, 1e-2)
    # Equation 40 of Dey et al.: 1/m outside the layers, 1/(m r) in them.
    assert [g["eps"] for g in (rest, vectors)] == [1e-8 / 4] * 2
    assert [g["eps"] for g in (hidden, inner)] == [1e-8 / 32] * 2
    assert (inner["lr"], inner["weight_decay"]) == (1e-2, 0.0)
    names = {id(p): name for name, p in network.named_parameters()}
    assert {names[id(p)] for p in rest["params"]} == {"wte.weight", "wpe.weight"}
    assert {names[id(p)] for p in vectors["params"]} == {"ln_f.weight", "ln_f.bias"}
    every = [id(p) for g in (rest, vectors, hidden, inner) for p in g["params"]]
    assert sorted(every) == sorted(names)
    for parameter in hidden["params"]:
        assert parameter.std().item() == pytest.approx(0.1 / 2, rel=0.05)
    assert network.wpe.weight.std().item() == pytest.approx(0.1, rel=0.1)
    by_width = scales(mup(replace(BASE, n_embd=128, n_head=8, n_layer=16)))
    assert by_width.residual_std == pytest.approx(0.05 / math.sqrt(32))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parametrization": "mup"}, "model.base_width: found null with model.parametrization mup"),
        ({"base_width": 32}, "model.base_width: found 32 with model.parametrization standard, exp"),
        (
            {"parametrization": "completep", "base_width": 32},
            "model.base_depth: found null with model.parametrization completep, expected more than",
        ),
        (
            {"parametrization": "mup", "base_width": 32, "base_depth": 2},
            "model.base_depth: found 2 with model.parametrization mup, expected null",
        ),
        (
            {"family": "lstm", "n_head": 0, "parametrization": "mup", "base_width": 32},
            "model.parametrization: found mup with model.family lstm, expected standard",
        ),
    ],
)
def test_parametrization_without_its_base_is_refused(changes: dict, message: str) -> None:
    """One line: the field, what was found, what to give."""
    with pytest.raises(BadInput) as refusal:
        replace(BASE, **changes)
    assert str(refusal.value).startswith(message)
