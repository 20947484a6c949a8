"""Each task's measures from its file are those of a slow evaluator that shares no code with it.

The slow one takes one question at a time, without batches or padding, asks the network for one
position at a time, and takes the softmax over all logits in float64.
"""

import json
import math
import os
import re
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch

import training.zero_shot.scoring
from data.tokenizer import load_encoder
from model.config import GPTConfig
from model.gpt import GPT
from tests.support.tiny_training import alone
from training.zero_shot.readers import read_hellaswag, read_passages, read_text
from training.zero_shot.scoring import score
from training.zero_shot.tasks import (
    Vocabulary,
    articles,
    detokenized,
    divide_articles,
    last_words,
    multiple_choice,
    running_text,
)

BLOCK = 24
TINY = GPTConfig(n_layer=2, n_head=2, n_embd=16, block_size=BLOCK, vocab_size=256, init_std=0.5)
BYTES = Vocabulary(lambda text: list(text.encode()), 0, BLOCK)
# Rows as the authors' file has them: with marks, and the context in two parts.
ROWS = [
    {"activity_label": "Roof work", "ctx_a": "A man is on it.", "ctx_b": "he Then", "label": 1,
     "ctx": "A man is on it. he Then", "endings": ["is off.", "starts.", "goes away now.", "si"]},
    {"activity_label": "Home", "ctx_a": "[header] How to eat [title] Sit. [step] Bite.",
     "ctx_b": "", "ctx": "[header] How to eat [title] Sit. [step] Bite.", "label": "0",
     "endings": ["Chew. [substeps] Swallow.", "Caf\u00e9 \u00e9\u00e9\u00e9.", "No", "Then stop."]},
    {"activity_label": "Run", "ctx_a": "They", "ctx_b": "", "ctx": "They", "label": 3,
     "endings": ["run", "r u n", "ran and ran and ran and ran on", "sit"]},
]  # fmt: skip
HARNESS = [  # the same by hand
    ("Roof work: A man is on it. He then", ["is off.", "starts.", "goes away now.", "si"], 1),
    ("Home: How to eat. Sit. Bite.", ["Chew. Swallow.", "Caf\u00e9 \u00e9\u00e9\u00e9.", "No",
                                       "Then stop."], 0),
    ("Run: They", ["run", "r u n", "ran and ran and ran and ran on", "sit"], 3),
]  # fmt: skip


@pytest.fixture(scope="module")
def network() -> GPT:
    return GPT(TINY, torch.Generator().manual_seed(3)).eval()


