"""Zero-shot tasks: what is asked of a language model, and what its answers are worth.

Definitions are those of lm-evaluation-harness (version 1 of hellaswag and lambada_openai, version 2
of wikitext); llm.c's HellaSwag, by which GPT-2 reproductions are compared, is a task of its own.
Each task turns its data into requests, and the scores of those into measures.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from common.errors import BadInput
from training.zero_shot.scoring import Request, Score, rolling

Encode = Callable[[str], Sequence[int]]
TaskName = Literal["hellaswag", "hellaswag_llmc", "lambada", "wikitext2", "wikitext103"]
FILES: dict[TaskName, str] = {
    "hellaswag": "hellaswag_val.jsonl",
    "hellaswag_llmc": "hellaswag_val.jsonl",
    "lambada": "lambada_test_openai.jsonl",
    "wikitext2": "wikitext2_test_raw.txt",
    "wikitext103": "wikitext103_test_tokens.txt",
}
# Published for OpenAI's weights, first by the definitions used here: by lm-evaluation-harness
# (HellaSwag: quoted in llm.c's dev/data/hellaswag.py; LAMBADA: its issues 2159 and 911; WikiText:
# transformers' issue 13761) and by llm.c. Table 3 of Radford et al. 2019 counts otherwise, with
# de-tokenisers of its own and, for LAMBADA's accuracy, a filter of stop words (section 3.3).
TABLE_3 = "not comparable: GPT-2's table 3,"
PUBLISHED: dict[TaskName, tuple[str, ...]] = {
    "hellaswag": (
        "GPT-2 by lm-evaluation-harness: 124M acc 0.2892, acc_norm 0.3114; 1558M 0.4004, 0.5089",
    ),
    "hellaswag_llmc": (
        "GPT-2 by llm.c: 124M acc 0.2859, acc_norm_tokens 0.2955; 1558M 0.3842, 0.4893",
    ),
    "lambada": (
        "GPT-2 by lm-evaluation-harness: 124M acc 0.3256, perplexity 40.06; 1558M perplexity 10.63",
        f"{TABLE_3} stop words filtered: 117M acc 0.4599, perplexity 35.13; 345M 0.5548, 15.60; "
        "762M 0.6012, 10.87; 1542M 0.6324, 8.63",
    ),
    "wikitext2": (
        "GPT-2 by lm-evaluation-harness: 124M word_perplexity 37.37",
        f"{TABLE_3} another de-tokeniser: 117M 29.41; 345M 22.76; 762M 19.93; 1542M 18.34",
    ),
    "wikitext103": (
        f"{TABLE_3} another de-tokeniser: 117M 37.50; 345M 26.37; 762M 22.05; 1542M 17.48",
    ),
}


@dataclass(frozen=True)
class Vocabulary:
    """How text becomes ids here; `start` stands where there is no context."""

    encode: Encode
    start: int
    block_size: int


@dataclass(frozen=True)
class Choice:
    """A question: its context, the answers that may follow, and which of them is right."""

    context: str
    answers: tuple[str, ...]
    right: int


@dataclass(frozen=True)
class Task:
    """Requests, and what their scores come to: {measure: value}."""

    requests: tuple[Request, ...]
    measures: Callable[[Sequence[Score]], dict[str, float]]


def continuation(context: str, target: str, vocabulary: Vocabulary) -> Request:
    """The request for `target` after `context`, divided as tokens where the text is divided.

    Whole and context are encoded, so that a space before the target goes with the target's token,
    as in GPT-2's training text (lm-evaluation-harness's _encode_pair).
    """
    spaces = len(context) - len(context.rstrip())
    if spaces:
        context, target = context[:-spaces], context[-spaces:] + target
    before = tuple(vocabulary.encode(context))
    whole = tuple(vocabulary.encode(context + target))
    if len(whole) <= len(before):
        raise BadInput(f"tokenizer: found no token for {target!r} after {context[-40:]!r}")
    return Request(before or (vocabulary.start,), whole[len(before) :])


def multiple_choice(questions: Sequence[Choice], vocabulary: Vocabulary) -> Task:
    """acc: the answer of most log-likelihood; acc_norm: most per character of the answer;
    acc_norm_tokens: most per token, which is how llm.c's reproductions choose.

    All of an answer counts, longer than the network's context or not.
    """
    requests = [
        continuation(question.context, " " + answer, vocabulary)
        for question in questions
        for answer in question.answers
    ]

    def measures(scores: Sequence[Score]) -> dict[str, float]:
        right = {"acc": 0, "acc_norm": 0, "acc_norm_tokens": 0}
        rest = iter(scores)
        for question in questions:
            mine = [next(rest) for _ in question.answers]
            lengths = [len(answer) for answer in question.answers]
            values = {
                "acc": [score.logprob for score in mine],
                "acc_norm": [s.logprob / n for s, n in zip(mine, lengths, strict=True)],
                "acc_norm_tokens": [score.logprob / score.tokens for score in mine],
            }
            for name, value in values.items():
                right[name] += value.index(max(value)) == question.right
        return {name: count / len(questions) for name, count in right.items()}

    return Task(tuple(requests), measures)


def last_words(passages: Sequence[str], vocabulary: Vocabulary) -> Task:
    """LAMBADA: the last word of each passage. acc: greedy decoding gives all of its tokens;
    perplexity: exp of the mean over words of minus the word's log-likelihood.
    """
    divided = [passage.rsplit(" ", 1) for passage in passages]
    requests = [continuation(context, " " + word, vocabulary) for context, word in divided]

    def measures(scores: Sequence[Score]) -> dict[str, float]:
        nats = -math.fsum(score.logprob for score in scores)
        acc = sum(score.is_greedy for score in scores) / len(scores)
        return {"acc": acc} | _perplexities(nats, {"perplexity": len(scores)})

    return Task(tuple(requests), measures)


def running_text(text: str, vocabulary: Vocabulary) -> Task:
    """The likelihood of a whole text; words are what white space parts."""
    return _likelihood([text], len(text.split()), len(text.encode()), vocabulary)


def articles(pages: Sequence[str], vocabulary: Vocabulary) -> Task:
    """WikiText's articles, each de-tokenised and asked for by itself.

    Words and bytes are counted before de-tokenising; a white space at either end of an article adds
    an empty word, as in the harness.
    """
    words = sum(len(re.split(r"\s+", page)) for page in pages)
    size = sum(len(page.encode()) for page in pages)
    return _likelihood([detokenized(page) for page in pages], words, size, vocabulary)


def _likelihood(texts: Sequence[str], words: int, size: int, vocabulary: Vocabulary) -> Task:
    """Nats per token; perplexity per token, word and byte; bits per byte."""
    encoded = [vocabulary.encode(text) for text in texts]
    count = sum(map(len, encoded))

    def measures(scores: Sequence[Score]) -> dict[str, float]:
        nats = -math.fsum(score.logprob for score in scores)
        units = {"perplexity": count, "word_perplexity": words, "byte_perplexity": size}
        perplexities = _perplexities(nats, units)
        return {"loss": nats / count} | perplexities | {"bits_per_byte": nats / math.log(2) / size}

    requests = [
        request
        for tokens in encoded
        for request in rolling(tokens, vocabulary.start, vocabulary.block_size)
    ]
    return Task(tuple(requests), measures)


def _perplexities(nats: float, units: dict[str, int]) -> dict[str, float]:
    """exp of nats per unit; left out where that is more than a float holds.

    A text without white space is one word, say.
    """
    return {name: math.exp(nats / count) for name, count in units.items() if nats / count < 700}


# What the harness undoes of WikiText's tokenisation, in its order.
_DETOKENIZING = [
    (r"s '", "s'"),
    (r" @([-,.])@ ", r"\1"),
    *((f" {re.escape(mark)} ", f"{mark} ") for mark in ":;.!?,"),
    (r"\(\s*([^\)]*?)\s*\)", r"(\1)"),
    (r"\[\s*([^\]]*?)\s*\]", r"[\1]"),
    (r"{\s*([^}]*?)\s*}", r"{\1}"),
    (r"\"\s*([^\"]*?)\s*\"", r'"\1"'),
    (r"'\s*([^']*?)\s*'", r"'\1'"),
    *(("= " * count + "=", "=" * (count + 1)) for count in (3, 2, 1)),
    (" \u00b0 ", "\u00b0"),
    (" \n", "\n"),
    ("\n ", "\n"),
    (" N ", " 1 "),
    (" 's", "'s"),
]


def detokenized(page: str) -> str:
    """An article of WikiText as it would have been typed, by the harness's rules."""
    for pattern, replacement in _DETOKENIZING:
        page = re.sub(pattern, replacement, page)
    return page


def divide_articles(text: str) -> list[str]:
    """A file of WikiText cut before each heading of the first level, " = Title = "."""
    pages: list[list[str]] = [[]]
    for line in text.split("\n"):
        if re.fullmatch(r"= (?!= ).*(?<! =) =", line.strip()):
            pages.append([])
        pages[-1].append(line)
    joined = ["\n".join(page) for page in pages]
    return [page for page in joined if page.strip()]
