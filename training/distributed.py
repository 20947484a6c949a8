"""The ranks of one run: joining them, agreeing among them, and letting no one wait for ever.

Only plain numbers and JSON travel between ranks: a peer can never make another run code.
"""

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from configs.errors import BadInput, StopRequested
from training.config import RuntimeConfig, differing_fields
from training.process import end_with_parent


class RanksLost(RuntimeError):
    """Other ranks are gone or did not answer in time."""


@dataclass(frozen=True)
class Ranks:
    """This process among the `world_size` that train one model; `local_*`: on this machine."""

    rank: int
    world_size: int
    local_world_size: int
    device: torch.device
    timeout_s: float

    @property
    def is_main(self) -> bool:
        """Rank 0: the one that claims, writes and prints."""
        return self.rank == 0

    def sum(self, *values: float) -> list[float]:
        """The sums of `values` over all ranks, in float64; one reduction for all of them."""
        numbers = torch.tensor(values, dtype=torch.float64)
        if self.world_size > 1:
            numbers = numbers.to(self.device)
            self.sum_in_place(numbers)
        return numbers.tolist()

    def sum_in_place(self, numbers: torch.Tensor) -> None:
        """Replace a tensor on `device` by its sum over all ranks; a GPU does so in its own time."""
        if self.world_size > 1:
            self._wait("a sum", lambda: dist.all_reduce(numbers))

    def from_main(self, function: Callable[[], Any]) -> Any:
        """What `function` returns on rank 0 (JSON), on every rank; the others only wait.

        If it fails there it fails everywhere: BadInput with the same text, or RuntimeError.
        """
        if self.world_size == 1:
            return function()
        answer: dict[str, Any] = {}
        if self.is_main:
            try:
                answer = {"value": function()}
            except BadInput as error:
                answer = {"bad_input": str(error)}
            except BaseException as error:
                self._broadcast({"failed": repr(error)})
                raise
        answer = self._broadcast(answer)
        if "bad_input" in answer:
            raise BadInput(answer["bad_input"])
        if "failed" in answer:
            raise RuntimeError(f"rank 0 failed: {answer['failed']}")
        return answer["value"]

    def everywhere(self, function: Callable[[], Any]) -> Any:
        """Call `function` on every rank; if any raises BadInput, all raise the first rank's."""
        if self.world_size == 1:
            return function()
        value, error = None, None
        try:
            value = function()
        except BadInput as caught:
            error = str(caught)
        failed = self.sum(*(float(error is not None and r == self.rank) for r in self._all()))
        if not any(failed):
            return value
        first = failed.index(1.0)
        text = self._broadcast(error, source=first)
        raise BadInput(text if first == 0 else f"rank {first}: {text}")

    def require_same(self, what: str, value: str | dict[str, Any]) -> None:
        """Refuse to train where ranks differ in `what`: their config, their code or their data.

        `value`: text, or a mapping in JSON, of which the fields that differ are told.
        """
        expected = self.from_main(lambda: value)

        def compare() -> None:
            if isinstance(value, dict):
                if fields := differing_fields(expected, value):
                    raise BadInput(f"{what}: on rank 0 {'; '.join(fields)}")
            elif value != expected:
                raise BadInput(f"{what}: found {value}, expected {expected} as on rank 0")

        self.everywhere(compare)

    def _all(self) -> range:
        return range(self.world_size)

    def _broadcast(self, value: Any, source: int = 0) -> Any:
        """`value` of rank `source` as JSON bytes, on every rank."""
        data = json.dumps(value).encode() if self.rank == source else b""
        size = torch.tensor([len(data)], device=self.device)
        self._wait(f"rank {source}", lambda: dist.broadcast(size, source))
        content = torch.zeros(int(size), dtype=torch.uint8, device=self.device)
        if self.rank == source:
            content.copy_(torch.frombuffer(bytearray(data), dtype=torch.uint8))
        self._wait(f"rank {source}", lambda: dist.broadcast(content, source))
        return json.loads(bytes(content.tolist()))

    def _wait(self, what: str, collective: Callable[[], Any]) -> None:
        try:
            collective()
        except RuntimeError as error:
            raise RanksLost(
                f"rank {self.rank} of {self.world_size} lost the others while it waited for "
                f"{what} (limit: runtime.timeout_s={self.timeout_s:g}): {error}"
            ) from error


@contextmanager
def joined(runtime: RuntimeConfig) -> Iterator[Ranks]:
    """Join the ranks that torchrun or a worker started (RANK, WORLD_SIZE, ...), or run alone.

    gloo between CPUs, nccl between GPUs; every wait is limited by `runtime.timeout_s`.
    """
    rank, world_size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    device = choose_device(runtime.device, int(os.environ.get("LOCAL_RANK", 0)))
    local_world_size = int(os.environ.get("LOCAL_WORLD_SIZE", world_size))
    ranks = Ranks(rank, world_size, local_world_size, device, runtime.timeout_s)
    if world_size == 1:
        yield ranks
        return
    end_with_parent(signal.SIGTERM)
    dist.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        timeout=timedelta(seconds=runtime.timeout_s),
        device_id=device if device.type == "cuda" else None,
    )
    try:
        yield ranks
    except (BadInput, StopRequested):
        if device.type == "cpu":  # else gloo's threads may abort the process at its very end
            dist.destroy_process_group()
        raise
    # Not after an error: the others may be waiting in a collective, and this would wait for them.
    dist.destroy_process_group()


def choose_device(name: str, local_rank: int = 0) -> torch.device:
    """`auto`, `cpu` or `cuda` as a device; one GPU per local rank. BadInput if there is none."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return torch.device("cpu")
    count = torch.cuda.device_count()
    if local_rank >= count:
        raise BadInput(
            f"runtime.device: found {count} GPUs, expected at least {local_rank + 1}; "
            "start fewer ranks or say runtime.device=cpu"
        )
    device = torch.device("cuda", local_rank)
    torch.cuda.set_device(device)
    return device
