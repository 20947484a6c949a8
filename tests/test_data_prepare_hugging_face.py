"""Parquet, Arrow and JSON lines become the shards that plain text becomes."""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from common.errors import BadInput
from data.config import DataConfig, HubConfig
from data.manifest import read_manifest
from data.prepare import hugging_face, prepare
from data.prepare.pipeline import build_folder
from data.shards import open_split

HUB = HubConfig(None, None, "train", "text", None)
ROOT = Path(__file__).resolve().parent.parent
TEXTS = [f"Document {n}: " + "wörd " * (n % 97) for n in range(600)]


def config_of(path: Path | None, **changes: Any) -> DataConfig:
    values: dict[str, Any] = {"val_fraction": 0.2, "hub": HUB} | changes
    return DataConfig("hf", path and str(path), "bytes", max_epochs=1, **values)


def write_parquet(path: Path, texts: Sequence[object], column: str = "text") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pyarrow.table({"id": list(range(len(texts))), column: texts})
    pyarrow.parquet.write_table(table, path, row_group_size=100)


def write_arrow(path: Path, texts: Sequence[str]) -> None:
    table = pyarrow.table({"text": texts})
    with pyarrow.OSFile(str(path), "wb") as file, pyarrow.ipc.new_stream(file, table.schema) as out:
        out.write_table(table, max_chunksize=100)


def json_lines(texts: Sequence[str]) -> str:
    return "".join(json.dumps({"id": 1, "text": text}) + "\n" for text in texts)


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    """600 documents in three files, in the order of their names."""
    for index, texts in enumerate((TEXTS[:290], TEXTS[290:291], TEXTS[291:])):
        write_parquet(tmp_path / "sample" / f"{index:03d}_00000.parquet", texts)
    return tmp_path / "sample"


def ids_of(folder: Path, name) -> np.ndarray:
    shards = open_split(folder, read_manifest(folder), name).shards
    return np.concatenate([shard.read(0, shard.n_tokens) for shard in shards])


def test_read_documents_of_every_kind_are_the_same_data(parquet: Path, tmp_path: Path) -> None:
    """Every kind of file is the same data."""
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "a.jsonl").write_text(json_lines(TEXTS))
    plain = DataConfig("files", str(tmp_path / "plain"), "bytes", 0.2, 1)
    expected = read_manifest(prepare(plain, tmp_path / "out"))
    mixed = tmp_path / "mixed"
    write_parquet(mixed / "a.parquet", TEXTS[:150])
    (mixed / "b.jsonl").write_text(json_lines(TEXTS[150:300]))
    (mixed / "c.jsonl.gz").write_bytes(gzip.compress(json_lines(TEXTS[300:450]).encode()))
    write_arrow(mixed / "d.arrow", TEXTS[450:])
    for folder in (parquet, mixed):
        manifest = read_manifest(prepare(config_of(folder), tmp_path / "out"))
        assert manifest.digest == expected.digest
        assert manifest.train == expected.train and manifest.val == expected.val


def test_val_tokens_hold_out_the_first_documents(parquet: Path, tmp_path: Path) -> None:
    """The first documents are held out until they have the tokens."""
    config = config_of(parquet, val_fraction=None, val_tokens=9_000)
    folder = prepare(config, tmp_path / "out")
    sizes = np.cumsum([len(text.encode()) + 1 for text in TEXTS])
    first = int(np.argmax(sizes >= 9_000)) + 1
    assert sizes[first - 2] < 9_000 <= sizes[first - 1]
    for name, texts in (("val", TEXTS[:first]), ("train", TEXTS[first:])):
        expected = b"".join(b"\0" + text.encode() for text in texts)
        assert ids_of(folder, name).astype(np.uint8).tobytes() == expected


def test_reading_ends_with_the_tokens_that_are_asked_for(parquet: Path, tmp_path: Path) -> None:
    """What follows in the data set is not even opened: a plan's longest run needs no more."""
    (tmp_path / "text").mkdir()
    for path in sorted(parquet.iterdir()):
        (tmp_path / "text" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "text" / "z.parquet").write_bytes(b"PAR1 and no more")
    config = config_of(tmp_path / "text", val_fraction=None, val_tokens=900, train_tokens=5000)
    build_folder(config, tmp_path)
    [folder] = tmp_path.glob("hf-*")
    assert 5000 <= read_manifest(folder).train.tokens < 5000 + 1000
    with pytest.raises(BadInput, match="z.parquet: cannot be read"):
        build_folder(replace(config, train_tokens=None), tmp_path)


