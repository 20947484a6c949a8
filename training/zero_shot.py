"""What a trained model can do unprompted: HellaSwag, LAMBADA, WikiText and any text file.

python -m training.zero_shot checkpoint=runs/gpt2 data=FOLDER tasks=[hellaswag,lambada,wikitext2]
python -m training.zero_shot checkpoint=gpt2 text=book.txt
torchrun --standalone --nproc_per_node=8 -m training.zero_shot checkpoint=runs/gpt2 data=FOLDER

checkpoint  a trial's folder, one checkpoint, a folder of Hugging Face form, or a name on the hub
data        folder with the tasks' files, each also .xz: hellaswag_val.jsonl (ctx, endings, label,
            activity_label), lambada_test_openai.jsonl (text), wikitext2_test_raw.txt,
            wikitext103_test_tokens.txt
tasks       hellaswag (the context that lm-evaluation-harness gives, its acc and acc_norm),
            hellaswag_llmc (the context and choice of llm.c: acc_norm_tokens), lambada, wikitext2,
            wikitext103
text        a text file instead: loss, perplexity, bits per byte
limit       the first so many questions or passages of a task; null: all
out         a JSON file for the results
tokenizer   folder with a learnt tokenizer.json, for a model over tokenizer bpe
"""

import sys
from collections.abc import Callable
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
# Published for OpenAI's weights: Radford et al. 2019, table 3 (de-tokenised text, so not quite the
# perplexities here); HellaSwag by lm-evaluation-harness and by llm.c's script.
PUBLISHED: dict[TaskName, str] = {
    "hellaswag": "GPT-2 by lm-evaluation-harness: 124M acc 0.2892, acc_norm 0.3114; "
    "1558M 0.4004, 0.5089",
    "hellaswag_llmc": "GPT-2 by llm.c: 124M acc 0.2859, acc_norm_tokens 0.2955; "
    "1558M 0.3842, 0.4893",
    "lambada": "GPT-2, table 3: 117M acc 0.4599, perplexity 35.13; 345M 0.5548, 15.60; "
    "762M 0.6012, 10.87; 1542M 0.6324, 8.63",
    "wikitext2": "GPT-2, table 3, perplexity by word: 117M 29.41; 345M 22.76; 762M 19.93; "
    "1542M 18.34",
    "wikitext103": "GPT-2, table 3, perplexity by word: 117M 37.50; 345M 26.37; 762M 22.05; "
    "1542M 17.48",
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


def evaluate_zero_shot(words: Words, ranks: Ranks) -> dict[str, dict[str, float]]:
    """The measures of each task; all files are read before anything is computed."""
    found = ranks.everywhere(lambda: read_pretrained(words.checkpoint))
    tasks = ranks.everywhere(lambda: _tasks(words, found))
    network = found.network().to(ranks.device)
    results = {}
    for name, task in tasks.items():
        scores = score(network, task.requests, ranks, _autocast(ranks.device))
        results[name] = task.measures(scores)
    return results


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
    return running_text(read_text(path), vocabulary)


def _file(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.xz"):
        if path.is_file():
            return path
    raise BadInput(f"data: {folder}: found no {name} or {name}.xz in it")


def _vocabulary(words: Words, found: Pretrained) -> Vocabulary:
    encode = load_encoder(found.tokenizer, Path(words.tokenizer) if words.tokenizer else None)
    known = vocabulary(found.tokenizer, found.config.vocab_size)
    if known.size != found.config.vocab_size:
        raise BadInput(
            f"checkpoint: {found.origin}: found a vocabulary of {found.config.vocab_size}, "
            f"expected {known.size} of the tokenizer {found.tokenizer}"
        )
    return Vocabulary(
        lambda text: encode(text).tolist(), known.end_of_text, found.config.block_size
    )


def table(results: dict[str, dict[str, float]]) -> str:
    """The results as text, each with what is published for GPT-2's weights."""
    lines = []
    for name, measures in results.items():
        values = ", ".join(f"{measure} {value:.4f}" for measure, value in measures.items())
        lines.append(f"{name:<16}{values}")
        if name in PUBLISHED:
            lines.append(f"{'':<16}({PUBLISHED[name]})")
    return "\n".join(lines)


def main(argv: list[str]) -> int:
    """Evaluate as `argv` says and print the results."""
    if not argv or argv[0] in ("-h", "--help"):
        print(__doc__)
        return ExitStatus.DONE if argv else ExitStatus.BAD_INPUT
    words = read_words(argv, Words)
    runtime = build(RuntimeConfig, compose_config("train")["runtime"] | {"device": words.device})
    with joined(runtime) as ranks:
        results = evaluate_zero_shot(words, ranks)
        if ranks.is_main:
            print(table(results))
            if words.out is not None:
                write_atomic(Path(words.out), to_json(results))
    return ExitStatus.DONE


if __name__ == "__main__":
    sys.exit(exit_status(lambda: main(sys.argv[1:])))
