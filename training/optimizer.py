"""AdamW as GPT-2's reproductions use it, and Muon for the hidden matrices beside it."""

from typing import Any, Protocol

import torch
from torch import nn

from training.config import OptimizerConfig

MUON_MOMENTUM = 0.95


class Optimizer(Protocol):
    """What training needs of an optimizer; every group in `param_groups` has its `lr`."""

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups, to set rates in."""

    def step(self) -> Any:
        """Apply the gradients."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients."""

    def state_dict(self) -> dict[str, Any]:
        """All that the next step depends on."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a `state_dict`."""


class MuonAndAdamW:
    """Muon for some weights and AdamW for the rest, as one optimizer."""

    def __init__(self, muon: torch.optim.Muon, adamw: torch.optim.AdamW) -> None:
        self._parts: dict[str, torch.optim.Optimizer] = {"muon": muon, "adamw": adamw}

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Muon's group, then AdamW's."""
        return [group for part in self._parts.values() for group in part.param_groups]

    def step(self) -> None:
        """Apply the gradients."""
        for part in self._parts.values():
            part.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients."""
        for part in self._parts.values():
            part.zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """The state of each, by name."""
        return {name: part.state_dict() for name, part in self._parts.items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a `state_dict`."""
        for name, part in self._parts.items():
            part.load_state_dict(state_dict[name])


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> Optimizer:
    """The optimizer `config.name`; the caller sets `lr` in every group at every step.

    adamw  Loshchilov and Hutter 2019, arXiv 1711.05101. Tensors of two dimensions or more decay,
           the embeddings too; gains and biases do not. One fused kernel a step
    muon   Jordan et al. 2024 (kellerjordan.github.io/posts/muon), by torch.optim.Muon, for the
           matrices of the linear layers, whose update is made as large as AdamW's (0.2 sqrt(max of
           rows and columns), Liu et al. 2025, arXiv 2502.16982), so that one rate and one decay
           serve both; AdamW for embeddings and head, gains and biases. Queries, keys and values
           are one matrix here and are orthogonalised as one
    """
    if config.name == "adamw":
        return _adamw(list(model.parameters()), config)
    tables = {id(part.weight) for part in model.modules() if isinstance(part, nn.Embedding)}
    hidden = [p for p in model.parameters() if p.ndim == 2 and id(p) not in tables]
    taken = {id(parameter) for parameter in hidden}
    muon = torch.optim.Muon(
        hidden,
        lr=config.lr,
        weight_decay=config.weight_decay,
        momentum=MUON_MOMENTUM,
        adjust_lr_fn="match_rms_adamw",
    )
    rest = [parameter for parameter in model.parameters() if id(parameter) not in taken]
    return MuonAndAdamW(muon, _adamw(rest, config))


def _adamw(parameters: list[nn.Parameter], config: OptimizerConfig) -> torch.optim.AdamW:
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    fused = all(parameter.device.type in ("cpu", "cuda") for parameter in parameters)
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, eps=config.eps, fused=fused)
