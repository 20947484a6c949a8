"""AdamW as written down; Muon orthogonal on hidden matrices, AdamW to the bit on the rest."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import nn

from model.gpt import GPT
from tests.support.tiny_training import built_state, prepared_config, tiny_config, train_once
from training.config import OptimizerConfig
from training.optimizer import MUON_MOMENTUM, Muon, build_optimizer
from training.step import begin_step


def test_optimizer_adamw_is_the_published_update():
    """Adamw is the published update.

    Loshchilov and Hutter 2019, algorithm 2, written out; decay on the matrix only.
    """
    config = OptimizerConfig("adamw", lr=0.1, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.5,
                             grad_clip=1.0)  # fmt: skip
    model = nn.Linear(3, 2)
    optimizer = build_optimizer(model, config)
    expected = {name: p.detach().double().clone() for name, p in model.named_parameters()}
    moments = {name: (torch.zeros_like(p), torch.zeros_like(p)) for name, p in expected.items()}
    draws = torch.Generator().manual_seed(0)
    for t in range(1, 21):
        for name, parameter in model.named_parameters():
            parameter.grad = torch.randn(parameter.shape, generator=draws)
            g, (m, v) = parameter.grad.double(), moments[name]
            m.mul_(0.9).add_(0.1 * g)
            v.mul_(0.99).add_(0.01 * g**2)
            step = (m / (1 - 0.9**t)) / ((v / (1 - 0.99**t)).sqrt() + 1e-8)
            decay = 0.5 if parameter.ndim == 2 else 0.0
            expected[name] -= 0.1 * (step + decay * expected[name])
        optimizer.step()
    for name, parameter in model.named_parameters():
        assert torch.allclose(parameter.double(), expected[name], rtol=1e-5, atol=1e-6)


def test_optimizer_decay_acts_on_matrices_and_embeddings_only(tmp_path):
    """Decay acts on matrices and embeddings only."""
    config = tiny_config(tmp_path)
    model = GPT(config.model, torch.Generator().manual_seed(0))
    decayed, free = build_optimizer(model, config.optimizer).param_groups
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.1, 0.0)
    names = {id(p): name for name, p in model.named_parameters()}
    assert {"wte.weight", "wpe.weight"} < {names[id(p)] for p in decayed["params"]}
    assert all(names[id(p)].endswith(".bias") or "ln_" in names[id(p)] for p in free["params"])
    assert len(decayed["params"]) + len(free["params"]) == len(names)


def gpt(tmp_path) -> GPT:
    return GPT(tiny_config(tmp_path).model, torch.Generator().manual_seed(0))


def give_gradients(model: nn.Module, seed: int) -> None:
    draws = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=draws)


def is_hidden(name: str) -> bool:
    return name.startswith("h.") and name.endswith(".weight") and "ln_" not in name


def test_optimizer_muon_update_treats_every_direction_alike(tmp_path):
    """Muons update has every direction alike and the size of adamws.

    Singular values of 0.2 sqrt(max(rows, columns)) lr, within the iteration's 0.5 to 1.5.
    """
    config = replace(tiny_config(tmp_path).optimizer, name="muon", lr=0.01, weight_decay=0.0)
    model = gpt(tmp_path)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = build_optimizer(model, config)
    give_gradients(model, 1)
    optimizer.step()
    for name, parameter in model.named_parameters():
        if is_hidden(name):
            update = before[name] - parameter.detach()
            scale = 0.01 * 0.2 * max(update.shape) ** 0.5
            values = torch.linalg.svdvals(update) / scale
            assert values.min() > 0.5 and values.max() < 1.5, name


def test_optimizer_muon_leaves_embeddings_gains_and_biases_to_adamw(tmp_path):
    """Muon leaves embeddings gains and biases to adamw."""
    config = tiny_config(tmp_path).optimizer
    found = []
    for name in ("adamw", "muon"):
        model = gpt(tmp_path)
        optimizer = build_optimizer(model, replace(config, name=name))
        for seed in range(3):
            give_gradients(model, seed)
            optimizer.step()
        found.append({name: p.detach().clone() for name, p in model.named_parameters()})
    for name in found[0]:
        assert torch.equal(found[0][name], found[1][name]) == (not is_hidden(name)), name


def test_optimizer_muon_goes_on_from_its_state(tmp_path):
    """Muon goes on from its state."""
    config = replace(tiny_config(tmp_path).optimizer, name="muon")
    whole, stopped = gpt(tmp_path), gpt(tmp_path)
    optimizers = [build_optimizer(model, config) for model in (whole, stopped)]
    for seed in range(4):
        if seed == 2:
            state = optimizers[1].state_dict()
            optimizers[1] = build_optimizer(stopped, config)
            optimizers[1].load_state_dict(state)
        for model, optimizer in zip((whole, stopped), optimizers, strict=True):
            give_gradients(model, seed)
            optimizer.step()
    assert all(
        torch.equal(*pair) for pair in zip(whole.parameters(), stopped.parameters(), strict=True)
    )


def test_optimizer_muon_steps_as_torch_s_and_goes_on_from_its_state():
    """To float rounding; wide, tall and square matrices, of which some have the same shape."""
    draws = torch.Generator().manual_seed(0)
    shapes = [(24, 8), (8, 24), (24, 8), (8, 8), (24, 8)]
    ours = [nn.Parameter(torch.randn(shape, generator=draws)) for shape in shapes]
    begun = [parameter.detach().clone() for parameter in ours]
    theirs = [nn.Parameter(value.clone()) for value in begun]
    their_optimizer = torch.optim.Muon(
        theirs, lr=0.1, weight_decay=0.1, momentum=MUON_MOMENTUM, adjust_lr_fn="match_rms_adamw"
    )
    optimizer = Muon(ours, lr=0.1, weight_decay=0.1)
    for step in range(6):
        if step == 3:  # a run that torch's optimizer began
            optimizer = Muon(ours, lr=0.1, weight_decay=0.1)
            optimizer.load_state_dict(deepcopy(their_optimizer.state_dict()))
        for pair in zip(ours, theirs, strict=True):
            gradient = torch.randn(pair[0].shape, generator=draws)
            for parameter in pair:
                parameter.grad = gradient.clone()
        optimizer.step()
        their_optimizer.step()
    assert optimizer.state_dict()["param_groups"] == their_optimizer.state_dict()["param_groups"]
    for one, other, start in zip(ours, theirs, begun, strict=True):
        assert (one - other).norm() < 1e-4 * (other - start).norm()
        moments = optimizer.state[one]["momentum_buffer"], their_optimizer.state[other]
        assert torch.allclose(moments[0], moments[1]["momentum_buffer"], atol=1e-6)


def test_optimizer_muon_learns_and_every_group_follows_the_schedule(tmp_path):
    """Muon learns and every group follows the schedule."""
    config = prepared_config(tmp_path, 60, optimizer__name="muon")
    state = built_state(config)
    losses = []
    for _ in range(60):
        step = begin_step(state).result()
        losses.append(step.loss)
        assert {group["lr"] for group in state.optimizer.param_groups} == {step.lr}
    assert sum(losses[-5:]) / 5 < losses[0] - 1


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_optimizer_run_is_repeatable_to_the_bit(tmp_path, name):
    """A run is repeatable to the bit."""
    config = prepared_config(tmp_path, 3, optimizer__name=name)
    digests = {train_once(config, tmp_path / f"trial{i}").weights_digest for i in range(2)}
    assert len(digests) == 1
