"""What a trained model can do unprompted: HellaSwag, LAMBADA, WikiText and any text file.

python -m training.zero_shot checkpoint=runs/gpt2 data=FOLDER tasks=[hellaswag,lambada,wikitext2]
python -m training.zero_shot checkpoint=gpt2 text=book.txt
torchrun --standalone --nproc_per_node=8 -m training.zero_shot checkpoint=runs/gpt2 data=FOLDER

checkpoint  a trial's folder, one checkpoint, a folder of Hugging Face form, or a name on the hub
data        folder with the tasks' files, each also .xz: hellaswag_val.jsonl (ctx_a, ctx_b, ctx,
            endings, label, activity_label), lambada_test_openai.jsonl (text),
            wikitext2_test_raw.txt, wikitext103_test_tokens.txt
tasks       hellaswag and lambada (lm-evaluation-harness's hellaswag and lambada_openai),
            hellaswag_llmc (the context and choice of llm.c: acc_norm_tokens), wikitext2 and
            wikitext103 (the harness's wikitext: by article, de-tokenised, per original word)
text        a text file instead, as it is: loss, perplexity, bits per byte
limit       the first so many questions, passages or articles of a task; null: all
out         a JSON file for the results
tokenizer   for a model over tokenizer bpe: folder with its tokenizer.json, which lies beside its
            shards (runtime.data_dir) and in an export of it, which needs none named
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from configs.errors import BadInput, ExitStatus, require_positive
from configs.files import to_json, write_atomic
from configs.load import build, compose_config, exit_status
from configs.words import read_words
from data.tokenizer import load_encoder, vocabulary
from model.pretrained import Pretrained, read_pretrained
from training.config import RuntimeConfig
from training.distributed import Ranks, joined
from training.scoring import score
from training.zero_shot_tasks import (
    Task,
    Vocabulary,
    articles,
    divide_articles,
    last_words,
    multiple_choice,
    read_hellaswag,
    read_passages,
    read_text,
    running_text,
)

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
class Words:
    """What the command line says (see the module)."""

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
    """Each task with its measures; all files are read before anything is computed."""
    found = ranks.everywhere(lambda: read_pretrained(words.checkpoint))
    tasks = ranks.everywhere(lambda: _tasks(words, found))
    network = found.network().to(ranks.device)
    for name, task in tasks.items():
        if ranks.is_main:
            print(f"{name}: {len(task.requests):,} continuations to score", file=sys.stderr)
        scores = score(network, task.requests, ranks, _autocast(ranks.device))
        yield name, task.measures(scores)


def _autocast(device: torch.device) -> Callable[[], AbstractContextManager[object]]:
    """bf16 on a GPU, float32 elsewhere."""
    return lambda: torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


def _tasks(words: Words, found: Pretrained) -> dict[str, Task]:
    vocabulary_here = _vocabulary(words, found)
    if words.text is not None:
        return {Path(words.text).name: running_text(read_text(Path(words.text)), vocabulary_here)}
    assert words.data is not None
    return {
        name: _task(name, _file(Path(words.data), FILES[name]), words.limit, vocabulary_here)
        for name in words.tasks
    }


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


def _vocabulary(words: Words, found: Pretrained) -> Vocabulary:
    folder = Path(words.tokenizer) if words.tokenizer else found.tokenizer_folder
    encode = load_encoder(found.tokenizer, folder, found.config.vocab_size)
    known = vocabulary(found.tokenizer, found.config.vocab_size)
    if known.size != found.config.vocab_size:
        raise BadInput(
            f"checkpoint: {found.origin}: found a vocabulary of {found.config.vocab_size}, "
            f"expected {known.size} of the tokenizer {found.tokenizer}"
        )
    return Vocabulary(
        lambda text: encode(text).tolist(), known.end_of_text, found.config.block_size
    )


def report(name: str, measures: dict[str, float]) -> str:
    """A task's measures as text, with what is published for GPT-2's weights."""
    values = ", ".join(f"{measure} {value:.4f}" for measure, value in measures.items())
    published = PUBLISHED.get(name, ())  # type: ignore[call-overload]
    return "\n".join([f"{name:<15} {values}", *(f"{'':<16}({line})" for line in published)])


def main(argv: list[str]) -> int:
    """Evaluate as `argv` says and print the results."""
    if not argv or argv[0] in ("-h", "--help"):
        print(__doc__)
        return ExitStatus.DONE if argv else ExitStatus.BAD_INPUT
    words = read_words(argv, Words)
    runtime = build(RuntimeConfig, compose_config("train")["runtime"] | {"device": words.device})
    with joined(runtime) as ranks:
        results = {}
        for name, measures in evaluate_zero_shot(words, ranks):
            results[name] = measures
            if ranks.is_main:
                print(report(name, measures), flush=True)
        if ranks.is_main and words.out is not None:
            write_atomic(Path(words.out), to_json(results))
    return ExitStatus.DONE


if __name__ == "__main__":
    sys.exit(exit_status(lambda: main(sys.argv[1:])))
