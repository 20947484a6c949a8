"""A byte-level BPE learnt from the training text: GPT-2's split into words, fewer merges.

Ids: the 256 bytes in the order of GPT-2's byte alphabet, the merges in the order in which they
were learnt, end-of-text last. `tokenizers` learns them (in a process of its own: it has threads)
and tokenizer.json is its file; tiktoken encodes, several times faster and with equal ids.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from configs.errors import BadInput
from configs.files import read_json, write_atomic
from data.config import DataConfig
from data.progress import note
from data.sources import Document, read_documents

NAME = "tokenizer.json"
END_OF_TEXT = "<|endoftext|>"
SAMPLE_BYTES = 64_000_000  # text that is learnt from: the first training documents
CHECKED_BYTES = 500_000


def learn(config: DataConfig, folder: Path, is_training: Callable[[Document], bool]) -> None:
    """Write `folder`/tokenizer.json, unless it is there; the same text gives the same bytes.

    `is_training` says whether a document belongs to the training split: no other is read. BadInput
    when the text is too short for so many merges.
    """
    if (folder / NAME).exists():
        return
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    assert config.vocab_size is not None
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocab_size - 1,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    started = time.monotonic()
    note(
        f"learning a tokenizer of {config.vocab_size:,} ids from up to "
        f"{SAMPLE_BYTES / 1e6:.0f} MB of training text"
    )
    tokenizer.train_from_iterator(_sample(config, is_training), trainer)
    learnt = tokenizer.get_vocab_size() + 1
    if learnt != config.vocab_size:
        raise BadInput(
            f"data.vocab_size: found {config.vocab_size}, expected at most {learnt}, for which "
            "the training text has words; give more text"
        )
    encoding = _encoding(folder / NAME, tokenizer.get_vocab())
    checked = 0
    for text in _sample(config, is_training):
        checked += len(text)
        if encoding.encode_ordinary(text) != tokenizer.encode(text).ids:
            raise RuntimeError(f"tiktoken and tokenizers differ on {text[:100]!r}...")
        if checked > CHECKED_BYTES:
            break
    tokenizer.add_special_tokens([END_OF_TEXT])  # after the check: no text is encoded to it
    write_atomic(folder / NAME, tokenizer.to_str(pretty=True))
    note(f"learnt in {time.monotonic() - started:.0f} s")


def load_encoding(folder: Path) -> Any:
    """The tiktoken encoding of a tokenizer.json or of the folder with it; BadInput if not ours."""
    path = folder if folder.is_file() else folder / NAME
    try:
        return _encoding(path, read_json(path)["model"]["vocab"])
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{path}: not a byte-level BPE of tokenizers: {error!r}") from error


def _encoding(path: Path, vocabulary: dict[str, int]) -> Any:
    import tiktoken
    from tiktoken_ext.openai_public import r50k_pat_str

    ranks = {bytes(map(_BYTES.__getitem__, word)): rank for word, rank in vocabulary.items()}
    return tiktoken.Encoding(
        str(path),
        pat_str=r50k_pat_str,
        mergeable_ranks=ranks,
        special_tokens={END_OF_TEXT: len(ranks)},
    )


def _sample(config: DataConfig, is_training: Callable[[Document], bool]) -> Iterator[str]:
    size = 0
    for document in read_documents(config, Counter()):
        if is_training(document):
            yield document.text
            size += len(document.utf8)
            if size > SAMPLE_BYTES:
                return


def _byte_alphabet() -> dict[str, int]:
    """The printable character that stands for each byte in GPT-2's files, and its byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    characters = [*map(chr, printable), *(chr(256 + index) for index in range(len(others)))]
    return dict(zip(characters, [*printable, *others], strict=True))


_BYTES = _byte_alphabet()
