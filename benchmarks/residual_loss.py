"""Held-out loss with a residual stream in bf16 beside one in float32, on a CPU: seeds in pairs.

`python -m benchmarks.residual_loss TRAIN HELD_OUT OUT` takes two files of text, read as bytes, and
a folder in which each finished run leaves a line, so that a second call goes on with the rest.

A CPU without bf16 products takes minutes for a step of autocast, so they are taken here of operands
rounded to bf16 and summed in float32, forwards and backwards, which is what a GPU does.
"""

import argparse
import json
import math
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from model.config import GPTConfig
from model.gpt import GPT

LAYERS, WIDTH, BLOCK, SEQUENCES, LR = 4, 128, 128, 4, 2e-3
HELD_OUT_SEQUENCES = 256
_linear = F.linear


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A linear layer as autocast takes it: operands and result in bf16, the sum in float32."""
    rounded = [None if part is None else part.bfloat16().float() for part in (x, weight, bias)]
    return _linear(*rounded).bfloat16()  # type: ignore[arg-type]


def attention(q_BHTK: Tensor, k_BHTK: Tensor, v_BHTK: Tensor) -> Tensor:
    """Attention of bf16 values, computed in float32."""
    parts = q_BHTK.float(), k_BHTK.float(), v_BHTK.float()
    return F.scaled_dot_product_attention(*parts, is_causal=True).bfloat16()


def windows(text: Tensor, at: list[int]) -> tuple[Tensor, Tensor]:
    """Tokens and targets from these places of the text on."""
    ids_BT = torch.stack([text[place : place + BLOCK + 1] for place in at]).long()
    return ids_BT[:, :-1], ids_BT[:, 1:]


def train(residual: str, seed: int, steps: int, text: Tensor, held_out: Tensor) -> float:
    """The held-out loss in nats after so many steps of AdamW under a cosine."""
    config = GPTConfig(LAYERS, 4, WIDTH, BLOCK, 256, 0.02 * math.sqrt(768 / WIDTH), residual)  # type: ignore[arg-type]
    network = GPT(config, torch.Generator().manual_seed(seed))
    parameters = list(network.parameters())
    optimizer = torch.optim.AdamW(parameters, LR, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    order = torch.Generator().manual_seed(1000 + seed)
    for step in range(steps):
        cosine = 0.1 + 0.45 * (1 + math.cos(math.pi * step / steps))
        for group in optimizer.param_groups:
            group["lr"] = LR * min(1, (step + 1) / 50) * cosine
        at = torch.randint(len(text) - BLOCK - 1, (SEQUENCES,), generator=order)
        network(*windows(text, at.tolist())).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
    places = [BLOCK * index for index in range(HELD_OUT_SEQUENCES)]
    with torch.no_grad():
        parts = [network(*windows(held_out, places[i : i + 32])) for i in range(0, len(places), 32)]
    return torch.stack(parts).mean().item()


def main() -> None:
    """Run what is missing, print the losses and their differences."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("train", type=Path)
    parser.add_argument("held_out", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    words = parser.parse_args()
    texts = [
        torch.from_numpy(np.fromfile(path, np.uint8)) for path in (words.train, words.held_out)
    ]
    words.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    for seed in words.seeds:
        losses = []
        for residual in ("float32", "bf16"):
            file = words.out / f"{residual}-{seed}-{words.steps}.json"
            if not file.exists():
                with (
                    patch("torch.nn.functional.linear", product),
                    patch("model.gpt.attend_heads", attention),
                    patch("torch.is_autocast_enabled", lambda _: True),
                ):
                    file.write_text(json.dumps(train(residual, seed, words.steps, *texts)))
            losses.append(json.loads(file.read_text()))
        difference = losses[1] - losses[0]
        print(f"seed {seed}: float32 {losses[0]:.5f}, bf16 {losses[1]:.5f}: {difference:+.5f} nats")


if __name__ == "__main__":
    main()
