"""Log-likelihoods of given continuations, batched, the same on any number of ranks.

Shape key: B sequences of a batch, T positions, V vocabulary.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from model.network import Network
from training.device.memory import safe_micro_batch_tokens
from training.ranks.distributed import Ranks


@dataclass(frozen=True)
class Request:
    """Token ids of a context, never empty, and of the continuation that is asked about."""

    context: tuple[int, ...]
    target: tuple[int, ...]


@dataclass(frozen=True)
class Score:
    """log p(target | context) in nats, and whether greedy decoding would have given the target."""

    logprob: float
    is_greedy: bool
    tokens: int


def rolling(tokens: Sequence[int], start: int, block_size: int) -> list[Request]:
    """Requests that ask for every token once, each in one window of `block_size` targets at most.

    The first has `start` (end-of-text) for its context, each other the token before, the last as
    much as fits: lm-evaluation-harness's rolling windows with a context of one.
    """
    whole = (start, *tokens)
    requests = []
    for begin in range(1, len(whole), block_size):
        end = min(len(whole), begin + block_size)
        requests.append(Request(whole[max(0, end - block_size - 1) : begin], whole[begin:end]))
    return requests


@torch.no_grad()
def score(
    network: Network,
    requests: Sequence[Request],
    ranks: Ranks,
    autocast: Callable[[], AbstractContextManager[object]],
    show: Callable[[float], None] = lambda done: None,
) -> list[Score]:
    """The score of each request, in order.

    A context too long loses its beginning, never a target: one longer than the network's context
    is asked for in several windows (`_windows`). Batches are of like lengths, longest first, and
    dealt to the ranks in turn; padding stands behind, where no causal position sees it. `show` is
    told after each batch what share of them is done.
    """
    block_size = network.config.block_size
    windows = [
        window
        for index, request in enumerate(requests)
        for window in _windows(index, len(request.context), len(request.target), block_size)
    ]
    most = safe_micro_batch_tokens(network.config, ranks.kind)
    sums = [0.0] * len(requests)
    misses = [0.0] * len(requests)
    batches = _batches(windows, most)[ranks.rank :: ranks.world_size]
    for done, batch in enumerate(batches, 1):
        asked = [(window.cut(requests[window.request]), window.targets) for window in batch]
        found = _score_batch(network, asked, ranks.device, autocast)
        for window, (logprob, is_greedy) in zip(batch, found, strict=True):
            sums[window.request] += logprob
            misses[window.request] += not is_greedy
        show(done / len(batches))
    totals = ranks.sum(*sums, *misses)  # each was scored by one rank; the others add 0
    sums, misses = totals[: len(requests)], totals[len(requests) :]
    return [
        Score(logprob, missed == 0, len(request.target))
        for logprob, missed, request in zip(sums, misses, requests, strict=True)
    ]


class Window(NamedTuple):
    """Ids `begin` to `end` of a request, its context and target as one; the last are asked for."""

    request: int
    begin: int
    end: int
    targets: int

    def cut(self, request: Request) -> tuple[int, ...]:
        """The ids of this window."""
        before = len(request.context)
        context = request.context[self.begin : self.end]
        return context + request.target[max(0, self.begin - before) : max(0, self.end - before)]


def _windows(request: int, context: int, target: int, block_size: int) -> Iterator[Window]:
    """Windows that ask for each of `target` ids once: one, where they fit it.

    Else several full ones, each of which asks for half a window of ids or, the first, for what the
    context leaves, so that each id is seen with half a window before it at least. (One id at a time
    would have all of it, and take `block_size` / 2 times as long.)
    """
    assert context and target
    whole, limit, half = context + target, block_size + 1, max(1, block_size // 2)
    end = whole if target <= block_size else max(limit, context + half)
    asked = context
    while asked < whole:
        yield Window(request, max(0, end - limit), end, end - asked)
        asked, end = end, min(whole, end + half)


def _batches(windows: list[Window], most: int) -> list[list[Window]]:
    """The windows by falling length, `most` padded tokens a batch."""
    order = sorted(windows, key=lambda window: window.begin - window.end)
    batches, start = [], 0
    while start < len(order):
        size = max(1, most // (order[start].end - order[start].begin - 1))
        batches.append(order[start : start + size])
        start += size
    return batches


def _score_batch(
    network: Network,
    asked: Sequence[tuple[tuple[int, ...], int]],
    device: torch.device,
    autocast: Callable[[], AbstractContextManager[object]],
) -> list[tuple[float, bool]]:
    width = max(len(ids) for ids, _ in asked) - 1
    tokens_BT = torch.zeros((len(asked), width), dtype=torch.int64)
    for row, (ids, _) in zip(tokens_BT, asked, strict=True):
        row[: len(ids) - 1] = torch.tensor(ids[:-1])
    with autocast():
        logits_BTV = network(tokens_BT.to(device))
    return [
        _judge(logits_TV[len(ids) - 1 - targets : len(ids) - 1], ids[-targets:])
        for logits_TV, (ids, targets) in zip(logits_BTV, asked, strict=True)
    ]


def _judge(logits_TV: Tensor, target: tuple[int, ...]) -> tuple[float, bool]:
    """Sum of the target's log-probabilities, and whether each is the largest of its row."""
    logprobs_TV = logits_TV.float().log_softmax(-1)
    target_T = torch.tensor(target, device=logits_TV.device)
    chosen_T = logprobs_TV.gather(-1, target_T[:, None])[:, 0]
    is_greedy = bool((logprobs_TV.argmax(-1) == target_T).all())
    return chosen_T.cpu().double().sum().item(), is_greedy
