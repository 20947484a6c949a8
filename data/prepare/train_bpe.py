"""A byte-level BPE trained on the training text: GPT-2's split into words, fewer merges.

Ids: the 256 bytes in the order of GPT-2's byte alphabet, the merges in the order in which they
were found, end-of-text last. `tokenizers` finds them (in a process of its own: it has threads)
and tokenizer.json is its file; tiktoken encodes, several times faster and with equal ids.
"""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from common.errors import BadInput
from common.files import write_atomic
from data.config import DataConfig
from data.prepare.documents import Document
from data.prepare.progress import note
from data.prepare.sources import read_documents
from data.tokenizer import END_OF_TEXT, TOKENIZER_FILE, encode_ordinary, encoding_of

SAMPLE_BYTES = 64_000_000  # text that it is trained on: the first training documents
CHECKED_BYTES = 500_000
# Its trainer's time is quadratic in a word: what has no word's length is cut, for training alone.
_LONG_WORD = re.compile(r"\S{1000}(?=\S)|\s{1000}(?=\s)")


def train_bpe(config: DataConfig, folder: Path, is_training: Callable[[Document], bool]) -> None:
    """Write `folder`/tokenizer.json, unless it is there; the same text gives the same bytes.

    `is_training` says whether a document belongs to the training split: no other is read. BadInput
    when the text is too short for so many merges.
    """
    if (folder / TOKENIZER_FILE).exists():
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
        f"training a tokenizer of {config.vocab_size:,} ids on up to "
        f"{SAMPLE_BYTES / 1e6:.0f} MB of training text"
    )
    tokenizer.train_from_iterator(_sample(config, is_training), trainer)
    size = tokenizer.get_vocab_size() + 1
    if size != config.vocab_size:
        raise BadInput(
            f"data.vocab_size: found {config.vocab_size}, expected at most {size}, for which "
            "the training text has words; give more text"
        )
    encoding = encoding_of(folder / TOKENIZER_FILE, tokenizer.get_vocab())
    checked = 0
    for text in _sample(config, is_training):
        checked += len(text)
        if encode_ordinary(encoding, text).tolist() != tokenizer.encode(text).ids:
            raise RuntimeError(f"tiktoken and tokenizers differ on {text[:100]!r}...")
        if checked > CHECKED_BYTES:
            break
    tokenizer.add_special_tokens([END_OF_TEXT])  # after the check: no text is encoded to it
    write_atomic(folder / TOKENIZER_FILE, tokenizer.to_str(pretty=True))
    note(f"trained in {time.monotonic() - started:.0f} s")


def _sample(config: DataConfig, is_training: Callable[[Document], bool]) -> Iterator[str]:
    size = 0
    for document in read_documents(config, Counter()):
        if document.text and is_training(document):
            yield from _cut(document.text)
            size += len(document.utf8)
            if size > SAMPLE_BYTES:
                return


def _cut(text: str) -> Iterator[str]:
    begin = 0
    for word in _LONG_WORD.finditer(text):
        yield text[begin : word.end()]
        begin = word.end()
    yield text[begin:]
