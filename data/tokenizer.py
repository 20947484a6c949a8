"""Text to token ids and the vocabulary that gives them meaning: bytes, GPT-2's BPE, or our own."""

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from configs.errors import BadInput
from data.sources import Document

TASK_BYTES = 1_000_000

Ids = npt.NDArray[np.uint16]


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
    return {"bytes": Vocabulary(256, 0), "gpt2": Vocabulary(50257, 50256)}[tokenizer]


@lru_cache
def load_encoder(
    tokenizer: str, folder: Path | None = None, vocab_size: int | None = None
) -> Callable[[str], Ids]:
    """A function from text to ids, uint16 of shape (n_tokens,); `folder` holds a bpe's file.

    `vocab_size` is how many ids a bpe is to have, if that is known. Raises BadInput when the
    tokenizer's files cannot be had; the function raises ValueError for text that it cannot hold.
    """
    if tokenizer == "bytes":
        return _encode_bytes
    encoding = _learnt_encoding(folder, vocab_size) if tokenizer == "bpe" else _gpt2_encoding()
    return lambda text: np.array(encoding.encode_ordinary(text), dtype=np.uint16)


def load_decoder(tokenizer: str, folder: Path | None = None) -> Callable[[list[int]], str]:
    """A function from ids to text; bytes that are not UTF-8 become replacement characters.

    Raises BadInput as `load_encoder` does.
    """
    if tokenizer == "bytes":
        return lambda ids: bytes(ids).decode(errors="replace")
    if tokenizer == "bpe":
        return _learnt_encoding(folder, None).decode
    return _gpt2_encoding().decode


def encode_here(
    documents: Iterator[Document], tokenizer: str, folder: Path | None = None
) -> Iterator[tuple[Document, Ids]]:
    """Each document with its ids, in order; BadInput names a document that cannot be encoded."""
    encode = load_encoder(tokenizer, folder)
    for document in documents:
        try:
            yield document, encode(document.text)
        except ValueError as error:
            raise BadInput(f"{document.where}: found {error}") from error


def encode_in_parallel(
    documents: Iterator[Document], tokenizer: str, folder: Path | None = None
) -> Iterator[tuple[Document, Ids]]:
    """The same in the same order by one process a core, a bounded number of tasks ahead."""
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    pending: deque[tuple[list[Document], Future[list[Ids]]]] = deque()
    # spawn, not fork: the caller may hold threads that a fork would break.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_end_with_parent) as pool:
        for task in _tasks(documents):
            texts = [document.text for document in task]
            pending.append((task, pool.submit(_encode_task, tokenizer, folder, texts)))
            if len(pending) > 2 * (workers or 1):
                done, future = pending.popleft()
                yield from zip(done, future.result(), strict=True)
        for done, future in pending:
            yield from zip(done, future.result(), strict=True)


def _end_with_parent() -> None:
    """Have this process end with the one that started it, which a pool does not see to."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _encode_task(tokenizer: str, folder: Path | None, texts: list[str]) -> list[Ids]:
    encode = load_encoder(tokenizer, folder)
    return [encode(text) for text in texts]


def _tasks(documents: Iterator[Document]) -> Iterator[list[Document]]:
    task: list[Document] = []
    size = 0
    for document in documents:
        task.append(document)
        size += len(document.utf8)
        if size >= TASK_BYTES:
            yield task
            task, size = [], 0
    if task:
        yield task


def _encode_bytes(text: str) -> Ids:
    if "\0" in text:
        raise ValueError("a NUL character, which separates documents for tokenizer bytes")
    return np.frombuffer(text.encode(), np.uint8).astype(np.uint16)


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


def _learnt_encoding(folder: Path | None, vocab_size: int | None) -> Any:
    from data.bpe import load_encoding

    if folder is None:
        raise BadInput(
            "tokenizer: missing; this one was learnt: give tokenizer=FOLDER with its "
            "tokenizer.json, which lies beside its shards (runtime.data_dir)"
        )
    encoding = load_encoding(folder)
    if vocab_size not in (None, encoding.n_vocab):
        raise BadInput(
            f"tokenizer: {folder}: found {encoding.n_vocab} ids, expected the model's {vocab_size}"
        )
    return encoding
