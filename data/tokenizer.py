"""Text to token ids and the vocabulary that gives them meaning: bytes, or GPT-2's BPE."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from configs.errors import BadInput

Ids = npt.NDArray[np.uint16]


@dataclass(frozen=True)
class Vocabulary:
    """What ids mean, known without any file.

    size         ids are 0 to size - 1, the separator included
    end_of_text  the id that stands before each document; no encoder gives it
    """

    size: int
    end_of_text: int


# Text has no use for NUL, so its byte is free to separate documents without a 257th id.
VOCABULARIES = {"bytes": Vocabulary(256, 0), "gpt2": Vocabulary(50257, 50256)}


@lru_cache
def load_encoder(tokenizer: str) -> Callable[[str], Ids]:
    """A function from text to ids, uint16 of shape (n_tokens,).

    Raises BadInput when the tokenizer's files cannot be had; the function raises ValueError for
    text that it cannot hold.
    """
    return {"bytes": lambda: _encode_bytes, "gpt2": _load_gpt2}[tokenizer]()


def _encode_bytes(text: str) -> Ids:
    if "\0" in text:
        raise ValueError("a NUL character, which separates documents for tokenizer bytes")
    return np.frombuffer(text.encode(), np.uint8).astype(np.uint16)


def _load_gpt2() -> Callable[[str], Ids]:
    import tiktoken

    try:
        encoding = tiktoken.get_encoding("gpt2")
    except (OSError, ValueError) as error:  # requests' errors are OSErrors; ValueError: a bad hash
        raise BadInput(
            "data.tokenizer=gpt2: tiktoken found neither cached files nor a network "
            f"({type(error).__name__}); set TIKTOKEN_CACHE_DIR to a folder that has them"
        ) from error

    def encode(text: str) -> Ids:
        return np.array(encoding.encode_ordinary(text), dtype=np.uint16)

    return encode
