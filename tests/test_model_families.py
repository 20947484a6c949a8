"""A shape has what its family has, and what goes without saying names no trial."""

from dataclasses import replace
from typing import Any

import pytest

from common.errors import BadInput
from model.config import GPTConfig

GPT2 = GPTConfig(2, 2, 16, 16, 256, 0.1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"family": "rnn"}, "model.family: found 'rnn', expected one of gpt2, llama, lstm"),
        (
            {"n_kv_head": 1},
            "model.n_kv_head: found 1 with model.family gpt2, expected null: it is a field of",
        ),
        (
            {"tied_head": False},
            "model.tied_head: found false with model.family gpt2, expected true: it is a field of",
        ),
        ({"family": "llama", "n_kv_head": 3}, "model.n_kv_head: found 3, expected a divisor of"),
        ({"family": "llama", "n_kv_head": 0}, "model.n_kv_head: found 0, expected a divisor of"),
        ({"family": "llama", "n_inner": 0}, "model.n_inner: found 0, expected more than 0"),
        (
            {"family": "llama", "n_head": 16},
            "model.n_head: found heads of 1, expected heads of a multiple of 2 with model.family",
        ),
        ({"n_head": 0}, "model.n_head: found 0, expected more than 0"),
        (
            {"family": "lstm"},
            "model.n_head: found 2 with model.family lstm, expected 0: it is a field of gpt2 and",
        ),
        (
            {"family": "lstm", "n_head": 0, "residual": "bf16"},
            "model.residual: found bf16 with model.family lstm, expected float32: it is a field of",
        ),
    ],
)
def test_families_refuse_the_fields_of_others(changes: dict[str, Any], message: str) -> None:
    """One line: the field, what was found, what this family takes."""
    with pytest.raises(BadInput) as refusal:
        replace(GPT2, **changes)
    assert str(refusal.value).startswith(message) and "\n" not in str(refusal.value)


def test_families_leave_gpt2_unsaid() -> None:
    """Of GPT-2 nothing is said; of another what differs from it."""
    assert GPT2.variant == {} and "family" in GPT2.unsaid
    llama = replace(GPT2, family="llama", tied_head=False)
    assert llama.variant == {"family": "llama", "tied_head": False}
    assert not set(llama.variant) & set(llama.unsaid)


def test_families_change_into_one_another() -> None:
    """What an architecture lacks is left out; an unknown one is refused."""
    shared = replace(GPT2, family="llama", n_kv_head=1, residual="bf16")
    lstm = shared.as_family("lstm")
    assert (lstm.n_layer, lstm.n_embd, lstm.n_head, lstm.n_kv_head) == (2, 16, 0, None)
    assert shared.as_family("gpt2") == replace(GPT2, residual="bf16")
    assert GPT2.as_family("llama") == replace(GPT2, family="llama")
    with pytest.raises(BadInput, match="model.family: found 'mamba'"):
        GPT2.as_family("mamba")
