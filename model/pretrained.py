"""Weights from wherever they are kept, and out into Hugging Face form.

python -m model.pretrained export checkpoint=runs/gpt2 out=exported     for transformers
python -m model.pretrained import checkpoint=gpt2 out=released          a checkpoint of ours
python -m model.pretrained import checkpoint=ckpt.pt out=mine           from nanoGPT's
next: docs/reproduce-124m.md

`checkpoint` is a trial's folder (its newest checkpoint), one checkpoint, a folder with config.json
and model.safetensors, a model's .bin of llm.c, a checkpoint of nanoGPT or build-nanogpt (a .pt, or
a folder with ckpt.pt), or the name of a model on the Hugging Face hub (gpt2, gpt2-medium,
gpt2-large, gpt2-xl). `tokenizer=FOLDER` puts the learnt tokenizer.json of that
folder beside the weights; one that lies beside those that are read goes along by itself.
"""

import common.start  # noqa: F401

# isort: split
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common.errors import BadInput, ExitStatus
from common.folders import new_folder
from configs.cli import exit_status
from configs.help import asks_for_help, help_of_words
from configs.key_value import read_key_values
from configs.schema import build
from configs.suggest import one_of
from model import hugging_face, llm_c, nano_gpt
from model.checkpoint_io import read_sealed, write_sealed
from model.config import GPTConfig
from model.network import Network, build_network
from model.own_tokenizer import OwnTokenizer, by_size, with_file

NEWEST = "attempt-*/checkpoints/step-*"


@dataclass(frozen=True)
class Pretrained:
    """Weights on the CPU, as the network's `load_state_dict` takes them, and what is known of them.

    own     its tokenizer, and what was assumed of it
    origin  the folder that was read, or the file
    notes   what whoever uses the weights should know
    """

    config: GPTConfig
    state: dict[str, Tensor]
    own: OwnTokenizer
    origin: Path
    notes: tuple[str, ...] = ()

    @property
    def tokenizer(self) -> str:
        """bytes, gpt2 or bpe."""
        return self.own.kind

    @property
    def note(self) -> str:
        """All that whoever uses the weights should know; else empty."""
        return "; ".join(filter(None, (*self.notes, self.own.note)))

    def network(self) -> Network:
        """The network with these weights, on the CPU, in evaluation mode."""
        network = build_network(self.config, None)
        network.load_state_dict(self.state)
        return network.eval()


def read_pretrained(source: str, tokenizer: str | None = None) -> Pretrained:
    """Weights from `source` (see above); BadInput where it has none that can be read.

    `tokenizer` names a tokenizer.json or its folder: BadInput if it is not theirs.
    """
    found = _read(source)
    own = with_file(found.own, found.origin, found.config.vocab_size, tokenizer)
    return replace(found, own=own)


def _read(source: str) -> Pretrained:
    path = Path(source)
    if not path.exists():
        return _read_released(hugging_face.download(source), source)
    if path.is_file() and path.suffix == ".bin":
        config, state = llm_c.read(path)
        return Pretrained(config, state, by_size(config.vocab_size), path)
    if path.is_file() or (path / nano_gpt.FILE).is_file():
        path = path if path.is_file() else path / nano_gpt.FILE
        config, state = nano_gpt.read(path)
        return Pretrained(config, state, by_size(config.vocab_size), path, (nano_gpt.NOTE,))
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
        "nor config.json (Hugging Face form) nor ckpt.pt (nanoGPT)"
    )


def _read_checkpoint(folder: Path) -> Pretrained:
    meta, state = read_sealed(folder)
    try:
        config = build(GPTConfig, meta["config"]["model"], "model")
        own = OwnTokenizer(meta["data"]["tokenizer"], meta["data"].get("tokenizer_sha256"))
        weights = state["model"]
    except KeyError as error:
        raise BadInput(f"{folder}: found no {error} in it, expected a checkpoint") from None
    return Pretrained(config, weights, own, folder)


def _read_released(folder: Path, source: str) -> Pretrained:
    config, weights = hugging_face.read(folder)
    own = hugging_face.stated_tokenizer(folder) or by_size(config.vocab_size)
    try:
        state = hugging_face.from_hugging_face(weights, config)
    except BadInput as error:
        raise BadInput(f"checkpoint: {source}: {error}") from None
    return Pretrained(config, state, own, folder)


@dataclass(frozen=True)
class Words:
    """Whose weights, and where they go.

    checkpoint  a trial's folder, one checkpoint, a folder of Hugging Face form, a file of llm.c,
                nanoGPT or build-nanogpt, or a name on the hub
    out         a new folder
    tokenizer   folder of a learnt tokenizer.json, to lie beside the weights
    """

    checkpoint: str
    out: str
    tokenizer: str | None = None


def export_weights(words: Words) -> str:
    """Write Hugging Face form; one line that says what was written."""
    found = read_pretrained(words.checkpoint, words.tokenizer)

    with new_folder(Path(words.out)) as folder:
        last = found.config.vocab_size - 1
        end_of_text = 0 if found.tokenizer == "bytes" else last
        hugging_face.write(folder, found.state, found.config, end_of_text, found.own)
        if found.own.file is not None:
            hugging_face.copy_tokenizer(found.own.file, folder, found.config)
        elif found.tokenizer == "gpt2":
            hugging_face.write_gpt2_tokenizer(folder, found.config)

    has = sorted(path.name for path in Path(words.out).iterdir())
    return f"{words.out}: {', '.join(has)}, from {found.origin}{_noted(found)}"


def import_weights(words: Words) -> str:
    """Write a checkpoint of ours; one line that says what was written."""
    found = read_pretrained(words.checkpoint, words.tokenizer)
    model = {name: getattr(found.config, name) for name in GPTConfig.__dataclass_fields__}
    data = {"tokenizer": found.tokenizer, "tokenizer_sha256": found.own.sha256}
    meta = {"step": 0, "config": {"model": model}, "data": data}
    state: dict[str, Any] = {"step": 0, "model": found.state}

    with new_folder(Path(words.out)) as folder:
        write_sealed(folder, meta, state)
        if found.tokenizer == "bpe" and found.own.file is not None:
            hugging_face.copy_tokenizer(found.own.file, folder, found.config)

    shape = f"{found.config.n_layer} layers of {found.config.n_embd}"
    return f"{words.out}: {shape}, for init_from={_noted(found)}"


def _noted(found: Pretrained) -> str:
    return f"; {found.note}" if found.note else ""


def main(words: list[str]) -> int:
    """Do what the first word says."""
    verbs = {"export": export_weights, "import": import_weights}
    if asks_for_help(words):
        print(help_of_words(__doc__ or "", Words))
        return ExitStatus.DONE
    if not words or words[0] not in verbs:
        found = words[0] if words else "nothing"
        raise BadInput(f"{found}: no verb; expected, before all fields, {one_of(found, verbs)}")
    torch.set_num_threads(1)
    print(verbs[words[0]](read_key_values(words[1:], Words)))
    return ExitStatus.DONE


if __name__ == "__main__":
    sys.exit(exit_status(lambda: main(sys.argv[1:])))
