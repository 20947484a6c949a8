"""What a trained model can do unprompted: HellaSwag, LAMBADA, WikiText and any text file.

python -m training.zero_shot checkpoint=runs/gpt2 data=FOLDER tasks=[hellaswag,lambada,wikitext2]
python -m training.zero_shot checkpoint=gpt2 text=book.txt
torchrun --standalone --nproc_per_node=8 -m training.zero_shot checkpoint=runs/gpt2 data=FOLDER
next: docs/reproduce-124m.md
"""

import common.start  # noqa: F401

# isort: split
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from common.errors import BadInput, ExitStatus, require_positive
from common.files import require_new_file, to_json, write_new_file
from configs.cli import exit_status
from configs.help import asks_for_help, help_of_words
from configs.key_value import read_key_values
from configs.load import compose_config
from configs.schema import build
from data.tokenizer import Unencodable, load_encoder, vocabulary
from model.pretrained import Pretrained, read_pretrained
from training.config import RuntimeConfig
from training.ranks.distributed import Ranks, end_process, joined
from training.zero_shot.readers import read_hellaswag, read_passages, read_text
from training.zero_shot.scoring import score
from training.zero_shot.tasks import (
    FILES,
    PUBLISHED,
    Task,
    TaskName,
    Vocabulary,
    articles,
    divide_articles,
    last_words,
    multiple_choice,
    running_text,
)


@dataclass(frozen=True)
class Words:
    """What to evaluate, and on what.

    checkpoint  a trial's folder, one checkpoint, a folder of Hugging Face form, a file of llm.c,
                nanoGPT or build-nanogpt, or a name on the hub
    data        folder with the tasks' files, each also .xz: hellaswag_val.jsonl (ctx_a, ctx_b, ctx,
                endings, label, activity_label), lambada_test_openai.jsonl (text),
                wikitext2_test_raw.txt, wikitext103_test_tokens.txt
    tasks       hellaswag and lambada (lm-evaluation-harness's hellaswag and lambada_openai),
                hellaswag_llmc (the context and choice of llm.c: acc_norm_tokens), wikitext2 and
                wikitext103 (the harness's wikitext: by article, de-tokenised, per original word);
                an answer longer than the model's context counts whole, by windows of that length,
                each half a window after the last
    text        a text file instead, as it is: loss, perplexity, bits per byte
    limit       the first so many questions, passages or articles of a task; null: all
    out         a new JSON file for the results
    tokenizer   for a model over tokenizer bpe: folder with its tokenizer.json, which lies beside
                its shards (runtime.data_dir) and in an export of it, which needs none named
    device      auto, cpu, cuda or mps (untested)
    """

    checkpoint: str
    data: str | None = None
    tasks: tuple[TaskName, ...] = ("hellaswag", "lambada", "wikitext2")
    text: str | None = None
    limit: int | None = None
    out: str | None = None
    tokenizer: str | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        if (self.data is None) == (self.text is None):
            raise BadInput("data: give either data=FOLDER with the tasks' files, or text=FILE")
        if self.limit is not None:
            require_positive("zero_shot", self, "limit")
        if len(set(self.tasks)) < len(self.tasks) or not self.tasks:
            raise BadInput(f"tasks: found {list(self.tasks)}, expected one or more different tasks")


def evaluate_zero_shot(words: Words, ranks: Ranks) -> Iterator[tuple[str, dict[str, float]]]:
    """Each task with its measures; all files are read before anything is computed.

    BadInput where the weights give likelihoods that are no numbers.
    """
    found = ranks.on_all_ranks(lambda: read_pretrained(words.checkpoint, words.tokenizer))
    tasks = ranks.on_all_ranks(lambda: _tasks(words, found))
    network = found.network().to(ranks.device)
    if ranks.is_main and found.note:
        print(found.note, file=sys.stderr)
    for name, task in tasks.items():
        if ranks.is_main:
            print(f"{name}: {len(task.requests):,} continuations to score", file=sys.stderr)
        with _bar(name, ranks) as show:
            scores = score(network, task.requests, ranks, _autocast(ranks.device), show)
        if not all(math.isfinite(found.logprob) for found in scores):
            text = "found likelihoods that are no numbers, expected sound weights"
            raise BadInput(f"checkpoint: {words.checkpoint}: {text}")
        yield name, task.measures(scores)