def slow_logprobs(network: GPT, context: Sequence[int], target: Sequence[int]):
    """log p of each target token and whether it is the likeliest; what is too old is forgotten.

    Once for a target that fits, as the harness does; else where half a window has been asked for.
    """
    ids, found, whole = list(context), [], len(context) + len(target)
    end = whole if len(target) <= BLOCK else max(BLOCK + 1, len(context) + BLOCK // 2)
    for token in target:
        if len(ids) == end:
            end += BLOCK // 2
        with torch.no_grad():
            logits = network(torch.tensor([ids[max(0, min(end, whole) - 1 - BLOCK) :]]))[0, -1]
        logits = logits.double().numpy()
        p = np.exp(logits - logits.max())
        found.append((math.log(p[token] / p.sum()), bool(p.argmax() == token)))
        ids.append(token)
    return found


def slow_choice(network: GPT, questions, length: Callable[[str], int] | None) -> float:
    right = 0
    for context, endings, label in questions:
        values = []
        for ending in endings:
            rows = slow_logprobs(network, context.encode(), f" {ending}".encode())
            values.append(sum(row[0] for row in rows) / (length(ending) if length else 1))
        right += int(np.argmax(values)) == label
    return right / len(questions)


def tokens(ending: str) -> int:
    """Bytes of an ending and its space."""
    return len(ending.encode()) + 1


def measures(network: GPT, task) -> dict[str, float]:
    return task.measures(score(network, task.requests, alone(), nullcontext))


def test_tasks_hellaswag_by_both_definitions(network, tmp_path) -> None:
    """Hellaswag by both definitions."""
    path = tmp_path / "hellaswag_val.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    asked = read_hellaswag(path, harness=True)
    assert [(q.context, list(q.answers), q.right) for q in asked] == HARNESS
    expected = {
        "acc": slow_choice(network, HARNESS, None),
        "acc_norm": slow_choice(network, HARNESS, len),
        "acc_norm_tokens": slow_choice(network, HARNESS, tokens),
    }
    assert measures(network, multiple_choice(asked, BYTES)) == expected
    plain = [(row["ctx"], row["endings"], int(row["label"])) for row in ROWS]
    asked = read_hellaswag(path, harness=False)
    assert [(q.context, list(q.answers), q.right) for q in asked] == plain
    found = measures(network, multiple_choice(asked, BYTES))
    assert found["acc"] == slow_choice(network, plain, None)
    assert found["acc_norm_tokens"] == slow_choice(network, plain, tokens)


def test_tasks_lambada(network, tmp_path) -> None:
    """Lambada."""
    with torch.no_grad():  # one passage whose last byte the network guesses
        best = max(range(33, 127), key=lambda byte: network(torch.tensor([[65, 32]]))[0, -1, byte])
    texts = ["It was the cat", "One, two, three", "a bc", f"A {chr(best)}", "x y z \u00e9t\u00e9"]
    path = tmp_path / "lambada_test_openai.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    nats, right = [], 0
    for text in texts:
        context, _, word = text.rpartition(" ")
        rows = slow_logprobs(network, context.encode(), f" {word}".encode())
        nats.append(-sum(row[0] for row in rows))
        right += all(row[1] for row in rows)
    found = measures(network, last_words(read_passages(path), BYTES))
    assert found["acc"] == right / len(texts)
    assert found["perplexity"] == pytest.approx(math.exp(np.mean(nats)), rel=1e-6)


WIKI = (
    ' \n = Valkyria 3 = \n \n The " game " was 2 @,@ 000 @.@ 5 words , well @-@ known : new . \n'
    " \n = = Play = = \n \n It ( 2010 ) had 's more ; one ! \n \n = Second page = \n \n = = = Deep "
    "= = = \n The N text \n"
)
TYPED = [
    '\n= Valkyria 3 =\n\nThe "game" was 2,000.5 words, well-known: new.\n\n== Play ==\n\n'
    "It (2010) had's more; one!\n\n",
    "= Second page =\n\n=== Deep ===\nThe 1 text\n",
]


def slow_text(network: GPT, text: str) -> float:
    """Nats of a text: blocks of targets, each after the token before; the last looks back."""
    ids = [0, *text.encode()]
    nats = 0.0
    for begin in range(1, len(ids), BLOCK):
        end = min(begin + BLOCK, len(ids))
        context = ids[max(0, end - 1 - BLOCK) : begin]
        nats -= sum(row[0] for row in slow_logprobs(network, context, ids[begin:end]))
    return nats


def test_tasks_wikitext_is_measured_by_article_and_word_as_distributed(network) -> None:
    """Wikitext is measured by article on the words as distributed."""
    pages = divide_articles(WIKI)
    assert "\n".join(pages) == WIKI.partition("\n")[2]
    typed = [detokenized(page) for page in pages]
    assert "".join(typed).split() == "".join(TYPED).split()
    nats = sum(slow_text(network, text) for text in typed)
    # By hand: 36 and 13 words; the first article ends in white space, and both begin with it.
    words = sum(len(page.split(" ")) for page in (re.sub(r"\s+", " ", page) for page in pages))
    size = sum(len(page.encode()) for page in pages)
    found = measures(network, articles(pages, BYTES))
    assert found["word_perplexity"] == pytest.approx(math.exp(nats / words), rel=1e-5)
    assert found["byte_perplexity"] == pytest.approx(math.exp(nats / size), rel=1e-6)
    assert found["bits_per_byte"] == pytest.approx(nats / math.log(2) / size, rel=1e-6)
    assert found["loss"] == pytest.approx(nats / sum(map(len, typed)), rel=1e-6)


def test_tasks_text_is_measured_as_it_is(network) -> None:
    """A text is measured as it is."""
    text = "Words  of \u00e9t\u00e9,\n and more words than one window has room for."
    nats, size = slow_text(network, text), len(text.encode())
    found = measures(network, running_text(text, BYTES))
    assert found == pytest.approx(
        {
            "loss": nats / size,
            "perplexity": math.exp(nats / size),
            "word_perplexity": math.exp(nats / 12),
            "byte_perplexity": math.exp(nats / size),
            "bits_per_byte": nats / math.log(2) / size,
        },
        rel=1e-5,
    )


def test_tasks_text_without_spaces_has_no_perplexity_by_word(network) -> None:
    """A text without spaces has no perplexity by word."""
    found = measures(network, running_text("\u6f22\u5b57" * 400, BYTES))
    assert found.keys() == {"loss", "perplexity", "byte_perplexity", "bits_per_byte"}


@pytest.mark.parametrize("tokens", [1, 3 * BLOCK, 10**6])
def test_tasks_do_not_depend_on_the_batch_size(network, monkeypatch, tokens) -> None:
    """The size of the batches changes nothing."""
    draws = torch.Generator().manual_seed(5)
    texts = [bytes(torch.randint(97, 123, (count,), generator=draws).tolist()) for count in
             torch.randint(2, 80, (30,), generator=draws)]  # fmt: skip
    tasks = [
        last_words([f"{text.decode()} word" for text in texts], BYTES),
        running_text(" ".join(text.decode() for text in texts), BYTES),
    ]
    expected = [measures(network, task) for task in tasks]
    monkeypatch.setattr(training.zero_shot.scoring, "safe_micro_batch_tokens", lambda *_: tokens)
    for task, before in zip(tasks, expected, strict=True):
        assert measures(network, task) == pytest.approx(before, rel=1e-6)


@pytest.mark.needs_reference
def test_tasks_wikitext_counts_what_the_harness_counts() -> None:
    """Wikitext counts what the harness counts.

    Its stored result of a dummy model holds the ratio of bytes to words, to 11 digits.
    """
    folder = Path(os.environ["DATA_DIR"]) / "eval"
    pages = divide_articles(read_text(folder / "wikitext2_test_raw.txt.xz"))
    assert len(pages) == 62
    task = articles(pages, Vocabulary(lambda text: [0], 0, BLOCK))
    found = task.measures([training.zero_shot.scoring.Score(-1.0, False, 1)] * len(task.requests))
    ratio = math.log(found["word_perplexity"]) / math.log(found["byte_perplexity"])
    # tests/testdata/wikitext-v1-res.json: word_perplexity 1.000118710696617, bits_per_byte
    # 3.202519859941674e-05.
    theirs = math.log(1.000118710696617) / (3.202519859941674e-05 * math.log(2))
    assert ratio == pytest.approx(theirs, rel=1e-10)


@pytest.mark.needs_reference
def test_tasks_encode_context_and_whole_as_llm_c_encodes_parts(monkeypatch) -> None:
    """The context and the whole are encoded as llmc encodes its parts.

    llm.c encodes context and " " + ending apart: on all of HellaSwag the ids are the same.
    """
    data = Path(os.environ["DATA_DIR"])
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(data / "tiktoken_cache"))
    encode = load_encoder("gpt2")
    questions = read_hellaswag(data / "eval" / "hellaswag_val.jsonl.xz", harness=False)[::10]
    gpt2 = Vocabulary(lambda text: encode(text).tolist(), 50256, 1024)
    requests = iter(multiple_choice(questions, gpt2).requests)
    for question in questions:
        context = tuple(encode(question.context).tolist())
        for answer in question.answers:
            request = next(requests)
            assert request.context == context
            assert request.target == tuple(encode(" " + answer).tolist())
