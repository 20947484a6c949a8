"""Documents to token ids, in this process or in one a core, in the order of the documents."""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np

from common.errors import BadInput
from data.prepare.build_directory import Interrupted
from data.prepare.documents import REMEDY, Document
from data.prepare.workers import spawn_pool
from data.tokenizer import Ids, TokenizerFailure, Unencodable, load_encoder

TASK_BYTES = 1_000_000


def encode_here(
    documents: Iterator[Document],
    tokenizer: str,
    folder: Path | None = None,
    skip_invalid: bool = False,
) -> Iterator[tuple[Document, Ids]]:
    """Each document with its ids, in order.

    One that cannot be encoded has a `problem` from then on, if those are skipped; else BadInput
    names it, and Interrupted where the tokenizer itself failed.
    """
    encode = _encode_or_error(tokenizer, folder)
    for document in documents:
        yield _checked(document, encode(document.text), skip_invalid)


def encode_in_parallel(
    documents: Iterator[Document],
    tokenizer: str,
    folder: Path | None = None,
    skip_invalid: bool = False,
) -> Iterator[tuple[Document, Ids]]:
    """The same in the same order by one process a core, a bounded number of tasks ahead."""
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    pending: deque[tuple[list[Document], Future[list[Ids | Unencodable]]]] = deque()

    def finished() -> Iterator[tuple[Document, Ids]]:
        done, future = pending.popleft()
        try:
            found = future.result()
        except BrokenProcessPool as error:
            raise Interrupted(
                f"{done[0].where}: a process that encodes text was ended from outside (out of "
                "memory?); the same command goes on"
            ) from error
        for document, ids in zip(done, found, strict=True):
            yield _checked(document, ids, skip_invalid)

    with spawn_pool(workers) as pool:
        for task in _tasks(documents):
            texts = [document.text for document in task]
            pending.append((task, pool.submit(_encode_task, tokenizer, folder, texts)))
            if len(pending) > 2 * (workers or 1):
                yield from finished()
        while pending:
            yield from finished()


def _checked(
    document: Document, ids: Ids | Unencodable, skip_invalid: bool
) -> tuple[Document, Ids]:
    if not isinstance(ids, Unencodable):
        return document, ids
    invalid = document.invalid(f"found {ids}")
    if skip_invalid:
        return invalid, np.empty(0, np.uint16)
    # The tokenizer may be mended, and then what is done is of use.
    raise (Interrupted if isinstance(ids, TokenizerFailure) else BadInput)(
        f"{invalid.refusal}; {REMEDY}"
    )


def _encode_task(tokenizer: str, folder: Path | None, texts: list[str]) -> list[Ids | Unencodable]:
    encode = _encode_or_error(tokenizer, folder)
    return [encode(text) for text in texts]


def _encode_or_error(tokenizer: str, folder: Path | None) -> Callable[[str], Ids | Unencodable]:
    encode = load_encoder(tokenizer, folder)

    def attempt(text: str) -> Ids | Unencodable:
        try:
            return encode(text)
        except Unencodable as error:
            return error

    return attempt


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