@contextmanager
def _bar(name: str, ranks: Ranks) -> Iterator[Callable[[float], None]]:
    """Takes the share that is done and shows it on a terminal, with the time left."""
    if not (ranks.is_main and sys.stderr.isatty()):
        yield lambda done: None
        return
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn()
    with Progress(
        *columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True
    ) as bar:
        task = bar.add_task(name, total=1.0)
        yield lambda done: bar.update(task, completed=done)


def _autocast(device: torch.device) -> Callable[[], AbstractContextManager[object]]:
    """bf16 on a GPU, float32 elsewhere."""
    return lambda: torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


def _tasks(words: Words, found: Pretrained) -> dict[str, Task]:
    vocabulary_here = _vocabulary(found)
    if words.text is not None:
        path = Path(words.text)
        return {path.name: _made(lambda: running_text(read_text(path), vocabulary_here), path)}
    assert words.data is not None
    files = {name: _file(Path(words.data), FILES[name]) for name in words.tasks}
    return {
        name: _made(partial(_task, name, path, words.limit, vocabulary_here), path)
        for name, path in files.items()
    }


def _made(make: Callable[[], Task], path: Path) -> Task:
    """A task of the texts of a file; BadInput where one of them has no ids."""
    try:
        return make()
    except Unencodable as error:
        raise BadInput(f"{path}: found {error}") from error


def _task(name: TaskName, path: Path, limit: int | None, vocabulary: Vocabulary) -> Task:
    if name == "lambada":
        return last_words(read_passages(path)[:limit], vocabulary)
    if name in ("hellaswag", "hellaswag_llmc"):
        return multiple_choice(read_hellaswag(path, name == "hellaswag")[:limit], vocabulary)
    return articles(divide_articles(read_text(path))[:limit], vocabulary)


def _file(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.xz"):
        if path.is_file():
            return path
    if not folder.is_dir():
        found = "a file" if folder.exists() else "no such folder"
        raise BadInput(f"data: {folder}: found {found}, expected a folder with {name}")
    raise BadInput(
        f"data: {folder}: found no {name} or {name}.xz in it; put it there, or leave its task out, "
        "as tasks=[lambada]"
    )


def _vocabulary(found: Pretrained) -> Vocabulary:
    encode = load_encoder(found.tokenizer, found.own.file, found.config.vocab_size)
    known = vocabulary(found.tokenizer, found.config.vocab_size)
    if known.size != found.config.vocab_size:
        raise BadInput(
            f"checkpoint: {found.origin}: found a vocabulary of {found.config.vocab_size}, "
            f"expected {known.size} of the tokenizer {found.tokenizer}"
        )

    def ids(text: str) -> list[int]:
        try:
            return encode(text).tolist()
        except Unencodable as error:
            raise Unencodable(f"{error}, in the text that begins {text[:40]!r}") from error

    return Vocabulary(ids, known.end_of_text, found.config.block_size)


def report(name: str, measures: dict[str, float]) -> str:
    """A task's measures as text, with what is published for GPT-2's weights."""
    values = ", ".join(f"{measure} {value:.4f}" for measure, value in measures.items())
    published = PUBLISHED.get(name, ())  # type: ignore[call-overload]
    return "\n".join([f"{name:<15} {values}", *(f"{'':<16}({line})" for line in published)])


def main(argv: list[str]) -> int:
    """Evaluate as `argv` says and print the results."""
    if asks_for_help(argv):
        print(help_of_words(__doc__ or "", Words))
        return ExitStatus.DONE
    words = read_key_values(argv, Words)
    runtime = build(RuntimeConfig, compose_config("train")["runtime"] | {"device": words.device})
    with joined(runtime) as ranks:
        out = Path(words.out) if words.out is not None else None
        if out is not None:
            ranks.broadcast_from_rank0(lambda: require_new_file(out))
        results = {}
        for name, measures in evaluate_zero_shot(words, ranks):
            results[name] = measures
            if ranks.is_main:
                print(report(name, measures), flush=True)
        if ranks.is_main and out is not None:
            write_new_file(out, to_json(results))
    return ExitStatus.DONE


if __name__ == "__main__":
    end_process(exit_status(lambda: main(sys.argv[1:])))
