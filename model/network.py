"""What every family's network is, and building one by its shape.

Device, precision (autocast) and ranks belong to the caller.

Shape key: B sequences, T positions, N = B T positions of all sequences, E embedding, V rows of the
vocabulary table, padded.
"""

import hashlib
import importlib

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.config import GPTConfig
from model.loss import cross_entropy, forbid_pads, head_and_cross_entropy
from model.parametrization import scales


class Network(nn.Module):
    """A language model on the CPU in float32; move it and choose its precision afterwards.

    A family derives its class from this. It is made of a shape and a generator, from which alone
    weights are drawn, so that they are the same for any device and world size; without one they are
    left unset, for `load_state_dict`. It has its head in `lm_head`, tokens in one nn.Embedding, and
    `forward(tokens_BT, targets_BT=None)`, which ends with `logits_or_loss`.

    `chunked_head` trains with the loss head that takes little memory (model/loss.py).
    """

    config: GPTConfig
    lm_head: nn.Linear
    chunked_head = False

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config

    def residual(self, x_NE: Tensor) -> Tensor:
        """The residual stream as it begins, in the precision that the shape asks for."""
        if self.config.residual == "bf16" and torch.is_autocast_enabled(x_NE.device.type):
            return x_NE.bfloat16()  # and so are all sums: autocast's products are bf16 as well
        return x_NE

    def draw_rows(self, table: Tensor, generator: torch.Generator) -> None:
        """Draw a table of the vocabulary from N(0, init_std), its rows beyond as 0.

        The pads take no draw, so that padding changes no other weight.
        """
        rows = self.config.vocab_size
        table[:rows].normal_(0, self.config.init_std, generator=generator)
        table[rows:].zero_()

    def logits_or_loss(self, x_NE: Tensor, positions: int, targets_BT: Tensor | None) -> Tensor:
        """Logits_BTV, the pads' at -inf; with targets the mean loss, a float32 scalar in nats.

        The loss is taken in float32 over the true vocabulary.
        """
        vocab_size = self.config.vocab_size
        x_NE = scaled(x_NE, scales(self.config).output)
        if targets_BT is None:
            logits_NV = forbid_pads(self.lm_head(x_NE), vocab_size)
            return logits_NV.unflatten(0, (-1, positions))
        targets_N = targets_BT.flatten()
        if self.chunked_head and torch.is_grad_enabled():
            return head_and_cross_entropy(x_NE, self.lm_head.weight, targets_N, vocab_size)
        return cross_entropy(self.lm_head(x_NE), targets_N, vocab_size)

    def loss_by_position(self, tokens_BT: Tensor, targets_BT: Tensor) -> tuple[Tensor, Tensor]:
        """The mean loss, to the bit that of `forward` without a gradient, and losses_BT apart."""
        logits_NV, targets_N = self(tokens_BT).flatten(0, 1), targets_BT.flatten()
        log_p_NV = logits_NV.float().log_softmax(-1)  # as F.cross_entropy begins
        losses_N = -log_p_NV.gather(1, targets_N[:, None])[:, 0]
        return F.nll_loss(log_p_NV, targets_N), losses_N.view_as(targets_BT)


def scaled(x: Tensor, factor: float) -> Tensor:
    """The product; by 1 the tensor itself, so that no graph has an operation more."""
    return x if factor == 1 else x * factor


def build_network(config: GPTConfig, generator: torch.Generator | None) -> Network:
    """The network of a shape, with weights drawn from `generator` where there is one."""
    module, name = config.architecture.network.split(":")
    network: Network = getattr(importlib.import_module(module), name)(config, generator)
    return network


def weights_digest(model: nn.Module) -> str:
    """SHA-256 over name, shape, dtype and bytes of every parameter, by name; tied ones once."""
    sha = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        weight = parameter.detach().cpu().contiguous()
        sha.update(f"{name} {tuple(weight.shape)} {weight.dtype}\n".encode())
        sha.update(weight.flatten().view(torch.uint8).numpy().data)
    return sha.hexdigest()
