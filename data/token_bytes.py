"""How many bytes of text each token id stands for: what turns nats per token into bits per byte.

gpt2_token_bytes.u8 holds GPT-2's 50,257 lengths, one byte each, so that no run needs tiktoken's
files for them; it is `len(decode_single_token_bytes(id))` of tiktoken's gpt2, 0 for end-of-text.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from common.errors import BadInput
from common.files import read_json
from data.manifest import Manifest
from data.tokenizer import TOKENIZER_FILE, vocabulary

_GPT2 = Path(__file__).with_name("gpt2_token_bytes.u8")


def text_bytes(ids: npt.NDArray[np.integer], manifest: Manifest, folder: Path) -> int:
    """Bytes of text that `ids`, of any shape, stand for; separators of documents stand for none.

    `folder` holds the tokenizer.json of a bpe. BadInput where that cannot be read.
    """
    if manifest.tokenizer == "bpe":
        lengths = _bpe_lengths(folder / TOKENIZER_FILE, manifest.vocab_size)
    elif manifest.tokenizer == "gpt2":
        lengths = np.fromfile(_GPT2, np.uint8)
    else:
        lengths = np.ones(manifest.vocab_size, np.uint8)
    counts = np.bincount(ids.reshape(-1), minlength=len(lengths))
    counts[vocabulary(manifest.tokenizer, manifest.vocab_size).end_of_text] = 0
    return int(counts @ lengths.astype(np.int64))


@lru_cache
def _bpe_lengths(path: Path, vocab_size: int) -> npt.NDArray[np.integer]:
    """By GPT-2's byte alphabet, in which each character of a word is one byte."""
    lengths = np.zeros(vocab_size, np.int64)
    try:
        for word, token in read_json(path)["model"]["vocab"].items():
            lengths[token] = len(word)
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise BadInput(f"{path}: not a byte-level BPE of {vocab_size} ids: {error!r}") from error
    return lengths