def test_null_and_empty_rows_are_skipped_and_counted(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", ["", None, "one", "two", "", "three"])
    manifest = read_manifest(prepare(config_of(tmp_path / "a.parquet"), tmp_path / "out"))
    assert manifest.skipped == {"empty": 3}
    assert (manifest.train.documents or 0) + (manifest.val.documents or 0) == 3


def test_prepare_imports_no_library_with_threads(parquet: Path, tmp_path: Path) -> None:
    """The libraries stay out of the process that asks."""
    code = (
        "import sys, data.prepare.pipeline as p\n"
        "from pathlib import Path; from data.config import *\n"
        f"config = DataConfig('hf', {str(parquet)!r}, 'bytes', 0.2, 1,"
        " hub=HubConfig(None, None, 'train', 'text', None))\n"
        f"p.prepare(config, Path({str(tmp_path / 'out')!r}))\n"
        "print({'datasets', 'pyarrow', 'tokenizers', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("set()\n", "")


def test_rows_without_text_are_refused_by_file(tmp_path: Path) -> None:
    write_parquet(tmp_path / "column" / "a.parquet", ["one", "two"], column="body")
    write_parquet(tmp_path / "numbers" / "a.parquet", [1, 2])
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.parquet").write_bytes(b"PAR1 and no more")
    (tmp_path / "json").mkdir()
    (tmp_path / "json" / "a.jsonl").write_text('{"text": "fine"}\n{"text": \n')
    (tmp_path / "empty").mkdir()
    for name, why in [
        ("column", r"data.hub.column: found 'text', expected one of id, body of .*a.parquet"),
        ("numbers", r"data.hub.column: .*a.parquet: found int in column text, expected text"),
        ("broken", r"a.parquet: cannot be read as parquet: .*[Pp]arquet"),
        ("json", r"a.jsonl:2: not JSON: Expecting value at character"),
        ("empty", r"data.path: .*found no such file in it, expected .parquet"),
    ]:
        with pytest.raises(BadInput, match=why) as refusal:
            prepare(config_of(tmp_path / name), tmp_path / "out")
        assert "\n" not in str(refusal.value)
        assert not list((tmp_path / "out").glob("*")) and not list((tmp_path / "out").glob(".*"))


@pytest.mark.parametrize("away", [
    {"HF_HUB_OFFLINE": "1"},
    {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1"},
])  # fmt: skip
def test_hub_out_of_reach_is_one_line_and_leaves_nothing(
    tmp_path: Path, away: dict[str, str]
) -> None:
    environment = os.environ | away | {"HF_HOME": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "data.prepare", "data=fineweb", "data.tokenizer=bytes"]
    done = subprocess.run(
        [*command, f"out={tmp_path / 'out'}"], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    for word in ("HuggingFaceFW/fineweb (sample-10BT)", "data.prepare", "HF_HOME", "data.path"):
        assert word in done.stderr
    assert not list((tmp_path / "out").iterdir())


def test_prepare_fetches_nothing_for_a_run(tmp_path: Path) -> None:
    """No run waits for a download."""
    hub = replace(HUB, name="HuggingFaceFW/fineweb")
    with pytest.raises(BadInput, match="fineweb is not prepared in .*; first run python -m data.p"):
        prepare(config_of(None, hub=hub), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_read_documents_goes_on_after_any_document(parquet: Path) -> None:
    config = config_of(parquet)
    documents = list(hugging_face.read_documents(config))
    assert [document.text for document in documents] == TEXTS
    for done in (1, 99, 289, 290, 291, 420, 599):
        after = documents[done - 1].after
        assert list(hugging_face.read_documents(config, after)) == documents[done:]
    read = [document.input_bytes for document in documents]
    assert read == sorted(read) and read[-1] == sum(s for _, s in hugging_face.list_files(config))
