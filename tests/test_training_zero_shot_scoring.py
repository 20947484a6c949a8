"""Scores equal a plain loop; measures are those worked out by hand; two ranks say what one says."""

import json
import math
import os
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from common.errors import BadInput
from model.config import GPTConfig
from model.gpt import GPT
from tests.support.tiny_training import alone
from training.zero_shot.readers import read_hellaswag, read_passages, read_text
from training.zero_shot.scoring import Request, Score, rolling, score
from training.zero_shot.tasks import (
    Choice,
    Vocabulary,
    continuation,
    last_words,
    multiple_choice,
    running_text,
)

TINY = GPTConfig(n_layer=2, n_head=2, n_embd=16, block_size=12, vocab_size=256, init_std=0.3)
BYTES = Vocabulary(lambda text: list(text.encode()), 0, 12)


@pytest.fixture(scope="module")
def network() -> GPT:
    return GPT(TINY, torch.Generator().manual_seed(0)).eval()


def plainly(network: GPT, request: Request) -> Score:
    """One token at a time, with the context that its window has.

    The window of a target that fits ends with it, as in the harness. Else the first ends with what
    fits beside the context, or half a window of targets, and each other half a window later.
    """
    ids, logprob, greedy = list(request.context), 0.0, True
    block, whole = TINY.block_size, len(request.context) + len(request.target)
    end = max(block + 1, len(ids) + block // 2) if len(request.target) > block else whole
    for token in request.target:
        end += block // 2 if len(ids) == end else 0
        with torch.no_grad():
            row = network(torch.tensor([ids[max(0, min(end, whole) - block - 1) :]]))[0, -1]
        row = row.double().log_softmax(-1)
        logprob += row[token].item()
        greedy &= int(row.argmax()) == token
        ids.append(token)
    return Score(logprob, greedy, len(request.target))


def test_scoring_equals_a_plain_loop(network):
    """Scores are those of a plain loop."""
    draws = torch.Generator().manual_seed(1)
    requests = []
    for _ in range(40):
        lengths = torch.randint(1, 30, (2,), generator=draws).tolist()
        ids = torch.randint(256, (sum(lengths),), generator=draws).tolist()
        requests.append(Request(tuple(ids[: lengths[0]]), tuple(ids[lengths[0] :])))
    edges = [(1, 12), (1, 13), (12, 13), (13, 13), (14, 12), (14, 40)]
    requests += [Request(tuple(range(c)), tuple(range(t))) for c, t in edges]
    with torch.no_grad():  # and one that greedy decoding gives
        best = int(network(torch.tensor([[65]]))[0, -1].argmax())
    requests.append(Request((65,), (best,)))
    found = score(network, requests, alone(), nullcontext)
    for request, got in zip(requests, found, strict=True):
        expected = plainly(network, request)
        assert got.logprob == pytest.approx(expected.logprob, abs=1e-4)
        assert (got.is_greedy, got.tokens) == (expected.is_greedy, expected.tokens)
    assert found[-1].is_greedy


@given(st.integers(1, 100), st.integers(1, 20))
def test_scoring_windows_ask_for_each_token_once_and_fit(count, block_size):
    """Rolling windows ask for each token once and fit."""
    tokens = list(range(1, count + 1))
    requests = rolling(tokens, 0, block_size)
    assert [token for request in requests for token in request.target] == tokens
    for request in requests:
        first = request.target[0]
        assert request.context == tuple(range(first - len(request.context), first))
        assert len(request.context) + len(request.target) <= block_size + 1
    last = requests[-1]
    assert len(last.context) + len(last.target) == min(count, block_size) + 1


@given(st.text("ab \n", max_size=20), st.text("ab c", min_size=1, max_size=6))
def test_scoring_context_and_target_make_up_the_text(context, word):
    """Context and target make up the text."""
    target = " " + word
    request = continuation(context, target, BYTES)
    before = bytes(request.context) if request.context != (0,) else b""
    assert before + bytes(request.target) == (context + target).encode()


def test_scoring_of_choices_equals_a_hand_computation():
    """Choices by hand.

    acc takes -2 of the short answer; per character and per token the long one wins.
    """
    questions = [Choice("Q", ("ab", "abcdefgh"), 1), Choice("Q", ("ab", "cd"), 0)]
    task = multiple_choice(questions, BYTES)
    assert [bytes(r.target) for r in task.requests] == [b" ab", b" abcdefgh", b" ab", b" cd"]
    scores = [Score(-2.0, False, 1), Score(-4.0, False, 4), Score(-1.0, False, 2),
              Score(-3.0, False, 2)]  # fmt: skip
    # Question 1: per character -1 against -0.5, per token -2 against -1.
    assert task.measures(scores) == {"acc": 0.5, "acc_norm": 1.0, "acc_norm_tokens": 1.0}


def test_scoring_of_last_words_equals_a_hand_computation():
    """Last words by hand."""
    task = last_words(["the cat sat", "on a mat"], BYTES)
    assert [bytes(r.target) for r in task.requests] == [b" sat", b" mat"]
    assert bytes(task.requests[0].context) == b"the cat"
    found = task.measures([Score(-1.0, True, 4), Score(-3.0, False, 4)])
    assert found == {"acc": 0.5, "perplexity": pytest.approx(math.exp(2))}


def test_scoring_of_an_ignorant_network_is_the_perplexity_of_its_vocabulary(network):
    """A network that knows nothing has the vocabularys perplexity."""
    blank = GPT(TINY, torch.Generator().manual_seed(0)).eval()
    with torch.no_grad():
        for parameter in blank.parameters():
            parameter.zero_()
    task = running_text("one two  three \u00e9\n" * 9, BYTES)
    found = task.measures(score(blank, task.requests, alone(), nullcontext))
    assert found["loss"] == pytest.approx(math.log(256), rel=1e-6)
    assert found["perplexity"] == pytest.approx(256, rel=1e-5)
    assert found["bits_per_byte"] == pytest.approx(8, rel=1e-6)
    per_word = len("one two  three \u00e9\n".encode()) / 4
    assert found["word_perplexity"] == pytest.approx(256**per_word, rel=1e-4)


def test_scoring_leaves_out_a_perplexity_beyond_all_floats():
    """A perplexity that no float holds is left out."""
    task = last_words(["a b"], BYTES)
    assert task.measures([Score(-800.0, False, 2)]) == {"acc": 0.0}


@pytest.mark.parametrize("line, complaint", [
    ("{", "x.jsonl:1: .* expected a line of JSON"),
    ("[1]", "x.jsonl:1: found no mapping"),
    ('{"ctx": "a", "endings": ["b"]}', "x.jsonl:1: label: found None, expected 0 to 0"),
    ('{"ctx": "a", "endings": ["b"], "label": 0}', "x.jsonl:1: activity_label: found None"),
    ('{"endings": ["b"], "label": 0}', "x.jsonl:1: ctx: found None"),
    ('{"ctx": null, "endings": ["b"], "label": 0}', "x.jsonl:1: ctx: found None"),
    ('{"ctx": "a", "endings": "bc", "label": 0}', "x.jsonl:1: endings: found 'bc'"),
    ('{"ctx": "a", "endings": [], "label": 0}', "x.jsonl:1: label: found 0"),
    ('{"ctx": "a", "activity_label": "c", "endings": ["b", ""], "label": 0}', r"endings\[1\]"),
    ('{"ctx": "a", "activity_label": "c", "endings": ["[x]", "b"], "label": 0}', r"endings\[0\]"),
    ('{"ctx": "\\ud800", "endings": ["b"], "label": 0}', "x.jsonl:1: .*surrogates"),
    ('{"ctx": "a", "activity_label": "c", "endings": ["b"], "label": 1}', "label: found 1"),
    ("", "found no text"),
])  # fmt: skip
def test_scoring_names_damaged_rows(tmp_path, line, complaint):
    """Damaged rows are named."""
    path = tmp_path / "x.jsonl"
    path.write_text(line)
    with pytest.raises(BadInput, match=complaint):
        read_hellaswag(path, harness=True)
    with pytest.raises(BadInput):
        read_passages(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match="expected UTF-8 text"):
        read_text(path)


def test_scoring_ends_a_row_where_json_lines_do(tmp_path):
    """A row ends where json lines do.

    str.splitlines would end it at separators that JSON leaves as they are.
    """
    texts = ["before\u2028after it", "one\x85 two"]
    rows = [json.dumps({"text": text}, ensure_ascii=False) for text in texts]
    path = tmp_path / "lambada_test_openai.jsonl"
    path.write_bytes("\r\n".join([*rows, ""]).encode())
    assert read_passages(path) == texts


@pytest.mark.needs_reference
def test_scoring_reads_the_real_sets_whole():
    """The real sets are read whole."""
    folder = Path(os.environ["DATA_DIR"]) / "eval"
    questions = read_hellaswag(folder / "hellaswag_val.jsonl.xz", harness=True)
    assert len(questions) == 10_042
    assert questions[0].context == "Roof shingle removal: A man is sitting on a roof. he"
    assert questions[0].answers[3] == "starts pulling up roofing on a roof."
    assert len(read_passages(folder / "lambada_test_openai.jsonl.xz")) == 5_153
    assert len(read_text(folder / "wikitext2_test_raw.txt.xz").encode()) == 1_290_590
