"""Log-likelihoods of given continuations, batched, the same on any number of ranks.

Shape key: B sequences of a batch, T positions, V vocabulary.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor

from model.gpt import GPT
from training.distributed import Ranks
from training.memory import Kind, small_pass_tokens


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
    network: GPT,
    requests: Sequence[Request],
    ranks: Ranks,
    autocast: Callable[[], AbstractContextManager[object]],
) -> list[Score]:
    """The score of each request, in order.

    A context too long loses its beginning. Batches are of like lengths, longest first, and dealt
    to the ranks in turn; padding stands behind, where no causal position sees it.
    """
    block_size = network.config.block_size
    for request in requests:
        assert request.context and 0 < len(request.target) <= block_size
    kind: Kind = "cuda" if ranks.device.type == "cuda" else "cpu"
    most = small_pass_tokens(network.config, kind)
    sums = [0.0] * len(requests)
    greedy = [0.0] * len(requests)
    for batch in _batches(requests, block_size, most)[ranks.rank :: ranks.world_size]:
        found = _score_batch(network, [requests[index] for index in batch], ranks.device, autocast)
        for index, (logprob, is_greedy) in zip(batch, found, strict=True):
            sums[index], greedy[index] = logprob, float(is_greedy)
    totals = ranks.sum(*sums, *greedy)  # each was scored by one rank; the others add 0
    sums, greedy = totals[: len(requests)], totals[len(requests) :]
    return [
        Score(logprob, was_greedy > 0.5, len(request.target))
        for logprob, was_greedy, request in zip(sums, greedy, requests, strict=True)
    ]


def _batches(requests: Sequence[Request], block_size: int, most: int) -> list[list[int]]:
    """Indices of the requests by falling length, `most` padded tokens a batch."""
    lengths = [
        min(len(request.context) + len(request.target) - 1, block_size) for request in requests
    ]
    order = sorted(range(len(requests)), key=lambda index: -lengths[index])
    batches = []
    while order:
        size = max(1, most // lengths[order[0]])
        batches.append(order[:size])
        order = order[size:]
    return batches


def _score_batch(
    network: GPT,
    requests: Sequence[Request],
    device: torch.device,
    autocast: Callable[[], AbstractContextManager[object]],
) -> list[tuple[float, bool]]:
    limit = network.config.block_size + 1
    whole = [(request.context + request.target)[-limit:] for request in requests]
    width = max(map(len, whole)) - 1
    tokens_BT = torch.zeros((len(whole), width), dtype=torch.int64)
    for row, ids in zip(tokens_BT, whole, strict=True):
        row[: len(ids) - 1] = torch.tensor(ids[:-1])
    with autocast():
        logits_BTV = network(tokens_BT.to(device))
    return [
        _judge(logits_TV[len(ids) - 1 - len(request.target) : len(ids) - 1], request.target)
        for logits_TV, ids, request in zip(logits_BTV, whole, requests, strict=True)
    ]


def _judge(logits_TV: Tensor, target: tuple[int, ...]) -> tuple[float, bool]:
    """Sum of the target's log-probabilities, and whether each is the largest of its row."""
    logprobs_TV = logits_TV.float().log_softmax(-1)
    target_T = torch.tensor(target, device=logits_TV.device)
    chosen_T = logprobs_TV.gather(-1, target_T[:, None])[:, 0]
    is_greedy = bool((logprobs_TV.argmax(-1) == target_T).all())
    return chosen_T.double().sum().item(), is_greedy
