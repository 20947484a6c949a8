"""One update: the gradient of the mean loss over the global batch, clipped and applied.

Shape key: B sequences of a rank, T positions.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from training.instruments import Reading
from training.run import Run
from training.schedule import learning_rate


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
class Begun:
    """A step handed to the device, which may still be at work on it.

    `on_gpu` are its begin and end in a GPU's own time. `numbers` are the sums over ranks of the
    loss, the two wishes and the instruments' small square, the gradient's norm and, of a
    `reading`, the update's ratio; float64.
    """

    run: Run
    number: int
    lr: float
    start: float
    numbers: Tensor
    on_gpu: tuple[torch.cuda.Event, torch.cuda.Event] | None
    reading: Reading | None

    def result(self) -> Step:
        """Wait for the device and read what the step gave."""
        if self.on_gpu is not None:
            self.on_gpu[1].synchronize()
        total, stops, saves, small_squares, grad_norm, *ratio = self.numbers.tolist()
        run, now = self.run, time.perf_counter()
        seconds = now - max(self.start, run.seen_at)  # steps that overlap are counted once
        run.seen_at = now
        run.train_s += seconds
        if self.on_gpu is not None:  # two steps may be read at once
            seconds = self.on_gpu[0].elapsed_time(self.on_gpu[1]) / 1e3
        step = Step(
            number=self.number,
            loss=total / run.ranks.world_size,
            grad_norm=grad_norm,
            lr=self.lr,
            seconds=seconds,
            stop=stops > 0,
            save=saves > 0,
        )
        if self.reading is None or not step.is_finite:
            return step
        instruments = self.reading.values(run.noise, small_squares, grad_norm, *ratio)
        return replace(step, instruments=instruments)


def begin_step(run: Run, stop: bool = False, save: bool = False) -> Begun:
    """Hand step `run.step` to the device, its update included, without waiting for it.

    A NaN on any rank reaches all in the loss, and the update spoils all weights: whoever reads that
    ends the run. `stop` and `save` of any rank become those of all in the reduction that the loss
    needs anyway.
    """
    start, on_gpu = time.perf_counter(), None
    if run.ranks.device.type == "cuda":
        on_gpu = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        on_gpu[0].record()
    config = run.config
    lr = learning_rate(run.step, config.optimizer.lr, config.schedule)
    for group in run.optimizer.param_groups:
        group["lr"] = lr
    reading = run.reading()
    with reading.gradients() if reading else nullcontext():
        loss = accumulate_gradients(
            run.network, *run.batch(run.step), run.environment.micro_batch, run.autocast
        )
    norm = nn.utils.clip_grad_norm_(run.parameters, config.optimizer.grad_clip)
    sums = torch.zeros(4, dtype=torch.float64, device=loss.device)
    sums[0] = loss
    sums[1].fill_(stop)  # by a kernel's argument: no copy to wait for
    sums[2].fill_(save)
    if reading:
        sums[3] = reading.small_square()
    run.ranks.sum_in_place(sums)
    with reading.update() if reading else nullcontext():
        run.optimizer.step()
    run.optimizer.zero_grad(set_to_none=True)
    run.step += 1
    told = [norm, reading.update_ratio] if reading else [norm]
    numbers = torch.cat([sums, torch.stack(told).double()])
    if on_gpu is not None:
        numbers = numbers.to("cpu", non_blocking=True)  # into pinned memory
        on_gpu[1].record()
    run.prefetch()  # while the device works
    return Begun(run, run.step, lr, start, numbers, on_gpu, reading)


def train_step(run: Run, stop: bool = False, save: bool = False) -> Step:
    """`begin_step`, and wait for what it gives."""
    return begin_step(run, stop, save).result()


def train_steps(
    run: Run, stop: Callable[[], bool], save: Callable[[], bool], must_see: Callable[[int], bool]
) -> Iterator[Step]:
    """Take the steps that are left and tell of each: up to the last, or to one that ends the run.

    Where the device works behind the host (`run.is_behind`) a step is told of only when the next
    has been handed over, so that the device never waits. Not so where the caller must look first:
    after the step numbers of `must_see`, after the last, and after the step that follows one with a
    wish to stop or save. All ranks read the same numbers, hence begin the same steps.
    """
    behind: Begun | None = None
    steps = run.config.schedule.steps
    while run.step < steps:
        begun = begin_step(run, stop(), save())
        earlier = behind.result() if behind else None
        if earlier:
            yield earlier
        wish = earlier is not None and (earlier.stop or earlier.save)
        if run.is_behind and not wish and run.step < steps and not must_see(run.step):
            behind = begun
            continue
        behind = None
        step = begun.result()
        yield step
        if step.stop or (earlier and earlier.stop):
            return


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
            with nullcontext() if is_last else _alone(network):
                loss = network(part_BT, part_targets_BT) * (len(part_BT) / len(tokens_BT))
                with torch.autocast(tokens_BT.device.type, enabled=False):  # forward passes only
                    loss.backward()
            mean += loss.detach()
    return mean


def _alone(network: nn.Module) -> AbstractContextManager[object]:
    """Gradients of this rank only; DDP does not send them round."""
    return network.no_sync() if isinstance(network, DistributedDataParallel) else nullcontext()
