"""Text of a data set of the Hugging Face hub, or of local files of its kinds, by `datasets`.

`datasets` brings pyarrow and its threads: this is read in a process of its own, never in one that
forks (data/prepare/workers.py).
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from typing import Any

from common.errors import BadInput
from data.config import DataConfig, HubConfig
from data.prepare.build_directory import Interrupted
from data.prepare.documents import (
    Document,
    Position,
    input_files,
    json_document,
    text_document,
    with_text,
)

JSON_LINES = re.compile(r"\.jsonl(\.\w+)?$")
BATCH_ROWS = 1000
REACH_S = 10.0


def read_documents(config: DataConfig, start: Position = (0, 0)) -> Iterator[Document]:
    """Every document from `start` on, file by file, rows in order; null is an empty text.

    A row that is no text has a `problem`. Raises BadInput naming a file that cannot be read, and
    Interrupted where the hub cannot be reached.
    """
    assert config.hub is not None
    before = 0
    for index, (file, size) in enumerate(list_files(config)):
        if index >= start[0]:
            rows = _json_rows if JSON_LINES.search(file) else _arrow_rows
            done = start[1] if index == start[0] else 0
            for number, (document, share) in enumerate(rows(file, size, config.hub), start=1):
                if number > done:
                    read = before + int(size * share)
                    yield replace(document, after=(index, number), input_bytes=read)
        before += size


@lru_cache
def list_files(config: DataConfig) -> tuple[tuple[str, int], ...]:
    """The files of the data set in reading order, each with its size in bytes."""
    if config.path is not None:
        return tuple((str(path), path.stat().st_size) for path in input_files(config))
    hub = config.hub
    assert hub is not None and hub.name is not None
    datasets = _datasets()
    from fsspec.core import url_to_fs
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    try:
        # Asked once by itself: the library would try six times and tell of each.
        get_session().head(constants.ENDPOINT, timeout=REACH_S)
        builder = datasets.load_dataset_builder(hub.name, hub.subset, revision=hub.revision)
        splits = builder.config.data_files
        if hub.split not in splits:
            there = ", ".join(map(str, splits))
            raise BadInput(f"data.hub.split: found {hub.split!r}, expected one of {there}")
        files = []
        for file in map(str, splits[hub.split]):
            system, path = url_to_fs(file)
            files.append((file, int(system.size(path))))
    except BadInput:
        raise
    except Exception as error:  # of requests, httpx, huggingface_hub, datasets: all say why
        if isinstance(error, ValueError) and "BuilderConfig" in str(error):
            raise BadInput(
                f"data.hub.subset: found {hub.subset!r}: {_first_line(error)}"
            ) from error
        raise _unreachable(hub, error) from error
    return tuple(files)


def _json_rows(file: str, size: int, hub: HubConfig) -> Iterator[tuple[Document, float]]:
    """Lines of JSON, each by itself, with the share of the file that is read by then."""
    import fsspec
    from fsspec.compression import compr
    from fsspec.utils import infer_compression

    with _readable(file, "json", hub), fsspec.open(file, "rb") as raw:
        compression = infer_compression(file)
        stream = compr[compression](raw, mode="rb") if compression else raw
        for number, line in enumerate(stream, start=1):
            row = text_document(line, file, number, (0, 0), 0)
            if row.problem or row.text.strip():
                yield json_document(row, hub.column, null_is_empty=True), raw.tell() / max(1, size)


def _arrow_rows(file: str, size: int, hub: HubConfig) -> Iterator[tuple[Document, float]]:
    """Rows of the text column of any other kind of file, in the same way."""
    kind = (
        "parquet" if file.endswith(".parquet") else "arrow" if file.endswith(".arrow") else "json"
    )
    datasets = _datasets()
    with _readable(file, kind, hub):
        options: dict[str, Any] = {}
        total = None
        if kind == "parquet":
            total, columns = _parquet_shape(file)
            options["columns"] = [_require(hub.column, columns, file)]
        rows = datasets.load_dataset(
            kind, data_files={"train": [file]}, split="train", streaming=True, **options
        )
        read = text_bytes = 0
        for batch in rows.with_format("arrow").iter(batch_size=BATCH_ROWS):
            column = batch.column(_require(hub.column, batch.column_names, file))
            text_bytes += column.nbytes
            share = (read + len(column)) / total if total else min(1.0, text_bytes / max(1, size))
            for number, value in enumerate(_values(column), start=read + 1):
                if isinstance(value, bytes):
                    yield text_document(value, file, number, (0, 0), 0), share
                elif isinstance(value, str | None):
                    place = Document("", b"", f"{file}:{number}")
                    yield with_text(place, value or ""), share
                else:
                    raise BadInput(
                        f"data.hub.column: {file}: found {type(value).__name__} in column "
                        f"{hub.column}, expected text"
                    )
            read += len(column)


def _values(column: Any) -> list[Any]:
    """The values of a column, its texts as bytes where one of them is not UTF-8."""
    try:
        return column.to_pylist()
    except UnicodeDecodeError:
        return column.cast("large_binary").to_pylist()


@contextmanager
def _readable(file: str, kind: str, hub: HubConfig) -> Iterator[None]:
    """BadInput for what a library raises over a file, Interrupted where it is fetched."""
    try:
        yield
    except BadInput:
        raise
    except Exception as error:  # pyarrow's, the network's, a compression's: all say why
        if "://" in file:
            raise _unreachable(hub, error) from error
        raise BadInput(f"{file}: cannot be read as {kind}: {_first_line(error)}") from error


def _parquet_shape(file: str) -> tuple[int, list[str]]:
    import fsspec
    import pyarrow.parquet

    with fsspec.open(file) as raw:
        parquet = pyarrow.parquet.ParquetFile(raw)
        return parquet.metadata.num_rows, parquet.schema_arrow.names


def _require(column: str, columns: list[str], file: str) -> str:
    if column not in columns:
        raise BadInput(
            f"data.hub.column: found {column!r}, expected one of {', '.join(columns)} of {file}"
        )
    return column


def _unreachable(hub: HubConfig, error: Exception) -> Interrupted:
    subset = f" ({hub.subset})" if hub.subset else ""
    return Interrupted(
        f"data.hub.name: {hub.name}{subset} cannot be reached: {type(error).__name__}: "
        f"{_first_line(error)}; run the same python -m data.prepare where there is a network (it "
        "goes on from where it was), or set data.path to a folder with a copy of its files, as "
        "under HF_HOME"
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no reason given"])[0][:200]


def _datasets() -> Any:
    import datasets

    datasets.logging.set_verbosity(datasets.logging.CRITICAL)  # what it logs it raises too
    datasets.disable_progress_bars()
    return datasets
