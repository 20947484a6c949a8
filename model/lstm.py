"""LSTM: torch.nn.LSTM over the token embedding, whose rows are its head as well.

Hochreiter and Schmidhuber 1997; beside the transformer in figure 7 of Kaplan et al. 2020
(2001.08361), which sees no use of late positions in it. Each sequence begins with a state of zeros.

Shape key: B sequences, T positions, E embedding.
"""

import math

import torch
from torch import Tensor, nn

from model.config import GPTConfig
from model.network import Network


class LSTM(Network):
    """`n_layer` layers of `n_embd` cells; without a generator its weights are left unset."""

    def __init__(self, config: GPTConfig, generator: torch.Generator | None) -> None:
        super().__init__(config)
        with torch.device("meta"):  # torch's own initialisation would draw from global state
            self.wte = nn.Embedding(config.padded_vocab_size, config.n_embd)
            self.rnn = nn.LSTM(config.n_embd, config.n_embd, config.n_layer, batch_first=True)
            self.lm_head = nn.Linear(config.n_embd, config.padded_vocab_size, bias=False)
        self.to_empty(device="cpu")
        self.lm_head.weight = self.wte.weight
        if generator is not None:
            self._initialise(generator)

    def forward(self, tokens_BT: Tensor, targets_BT: Tensor | None = None) -> Tensor:
        """Logits_BTV, or with targets their mean loss (model/network.py)."""
        x_BTE, _ = self.rnn(self.wte(tokens_BT))
        return self.logits_or_loss(x_BTE.flatten(0, 1), tokens_BT.shape[1], targets_BT)

    @torch.no_grad()
    def _initialise(self, generator: torch.Generator) -> None:
        """Draw the weights.

        token embedding   N(0, init_std); rows beyond the true vocabulary 0
        matrices          uniform within 1/sqrt(n_embd) of 0, as torch.nn.LSTM's
        biases            0, but 1 for the forget gates: what is held is kept at first (Jozefowicz
                          et al. 2015, section 2.2). Torch adds two biases; the first has it
        """
        width = self.config.n_embd
        for name, parameter in self.named_parameters():
            if name == "wte.weight":
                self.draw_rows(parameter, generator)
            elif parameter.ndim == 2:
                most = 1 / math.sqrt(width)
                parameter.uniform_(-most, most, generator=generator)
            else:
                parameter.zero_()
                if ".bias_ih_" in name:  # gates in torch's order: input, forget, cell, output
                    parameter[width : 2 * width] = 1.0
