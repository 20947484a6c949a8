"""AdamW as GPT-2's reproductions use it, and Muon for the hidden matrices beside it."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from model.network import Network
from model.parametrization import scales
from training.config import OptimizerConfig

MUON_MOMENTUM = 0.95
# Elements of the matrices that are orthogonalised at once: all layers of GPT-2 small, and of large
# matrices, which fill a GPU by themselves, no more than 64 MB in bf16.
_STACK_ELEMENTS = 2**25


class Muon(torch.optim.Muon):
    """torch.optim.Muon whose matrices of a shape are orthogonalised together; the same state.

    One by one, the 48 matrices of GPT-2 small take about 25 launches each, with products too small
    for a large GPU. The size of an update is made AdamW's.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], lr: float, weight_decay: float) -> None:
        super().__init__(
            parameters,
            lr=lr,
            weight_decay=weight_decay,
            momentum=MUON_MOMENTUM,
            adjust_lr_fn="match_rms_adamw",
        )

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Apply the gradients."""
        for group in self.param_groups:
            by_shape: defaultdict[torch.Size, list[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape[parameter.shape].append(parameter)
            for shape, alike in by_shape.items():
                size = max(1, _STACK_ELEMENTS // shape.numel())
                for start in range(0, len(alike), size):
                    self._step_together(alike[start : start + size], group)

    def _step_together(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        """One step of matrices of one shape."""
        momentum, lr = group["momentum"], group["lr"]
        gradients = [p.grad for p in parameters if p.grad is not None]
        moments = []
        for parameter in parameters:
            state = self.state[parameter]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(parameter)
            moments.append(state["momentum_buffer"])
        torch._foreach_lerp_(moments, gradients, 1 - momentum)
        updates = torch._foreach_lerp(gradients, moments, momentum)  # Nesterov's
        stack = orthogonalised(
            torch.stack(updates), group["ns_coefficients"], group["ns_steps"], group["eps"]
        )
        size = 0.2 * math.sqrt(max(parameters[0].shape))
        torch._foreach_mul_(parameters, 1 - lr * group["weight_decay"])
        torch._foreach_add_(parameters, stack.to(parameters[0].dtype).unbind(), alpha=-lr * size)


def orthogonalised(
    matrices: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float
) -> Tensor:
    """The nearest matrices with singular values of 1, or about that, in bf16; first axis a batch.

    Newton and Schulz's iteration of the fifth order (Jordan et al. 2024).
    """
    a, b, c = coefficients
    wide = matrices.shape[1] <= matrices.shape[2]
    x = (matrices if wide else matrices.mT).bfloat16()
    x = x / torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True).clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x if wide else x.mT


class MuonAndAdamW:
    """Muon for some weights and AdamW for the rest, as one optimizer."""

    def __init__(self, muon: Muon, adamw: torch.optim.AdamW) -> None:
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


Optimizer = torch.optim.Optimizer | MuonAndAdamW  # every group in `param_groups` has its `lr`


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> Optimizer:
    """The optimizer `config.name`; the caller sets `lr` in every group at every step.

    adamw  Loshchilov and Hutter 2019, arXiv 1711.05101. Tensors of two dimensions or more decay,
           the embeddings too; gains and biases do not. One fused kernel a step
    muon   Jordan et al. 2024 (kellerjordan.github.io/posts/muon), as torch.optim.Muon, for the
           matrices of the linear layers, whose update is made as large as AdamW's (0.2 sqrt(max of
           rows and columns), Liu et al. 2025, arXiv 2502.16982), so that one rate and one decay
           serve both; AdamW for embeddings and head, gains and biases. What is one matrix in a
           network (GPT-2's queries, keys and values) is orthogonalised as one
    """
    if isinstance(model, Network) and model.config.parametrization != "standard":
        return _adamw_by_size(model, config)
    if config.name == "adamw":
        return _adamw(list(model.parameters()), config)
    hidden = _hidden(model)
    taken = {id(parameter) for parameter in hidden}
    muon = Muon(hidden, config.lr, config.weight_decay)
    rest = [parameter for parameter in model.parameters() if id(parameter) not in taken]
    return MuonAndAdamW(muon, _adamw(rest, config))


def _hidden(model: nn.Module) -> list[nn.Parameter]:
    """The matrices of the layers: neither embeddings nor head."""
    tables = {id(part.weight) for part in model.modules() if isinstance(part, nn.Embedding)}
    if isinstance(model, Network):
        tables.add(id(model.lm_head.weight))
    return [p for p in model.parameters() if p.ndim == 2 and id(p) not in tables]


def _adamw_by_size(model: Network, config: OptimizerConfig) -> torch.optim.AdamW:
    """AdamW whose hidden matrices have a rate and a decay of their own (model/parametrization.py).

    `lr_scale` in a group multiplies the rate of each step. What else is in the layers has a group
    of its own where its eps is another than that of embeddings, head and last norm.
    """
    by_size, hidden = scales(model.config), _hidden(model)
    eps, layer_eps = config.eps * by_size.eps, config.eps * by_size.layer_eps
    stacks = [part for part in model.children() if isinstance(part, nn.ModuleList)]
    within = [p for part in stacks for p in part.parameters() if p.ndim < 2]
    within = within if layer_eps != eps else []
    taken = {id(parameter) for parameter in (*hidden, *within)}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in taken]
    optimizer = _adamw(rest, replace(config, eps=eps))
    optimizer.add_param_group(
        {
            "params": hidden,
            "weight_decay": config.weight_decay * by_size.hidden_decay,
            "lr": config.lr * by_size.hidden_lr,
            "lr_scale": by_size.hidden_lr,
            "eps": layer_eps,
        }
    )
    if within:
        optimizer.add_param_group({"params": within, "weight_decay": 0.0, "eps": layer_eps})
    return optimizer


def _adamw(parameters: list[nn.Parameter], config: OptimizerConfig) -> torch.optim.AdamW:
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    fused = all(parameter.device.type in ("cpu", "cuda") for parameter in parameters)
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, eps=config.eps, fused=fused)
