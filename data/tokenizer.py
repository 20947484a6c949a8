"""Text to token ids and the vocabulary that gives them meaning: bytes, GPT-2's BPE, or our own."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from common.errors import BadInput
from common.files import read_json

Ids = npt.NDArray[np.uint16]
BYTE_IDS = 256
TOKENIZER_FILE = "tokenizer.json"
END_OF_TEXT = "<|endoftext|>"
NUL_PROBLEM = "a NUL character, which separates documents for tokenizer bytes"

# White space as tiktoken's \s has it (Unicode's property; Python's own has four characters more).
_BLANK = r"[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
LONG_RUN = 100_000  # a million of them overflow the stack of tiktoken's regular expressions


def run_of_blanks(least: int) -> re.Pattern[str]:
    """Runs of white space of at least so many characters, each found whole, in linear time."""
    return re.compile(f"{_BLANK}(?<!{_BLANK}{_BLANK}){_BLANK}{{{least - 1},}}")


_LONG_RUN = run_of_blanks(LONG_RUN)


class Unencodable(ValueError):
    """What of a text has no ids, as in `found a NUL character`."""


class TokenizerFailure(Unencodable):
    """The tokenizer's own defect on a text; another version of it may encode the text."""


@dataclass(frozen=True)
class Vocabulary:
    """What ids mean, known without any file.

    size         ids are 0 to size - 1, the separator included
    end_of_text  the id that stands before each document; no encoder gives it
    """

    size: int
    end_of_text: int


def vocabulary(tokenizer: str, vocab_size: int | None = None) -> Vocabulary:
    """The vocabulary of a tokenizer; `vocab_size` is that of bpe, where end-of-text comes last."""
    if tokenizer == "bpe":
        assert vocab_size is not None
        return Vocabulary(vocab_size, vocab_size - 1)
    # Text has no use for NUL, so its byte is free to separate documents without a 257th id.
    return {"bytes": Vocabulary(BYTE_IDS, 0), "gpt2": Vocabulary(50257, 50256)}[tokenizer]


def is_byte_vocabulary(size: float) -> bool:
    """Whether ids mean single bytes: 256 of them, or one more that ends a text."""
    return size <= BYTE_IDS + 1


@lru_cache
def load_encoder(
    tokenizer: str, folder: Path | None = None, vocab_size: int | None = None
) -> Callable[[str], Ids]:
    """A function from text to ids, uint16 of shape (n_tokens,); `folder` holds a bpe's file.

    `vocab_size` is how many ids a bpe is to have, if that is known. Raises BadInput when the
    tokenizer's files cannot be read; the function raises Unencodable for text without ids, and ends
    in time n log n whatever the text.
    """
    if tokenizer == "bytes":
        return _encode_bytes
    encoding = _bpe_encoding(folder, vocab_size) if tokenizer == "bpe" else _gpt2_encoding()
    return lambda text: encode_ordinary(encoding, text)


def load_decoder(tokenizer: str, folder: Path | None = None) -> Callable[[list[int]], str]:
    """A function from ids to text; bytes that are not UTF-8 become replacement characters.

    Raises BadInput as `load_encoder` does.
    """
    if tokenizer == "bytes":
        return lambda ids: bytes(ids).decode(errors="replace")
    if tokenizer == "bpe":
        return _bpe_encoding(folder, None).decode
    return _gpt2_encoding().decode


def encode_ordinary(encoding: Any, text: str) -> Ids:
    """Ids of a text by a tiktoken encoding; Unencodable where there are none."""
    _utf8(text)  # which tiktoken would mend in silence
    try:
        parts = [encoding.encode_ordinary(part) for part in _parts(text)]
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # pyo3's, which is no Exception
            raise
        raise TokenizerFailure(f"a text on which tiktoken fails: {error}") from error
    return np.concatenate([np.array(part, dtype=np.uint16) for part in parts])


def _parts(text: str) -> Iterator[str]:
    """The text cut where GPT-2's pattern cuts it, so that no part has a long run before a word.

    The pattern makes one piece of a run of white space at the end of a text; of any other, one
    of all but its last character, which goes with what follows. So a run without its last
    character can be encoded by itself, and so can what stands on either side.
    """
    begin = 0
    for run in _LONG_RUN.finditer(text) if len(text) > LONG_RUN else ():
        yield text[begin : run.start()]
        begin = run.start()
        if run.end() < len(text):
            yield text[begin : run.end() - 1]
            begin = run.end() - 1
    yield text[begin:]


def _encode_bytes(text: str) -> Ids:
    if "\0" in text:
        raise Unencodable(NUL_PROBLEM)
    return np.frombuffer(_utf8(text), np.uint8).astype(np.uint16)


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise Unencodable(f"half a surrogate pair at character {error.start + 1}") from error


def _gpt2_encoding() -> Any:
    import tiktoken

    try:
        return tiktoken.get_encoding("gpt2")
    except (OSError, ValueError) as error:  # requests' errors are OSErrors; ValueError: a bad hash
        raise BadInput(
            "data.tokenizer=gpt2: tiktoken found neither cached files nor a network "
            f"({type(error).__name__}); run this once where there is a network with "
            "TIKTOKEN_CACHE_DIR naming a folder, and name a copy of that folder here"
        ) from error


def _bpe_encoding(folder: Path | None, vocab_size: int | None) -> Any:
    if folder is None:
        raise BadInput(
            "tokenizer: missing; this one was trained on its text: give tokenizer=FOLDER with its "
            "tokenizer.json, which lies beside its shards (runtime.data_dir)"
        )
    encoding = load_encoding(folder)
    if vocab_size not in (None, encoding.n_vocab):
        raise BadInput(
            f"tokenizer: {folder}: found {encoding.n_vocab} ids, expected the model's {vocab_size}"
        )
    return encoding


def load_encoding(folder: Path) -> Any:
    """The tiktoken encoding of a tokenizer.json or of the folder with it; BadInput if not ours."""
    path = folder if folder.is_file() else folder / TOKENIZER_FILE
    try:
        return encoding_of(path, read_json(path)["model"]["vocab"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{path}: not a byte-level BPE of tokenizers: {error!r}") from error


def encoding_of(path: Path, vocabulary: dict[str, int]) -> Any:
    """The tiktoken encoding of a vocabulary of `tokenizers`; `path` is its name."""
    import tiktoken
    from tiktoken_ext.openai_public import r50k_pat_str

    ranks = {bytes(map(_BYTES.__getitem__, word)): rank for word, rank in vocabulary.items()}
    if {*map(type, ranks.values())} != {int} or sorted(ranks.values()) != [*range(len(ranks))]:
        raise ValueError(f"ids: expected 0 to {len(ranks) - 1}, each once")  # else tiktoken panics
    if missing := [byte for byte in range(256) if bytes([byte]) not in ranks]:
        raise ValueError(f"byte {missing[0]}: found no id, expected one for each byte")  # as above
    return tiktoken.Encoding(
        str(path),
        pat_str=r50k_pat_str,
        mergeable_ranks=ranks,
        special_tokens={END_OF_TEXT: len(ranks)},
    )


def _byte_alphabet() -> dict[str, int]:
    """The printable character that stands for each byte in GPT-2's files, and its byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    characters = [*map(chr, printable), *(chr(256 + index) for index in range(len(others)))]
    return dict(zip(characters, [*printable, *others], strict=True))


_BYTES = _byte_alphabet()
