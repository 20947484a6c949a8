"""The held-out loss: one fixed set of windows, the same value on any number of ranks."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.gpt import GPT
from training.distributed import Ranks
from training.memory import Kind, parts, small_pass_tokens


@torch.no_grad()
def evaluate(
    model: GPT,
    windows: npt.NDArray[np.int64],
    ranks: Ranks,
    autocast: Callable[[], AbstractContextManager[object]],
    forward: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> float:
    """Mean loss in nats per token over `windows` (k, T + 1); `forward` is the model, compiled.

    The windows are cut into chunks that do not depend on the ranks, equal ones where that costs
    little, since each size is compiled anew. They are dealt to the ranks in turn and their sums are
    added in float64: which rank takes which changes the value by rounding at most. Draws no random
    number and leaves the model in training mode.
    """
    tokens_of_window = windows.shape[1] - 1
    kind: Kind = "cuda" if ranks.device.type == "cuda" else "cpu"
    size = parts(len(windows), small_pass_tokens(model.config, kind) // tokens_of_window)
    chunks = [windows[start : start + size] for start in range(0, len(windows), size)]
    forward = model if forward is None else forward
    model.eval()
    sums = torch.zeros((), dtype=torch.float64, device=ranks.device)  # read once, at the end
    for chunk in chunks[ranks.rank :: ranks.world_size]:
        tokens_BT = torch.from_numpy(chunk[:, :-1]).to(ranks.device)
        targets_BT = torch.from_numpy(chunk[:, 1:]).to(ranks.device)
        with autocast():
            loss = forward(tokens_BT, targets_BT)
        sums += loss.double() * targets_BT.numel()
    model.train()
    [total] = ranks.sum(sums.item())
    return total / (len(windows) * tokens_of_window)
