"""One update: the gradient of the mean loss over the global batch, clipped and applied.

Shape key: B sequences of a rank, T positions.
"""

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from training.device.backends import float64_device
from training.gradient_noise import GradientNoiseProbe
from training.schedule import learning_rate
from training.state import TrainState


@dataclass(frozen=True)
class Step:
    """What one step gave, equal on all ranks: loss before the update, norm before clipping.

    number       updates so far, this one included
    stop, save   whether any rank was asked to stop, or has a checkpoint due
    instruments  what its row of metrics gains where they were read
    """

    number: int
    loss: float
    grad_norm: float
    lr: float
    seconds: float
    stop: bool
    save: bool
    instruments: dict[str, float | None] = field(default_factory=dict)

    @property
    def is_finite(self) -> bool:
        """Whether the weights are still worth anything."""
        return math.isfinite(self.loss) and math.isfinite(self.grad_norm)


@dataclass
class PendingStep:
    """A step handed to the device, which may still be at work on it.

    `on_gpu` are its begin and end in a GPU's own time. `numbers` are the sums over ranks of the
    loss, the stop and save requests and the probe's small-batch square, the gradient's norm and, of
    a `probe`, the update's ratio; float64.
    """

    state: TrainState
    number: int
    lr: float
    start: float
    numbers: Tensor
    on_gpu: tuple[torch.cuda.Event, torch.cuda.Event] | None
    probe: GradientNoiseProbe | None

    def result(self) -> Step:
        """Wait for the device and read what the step gave."""
        if self.on_gpu is not None:
            with self.state.ranks.waiting("its GPU"):
                self.on_gpu[1].synchronize()
        total, stops, saves, small_squares, grad_norm, *ratio = self.numbers.tolist()
        state, now = self.state, time.perf_counter()
        seconds = now - max(self.start, state.last_read_s)  # steps that overlap are counted once
        state.last_read_s = now
        state.train_s += seconds
        if self.on_gpu is not None:  # two steps may be read at once
            seconds = self.on_gpu[0].elapsed_time(self.on_gpu[1]) / 1e3
        step = Step(
            number=self.number,
            loss=total / state.ranks.world_size,
            grad_norm=grad_norm,
            lr=self.lr,
            seconds=seconds,
            stop=stops > 0,
            save=saves > 0,
        )
        if self.probe is None or not step.is_finite:
            return step
        instruments = self.probe.values(state.noise, small_squares, grad_norm, *ratio)
        return replace(step, instruments=instruments)


StepFunction = Callable[[TrainState, bool, bool], PendingStep]


def begin_step(state: TrainState, stop: bool = False, save: bool = False) -> PendingStep:
    """Hand step `state.step` to the device, its update included, without waiting for it.

    A NaN on any rank reaches all in the loss, and the update spoils all weights: whoever reads that
    ends the run. `stop` and `save` of any rank become those of all in the reduction that the loss
    needs anyway.
    """
    start, on_gpu = time.perf_counter(), None
    if state.ranks.device.type == "cuda":
        on_gpu = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        on_gpu[0].record()
    config = state.config
    lr = learning_rate(state.step, config.optimizer.lr, config.schedule)
    for group in state.optimizer.param_groups:
        group["lr"] = lr * group.get("lr_scale", 1.0)  # of muP (training/optimizer.py)
    probe = state.noise_probe()
    with probe.gradients() if probe else nullcontext():
        loss = accumulate_gradients(
            state.network, *state.batch(state.step), state.environment.micro_batch, state.autocast
        )
    norm = gradient_norm(state.parameters, config.optimizer.grad_clip)
    sums = torch.zeros(4, dtype=torch.float64, device=float64_device(loss.device))
    sums[0] = loss
    sums[1].fill_(stop)  # by a kernel's argument: no copy to wait for
    sums[2].fill_(save)
    if probe:
        sums[3] = probe.small_square()
    state.ranks.sum_in_place(sums)
    with probe.update() if probe else nullcontext():
        state.optimizer.step()
    # On ranks the gradients are DDP's own memory: given up, the next step's would be held twice.
    state.optimizer.zero_grad(set_to_none=state.ranks.world_size == 1)
    state.step += 1
    further = [norm, probe.update_ratio] if probe else [norm]
    numbers = torch.cat([sums, torch.stack(further).to(sums.device).double()])
    if on_gpu is not None:
        numbers = numbers.to("cpu", non_blocking=True)  # into pinned memory
        on_gpu[1].record()
    state.prefetch()  # while the device works
    return PendingStep(state, state.step, lr, start, numbers, on_gpu, probe)


def gradient_norm(parameters: list[nn.Parameter], limit: float | None) -> Tensor:
    """The global norm of the gradients, which are scaled down to `limit` where there is one."""
    if limit is not None:
        return nn.utils.clip_grad_norm_(parameters, limit)
    return nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])


def accumulate_gradients(
    network: nn.Module,
    tokens_BT: Tensor,
    targets_BT: Tensor,
    micro_batch: int,
    autocast: Callable[[], AbstractContextManager[object]],
) -> Tensor:
    """Add the gradient of the mean loss, over B and over ranks, to the weights; the mean over B.

    Every part counts by its share of B, so an uneven last part changes nothing, and since all
    ranks have the same B the average that DDP takes is the mean over the global batch. Ranks meet
    only in the last part's backward pass.

    `autocast` is entered once, so that in eager mode its cache casts each weight once for all
    parts. A compiled graph casts in each of them: 6 bytes a weight, which for GPT-2 small is 0.75
    GB, or 0.2 ms at 4 TB/s, beside the 134 ms that 64 x 1024 tokens take on an H200 (arithmetic,
    not measured); a copy kept for it would have to be updated apart.
    """
    parts = list(zip(tokens_BT.split(micro_batch), targets_BT.split(micro_batch), strict=True))
    mean = torch.zeros((), device=tokens_BT.device)
    with autocast():
        for index, (part_BT, part_targets_BT) in enumerate(parts):
            is_last = index + 1 == len(parts)
            with nullcontext() if is_last else no_sync(network):
                loss = network(part_BT, part_targets_BT) * (len(part_BT) / len(tokens_BT))
                with torch.autocast(tokens_BT.device.type, enabled=False):  # forward passes only
                    loss.backward()
            mean += loss.detach()
    return mean


def no_sync(network: nn.Module) -> AbstractContextManager[object]:
    """Gradients of this rank only; DDP does not send them round."""
    return network.no_sync() if isinstance(network, DistributedDataParallel) else nullcontext()
