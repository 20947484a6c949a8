"""Weights from wherever they are kept, and out into Hugging Face form.

python -m model.pretrained export checkpoint=runs/gpt2 out=exported     for transformers
python -m model.pretrained import checkpoint=gpt2 out=released          a checkpoint of ours

`checkpoint` is a trial's folder (its newest checkpoint), one checkpoint, a folder with config.json
and model.safetensors, a model's .bin of llm.c, or the name of a model on the Hugging Face hub
(gpt2, gpt2-medium, gpt2-large, gpt2-xl). `tokenizer=FOLDER` puts the learnt tokenizer.json of that
folder beside the weights; one that lies beside those that are read goes along by itself.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from configs.errors import BadInput, ExitStatus
from configs.files import whole_folder
from configs.load import build, exit_status
from configs.words import read_words
from model import hugging_face, llm_c
from model.config import GPTConfig
from model.gpt import GPT
from model.sealed import read_sealed, write_sealed

NEWEST = "attempt-*/checkpoints/step-*"


@dataclass(frozen=True)
class Pretrained:
    """Weights on the CPU, as `GPT.load_state_dict` takes them, and what is known of them.

    tokenizer   bytes, gpt2 or bpe
    origin      the folder that was read, or the file of llm.c
    """

    config: GPTConfig
    state: dict[str, Tensor]
    tokenizer: str
    origin: Path

    @property
    def tokenizer_folder(self) -> Path | None:
        """Where a learnt tokenizer.json lies beside the weights; None if there is none."""
        return self.origin if (self.origin / hugging_face.TOKENIZER).is_file() else None

    def network(self) -> GPT:
        """The network with these weights, on the CPU, in evaluation mode."""
        network = GPT(self.config, None)
        network.load_state_dict(self.state)
        return network.eval()


def read_pretrained(source: str) -> Pretrained:
    """Weights from `source` (see above); BadInput where it has none that can be read."""
    path = Path(source)
    if not path.exists():
        return _read_released(hugging_face.download(source), source)
    if path.suffix == ".bin" and path.is_file():
        config, state = llm_c.read(path)
        return Pretrained(config, state, hugging_face.tokenizer_of(config), path)
    if (path / "meta.json").is_file():
        return _read_checkpoint(path)
    if (path / "config.json").is_file():
        return _read_released(path, source)
    found = sorted(path.glob(NEWEST), key=lambda folder: folder.name)
    if found:
        return _read_checkpoint(found[-1])
    if (path / "record.json").exists():
        raise BadInput(f"checkpoint: {path}: its checkpoints were removed; train with keep=final")
    raise BadInput(
        f"checkpoint: {path}: found neither checkpoints of a trial nor meta.json (one checkpoint) "
        "nor config.json (Hugging Face form)"
    )


def _read_checkpoint(folder: Path) -> Pretrained:
    meta, state = read_sealed(folder)
    try:
        config = build(GPTConfig, meta["config"]["model"], "model")
        tokenizer, weights = meta["data"]["tokenizer"], state["model"]
    except KeyError as error:
        raise BadInput(f"{folder}: found no {error} in it, expected a checkpoint") from None
    return Pretrained(config, weights, tokenizer, folder)


def _read_released(folder: Path, source: str) -> Pretrained:
    config, weights = hugging_face.read(folder)
    try:
        state = hugging_face.from_hugging_face(weights, config)
    except BadInput as error:
        raise BadInput(f"checkpoint: {source}: {error}") from None
    return Pretrained(config, state, hugging_face.tokenizer_of(config), folder)


@dataclass(frozen=True)
class Words:
    """What the command line says (see the module)."""

    checkpoint: str
    out: str
    tokenizer: str | None = None


def export_weights(words: Words) -> str:
    """Write Hugging Face form; one line that says what was written."""
    found = read_pretrained(words.checkpoint)

    def fill(folder: Path) -> None:
        last = found.config.vocab_size - 1
        end_of_text = 0 if found.tokenizer == "bytes" else last
        hugging_face.write(folder, found.state, found.config, end_of_text)
        if found.tokenizer == "gpt2" and words.tokenizer is None:
            hugging_face.write_gpt2_tokenizer(folder, found.config)
        else:
            _bring_tokenizer(words, found, folder)

    _create(Path(words.out), fill)
    has = sorted(path.name for path in Path(words.out).iterdir())
    return f"{words.out}: {', '.join(has)}, from {found.origin}"


def import_weights(words: Words) -> str:
    """Write a checkpoint of ours; one line that says what was written."""
    found = read_pretrained(words.checkpoint)
    model = {name: getattr(found.config, name) for name in GPTConfig.__dataclass_fields__}
    meta = {"step": 0, "config": {"model": model}, "data": {"tokenizer": found.tokenizer}}
    state: dict[str, Any] = {"step": 0, "model": found.state}

    def fill(folder: Path) -> None:
        write_sealed(folder, meta, state)
        if found.tokenizer == "bpe":
            _bring_tokenizer(words, found, folder)

    _create(Path(words.out), fill)
    return f"{words.out}: {found.config.n_layer} layers of {found.config.n_embd}, for init_from="


def _bring_tokenizer(words: Words, found: Pretrained, folder: Path) -> None:
    source = Path(words.tokenizer) if words.tokenizer else found.tokenizer_folder
    if source is not None:
        hugging_face.copy_tokenizer(source, folder, found.config)


def _create(out: Path, fill: Callable[[Path], None]) -> None:
    """Make the folder `out` whole or not at all."""
    if out.exists():
        raise BadInput(f"out: {out}: found something there, expected a new folder; choose another")
    try:
        with whole_folder(out) as building:
            fill(building)
    except OSError as error:
        reason = error.strerror or error
        raise BadInput(f"out: {out}: {reason}; choose a folder to write in") from None


def main(words: list[str]) -> int:
    """Do what the first word says."""
    verbs = {"export": export_weights, "import": import_weights}
    if not words or words[0] in ("-h", "--help"):
        print(__doc__)
        return ExitStatus.DONE if words else ExitStatus.BAD_INPUT
    if words[0] not in verbs:
        raise BadInput(f"{words[0]}: unknown verb; expected export or import")
    torch.set_num_threads(1)
    print(verbs[words[0]](read_words(words[1:], Words)))
    return ExitStatus.DONE


if __name__ == "__main__":
    sys.exit(exit_status(lambda: main(sys.argv[1:])))
