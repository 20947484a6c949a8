"""A preparation can be killed at any moment: what goes on is the same, and nothing is left over."""

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data.config import DataConfig
from data.manifest import read_manifest
from data.prepare import prepare

TEXTS = [f"Document {n}: " + "wörd " * (n % 97) for n in range(600)]

KILLED = """
import os, sys, data.prepare as p, data.tokenizing as t
from pathlib import Path
from data.config import DataConfig
add, seen = t._State.add, []

def add_and_die(state, document, ids):
    t.SAVE_S = 1e9 if (len(seen) + 1) % 25 else -1  # noted after each 25 documents
    add(state, document, ids)
    seen.append(document)
    if len(seen) == int(sys.argv[3]):
        for writer in state._writers.values():
            if sys.argv[4] == "torn":
                writer.write(ids)  # written after the progress was noted
                writer.flush()
        os.kill(os.getpid(), 9)

t._State.add = add_and_die
config = DataConfig("files", sys.argv[1], "bytes", 0.2, 1)
p.build_folder(config, Path(sys.argv[2]))
print(len(seen))
"""


@pytest.mark.parametrize("end", ["clean", "torn"])
def test_killed_and_continued_is_never_killed(tmp_path: Path, end: str) -> None:
    folder = tmp_path / "text"
    folder.mkdir()
    for name, texts in (("a", TEXTS[:290]), ("b", TEXTS[290:291]), ("c", TEXTS[291:])):
        rows = (json.dumps({"text": text}) for text in texts)
        (folder / f"{name}.jsonl").write_text("\n".join(rows))
    config = DataConfig("files", str(folder), "bytes", 0.2, 1)
    expected = read_manifest(prepare(config, tmp_path / "undisturbed"))
    out = tmp_path / "out"
    out.mkdir()

    def run(documents: int) -> subprocess.CompletedProcess[str]:
        words = [str(folder), str(out), str(documents), end]
        return subprocess.run(
            [sys.executable, "-c", KILLED, *words], capture_output=True, text=True
        )

    for documents in (30, 310, 175, 10):  # in the first file, over the second, in the last
        assert run(documents).returncode == -9
        assert len(list(out.iterdir())) == 1
    last = run(10_000)
    assert (last.returncode, last.stdout) == (0, f"{600 - 25 - 300 - 175}\n"), last.stderr
    [made] = out.iterdir()
    assert read_manifest(made) == expected
    assert sorted(path.name for path in made.iterdir()) == [
        "manifest.json",
        "train_000000.bin",
        "val_000000.bin",
    ]


def test_reading_stops_at_the_training_tokens_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in TEXTS))
    config = DataConfig("files", str(tmp_path), "bytes", None, 1, val_tokens=900, train_tokens=5000)
    manifest = read_manifest(prepare(config, tmp_path / "out"))
    assert 900 <= manifest.val.tokens < 900 + 700
    assert 5000 <= manifest.train.tokens < 5000 + 700


APART = """
import sys
from pathlib import Path
from data.apart import build_apart
from data.config import DataConfig
config = DataConfig("files", sys.argv[1], "bpe", 0.01, 1, vocab_size=262)
build_apart(config, Path(sys.argv[2]), parallel=True)
"""


def test_nothing_outlives_a_preparation_that_is_killed(tmp_path: Path) -> None:
    words = ["some", "words", "that", "make", "more", "or", "less", "sense"]
    text = " ".join(random.Random(0).choices(words, k=500))
    rows = (json.dumps({"text": f"{n} {text}"}) + "\n" for n in range(4000))
    (tmp_path / "a.jsonl").write_text("".join(rows))
    given = [str(tmp_path / "a.jsonl"), str(tmp_path / "out")]
    (tmp_path / "out").mkdir()
    process = subprocess.Popen([sys.executable, "-c", APART, *given], stderr=subprocess.PIPE)
    while not list((tmp_path / "out").glob(".*/train_000000.bin")):
        time.sleep(0.05)
        assert process.poll() is None
    process.kill()
    process.wait()
    assert process.stderr is not None
    with process.stderr as held_by_all:
        held_by_all.read()  # ends when the last of its processes has
