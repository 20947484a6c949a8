"""Zero-shot tasks: what is asked of a language model, and what its answers are worth.

Definitions are those of lm-evaluation-harness (version 1 of hellaswag and lambada_openai, version 2
of wikitext); llm.c's HellaSwag, by which GPT-2 reproductions are compared, is a task of its own.
Each task turns its data into requests, and the scores of those into measures.
"""

import json
import lzma
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.errors import BadInput
from training.scoring import Request, Score, rolling

Encode = Callable[[str], Sequence[int]]


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
    target_ids = whole[len(before) :]
    return Request(before or (vocabulary.start,), target_ids[-vocabulary.block_size :])


def multiple_choice(questions: Sequence[Choice], vocabulary: Vocabulary) -> Task:
    """acc: the answer of most log-likelihood; acc_norm: most per character of the answer;
    acc_norm_tokens: most per token, which is how llm.c's reproductions choose.
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
        mean = math.fsum(score.logprob for score in scores) / len(scores)
        return {
            "acc": sum(score.is_greedy for score in scores) / len(scores),
            "perplexity": math.exp(-mean),
        }

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
        # A text without white space is one word, whose perplexity may be more than a float holds.
        per_unit = {name: math.exp(nats / n) for name, n in units.items() if nats / n < 700}
        return {"loss": nats / count} | per_unit | {"bits_per_byte": nats / math.log(2) / size}

    requests = [
        request
        for tokens in encoded
        for request in rolling(tokens, vocabulary.start, vocabulary.block_size)
    ]
    return Task(tuple(requests), measures)


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


def read_hellaswag(path: Path, harness: bool) -> list[Choice]:
    """HellaSwag rows of ctx, endings and label, as they are (llm.c's way) or as the harness asks.

    That is with the activity before the context, whose second part (ctx_b, where the row has it)
    begins with a capital, and without the marks that WikiHow's pages left.
    """
    questions = []
    for where, row in read_json_lines(path):
        try:
            label, endings = int(row["label"]), tuple(map(str, row["endings"]))
            context = str(row["ctx"])
            if harness:
                if "ctx_b" in row:
                    context = f"{row['ctx_a']} {row['ctx_b'].capitalize()}"
                context = _without_marks(f"{row['activity_label']}: {context}")
                endings = tuple(map(_without_marks, endings))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise BadInput(f"{where}: {error!r}; expected ctx, endings and label") from None
        if not 0 <= label < len(endings):
            raise BadInput(f"{where}: label: found {label}, expected 0 to {len(endings) - 1}")
        questions.append(Choice(context, endings, label))
    return questions


def _without_marks(text: str) -> str:
    """Without [header], [step] and the like."""
    text = re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". "))
    return text.replace("  ", " ")


def read_passages(path: Path) -> list[str]:
    """LAMBADA passages, rows of {"text"}, each of two words or more."""
    passages = []
    for where, row in read_json_lines(path):
        text = row.get("text")
        if not isinstance(text, str) or " " not in text.strip():
            raise BadInput(f"{where}: text: found {text!r}, expected a passage of several words")
        passages.append(text.strip())
    return passages


def read_text(path: Path) -> str:
    """A text file, .xz too; BadInput where it is not UTF-8, or empty."""
    try:
        raw = path.read_bytes()
        text = (lzma.decompress(raw) if path.suffix == ".xz" else raw).decode()
    except (OSError, EOFError, lzma.LZMAError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: {error}; expected UTF-8 text") from None
    if not text.strip():
        raise BadInput(f"{path}: found no text")
    return text


def read_json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(file:line, row) of each line."""
    for number, line in enumerate(read_text(path).removesuffix("\n").split("\n"), 1):
        where = f"{path}:{number}"
        try:
            row = json.loads(line)
        except ValueError as error:
            raise BadInput(f"{where}: {error}; expected a line of JSON") from None
        if not isinstance(row, dict):
            raise BadInput(f"{where}: found no mapping")
        yield where, row
