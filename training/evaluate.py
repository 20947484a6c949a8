"""The held-out loss: one fixed set of windows, the same value on any number of ranks."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import numpy.typing as npt
import torch

from model.gpt import GPT
from training.distributed import Ranks
from training.memory import Kind, small_pass_tokens


@torch.no_grad()
def evaluate(
    model: GPT,
    windows: npt.NDArray[np.int64],
    ranks: Ranks,
    autocast: Callable[[], AbstractContextManager[object]],
) -> float:
    """Mean loss in nats per token over `windows` (k, T + 1).

    The windows are cut into chunks that do not depend on the ranks, dealt to the ranks in turn, and
    the chunks' sums are added in float64: which rank takes which changes the value by rounding at
    most. Draws no random number and leaves the model in training mode.
    """
    tokens_of_window = windows.shape[1] - 1
    kind: Kind = "cuda" if ranks.device.type == "cuda" else "cpu"
    size = max(1, small_pass_tokens(model.config, kind) // tokens_of_window)
    chunks = [windows[start : start + size] for start in range(0, len(windows), size)]
    model.eval()
    total = 0.0
    for chunk in chunks[ranks.rank :: ranks.world_size]:
        tokens_BT = torch.from_numpy(chunk[:, :-1]).to(ranks.device)
        targets_BT = torch.from_numpy(chunk[:, 1:]).to(ranks.device)
        with autocast():
            total += model(tokens_BT, targets_BT).item() * targets_BT.numel()
    model.train()
    [total] = ranks.sum(total)
    return total / (len(windows) * tokens_of_window)
