"""The held-out loss: one fixed set of windows, the same value on any number of ranks."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from model.network import Network
from training.device.backends import float64_device
from training.device.memory import (
    Computation,
    evaluation_tokens,
    parts,
    safe_micro_batch_tokens,
)
from training.ranks.distributed import Ranks
from training.state import TrainState


@torch.no_grad()
def evaluate(
    model: Network,
    windows: npt.NDArray[np.int64],
    ranks: Ranks,
    autocast: Callable[[], AbstractContextManager[object]],
    forward: Callable[[Tensor, Tensor], Tensor] | None = None,
    micro_batch_tokens: int | None = None,
    losses_T: Tensor | None = None,
) -> float:
    """Mean loss in nats per token over `windows` (k, T + 1); `forward` is the model, compiled.

    At most `micro_batch_tokens` go through it at once; None: so many as any machine holds. The
    windows are cut into chunks that do not depend on the ranks, equal ones where that costs little,
    since each size is compiled anew. They are dealt to the ranks in turn and their sums are added
    in float64: which rank takes which changes the value by rounding at most. Draws no random number
    and leaves the model in training mode.

    `losses_T`, in float64 on the CPU, receives the mean loss at each position; not compiled.
    """
    tokens_of_window = windows.shape[1] - 1
    most = micro_batch_tokens or safe_micro_batch_tokens(model.config, ranks.kind)
    size = parts(len(windows), most // tokens_of_window)
    chunks = [windows[start : start + size] for start in range(0, len(windows), size)]
    forward = model if forward is None else forward
    model.eval()
    place = float64_device(ranks.device)
    sums = torch.zeros((), dtype=torch.float64, device=place)  # read once, at the end
    sums_T = torch.zeros(tokens_of_window, dtype=torch.float64, device=place)
    for chunk in chunks[ranks.rank :: ranks.world_size]:
        tokens_BT = torch.from_numpy(chunk[:, :-1]).to(ranks.device)
        targets_BT = torch.from_numpy(chunk[:, 1:]).to(ranks.device)
        with autocast():
            if losses_T is None:
                loss = forward(tokens_BT, targets_BT)
            else:
                loss, losses_BT = model.loss_by_position(tokens_BT, targets_BT)
                sums_T += losses_BT.to(place).double().sum(0)
        sums += loss.to(place).double() * targets_BT.numel()
        ranks.mark_progress()
    model.train()
    by_position = [] if losses_T is None else sums_T.tolist()
    total, *by_position = ranks.sum(sums.item(), *by_position)
    if losses_T is not None:
        losses_T.copy_(torch.tensor(by_position, dtype=torch.float64) / len(windows))
    return total / (len(windows) * tokens_of_window)


def by_distance(losses_T: Tensor) -> tuple[tuple[int, float], ...]:
    """Mean losses of ranges of positions, each by its last: two to a doubling of the context.

    Positions count from 1, the first that a token is predicted at. For figure 7 of Kaplan et al.
    2020 (2001.08361), whose axis is logarithmic.
    """
    positions = len(losses_T)
    lasts = {p for k in range(positions.bit_length()) for p in (2**k, 3 * 2**k // 2)}
    edges = sorted({p for p in lasts if p < positions} | {positions})
    starts = [0, *edges[:-1]]
    return tuple(
        (last, losses_T[first:last].mean().item())
        for first, last in zip(starts, edges, strict=True)
    )


def held_out_loss(state: TrainState) -> float:
    """Nats per token on the held-out windows, in the precision of training.

    After the last step also those by position in context, into `state.loss_by_position`.

    Where the model is compiled and evaluations recur they are compiled too, which a single one
    would not repay. By published rates (490k tokens/s on an H200, 1.5 to 1.9 times those of eager
    mode) 10 million tokens of GPT-2 small every 250 steps of half a million then take 2.7% of the
    time and not 4 to 5%; not measured here.
    """
    forward = None
    if state.environment.compile and state.config.runtime.evaluate_every_steps:
        network = state.network  # DDP would cut the graph for its backward pass
        forward = network.module if isinstance(network, DistributedDataParallel) else network
    is_last = state.step == state.config.schedule.steps
    losses_T = torch.zeros(state.config.model.block_size, dtype=torch.float64)

    def loss(forward: Callable[[Tensor, Tensor], Tensor] | None, apart: bool) -> float:
        return evaluate(
            state.model,
            state.data.windows,
            state.ranks,
            state.autocast,
            forward,
            _micro_batch_tokens(state, forward is not None),
            losses_T if apart else None,
        )

    found = loss(forward, is_last and forward is None)
    if is_last:
        if forward is not None:  # no graph has them
            loss(None, True)
        state.loss_by_position = by_distance(losses_T)
    return found


def _micro_batch_tokens(state: TrainState, compiled: bool) -> int:
    """Tokens of a micro-batch of an evaluation; equal on all ranks, as that of training is."""
    environment, kind = state.environment, state.ranks.kind
    precision = state.config.precision
    return evaluation_tokens(
        state.config.model,
        environment.micro_batch,
        environment.head,
        Computation(precision, environment.compile, kind),
        Computation(precision, compiled, kind),
    )
