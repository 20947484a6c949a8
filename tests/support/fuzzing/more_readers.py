"""What fit.py, train.py and the zero-shot tasks are given by hand, with what reads it."""

import json
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from common.files import to_json
from model import hugging_face
from model.config import GPTConfig
from model.gpt import GPT
from model.pretrained import read_pretrained
from scaling.fit import compare
from scaling.fit.config import FitConfig
from scaling.fit.laws import PUBLISHED
from scaling.fit.observations import observe
from scaling.fit.pipeline import Fit
from scaling.fit.results import FitDocument
from scaling.fit.summary import summary
from scaling.fit.table.inputs import read_inputs
from scaling.report.document import markdown, study_of
from scaling.report.figures.all_charts import all_charts
from scaling.report.sections import sections
from tests.support.fit_examples import config, isoflop_rows, write_csv
from tests.support.fuzzing.tally import Reader
from tests.support.report_example import example
from training.zero_shot.readers import read_hellaswag, read_passages, read_text

Readers = Iterator[Reader]
SHAPE = GPTConfig(n_layer=1, n_head=1, n_embd=8, block_size=8, vocab_size=256, init_std=0.02)


def fit_readers(folder: Path) -> Readers:
    """An earlier fit.json, read for itself and to be compared with."""
    fitted, path = example(), folder / "fit.json"
    path.write_text(to_json(fitted.document.to_json()))
    asked = config("runs=t.csv", f"compare={path}")
    yield Reader("fit.json", path, lambda: FitDocument.read(path))
    yield Reader("fit.json: compare=", path, lambda: _page(fitted, asked))


def _page(fitted: Fit, asked: FitConfig) -> str:
    """All that a comparison writes but the drawings."""
    found = compare.compared(fitted, asked)
    study = study_of(found)
    text = markdown(study, sections(study, all_charts(study)))
    return summary(found.document) + text + to_json(found.document.to_json())


def table_readers(folder: Path) -> Readers:
    """A table of runs as CSV, JSON lines and Parquet, and one of training curves."""
    from pyarrow import Table, parquet

    surface = PUBLISHED["besiroglu"]
    rows: list[dict[str, Any]] = [
        {"run_id": f"r{index}", "status": "done", **row}
        for index, row in enumerate(isoflop_rows(surface, (1e17, 1e18), (0.5, 1.0, 2.0), 0.003))
    ]
    curves = [
        {**row, "step": step, "tokens": row["tokens"] * step / 3, "loss": row["loss"] + 3 - step}
        for row in rows
        for step in (1, 2, 3)
    ]
    write_csv(folder / "runs.csv", rows)
    write_csv(folder / "curves.csv", curves)
    (folder / "runs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "list.json").write_text(to_json(rows))
    parquet.write_table(Table.from_pylist(rows), folder / "runs.parquet")
    forms = {"runs.csv": "table", "curves.csv": "table", "runs.jsonl": "lines"}
    for name, form in (forms | {"list.json": "json", "runs.parquet": "bytes"}).items():
        yield Reader(
            f"table {name}", folder / name, lambda name=name: _admitted(folder / name), form
        )


def _admitted(path: Path) -> Any:
    asked = replace(_ASKED, runs=str(path))
    inputs = read_inputs(asked)
    curves = {name: curve.rows(100) for name, curve in inputs.curves.items()}
    return repr(observe(inputs.runs, asked)), curves


_ASKED = config("runs=t.csv")


def weight_readers(folder: Path) -> Readers:
    """Weights in other projects' forms."""
    network = GPT(SHAPE, None)  # whose weights are whatever was in memory
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.02, generator=torch.Generator().manual_seed(0))
    theirs, llm_c = folder / "hf", folder / "model.bin"
    theirs.mkdir()
    hugging_face.write(theirs, network.state_dict(), SHAPE, 0)
    header = struct.pack("<8i", 20240326, 3, 8, 256, 1, 1, 8, 256).ljust(1024, b"\0")
    weights = [w.flatten() for name, w in network.state_dict().items() if name != "lm_head.weight"]
    llm_c.write_bytes(header + torch.cat(weights).numpy().astype("<f4").tobytes())
    for path in (theirs / "config.json", theirs / "model.safetensors", llm_c):
        source = str(path.parent if path.parent == theirs else path)
        form = "json" if path.suffix == ".json" else "bytes"
        yield Reader(f"weights {path.name}", path, lambda source=source: _weights(source), form)


def _weights(source: str) -> Any:
    found = read_pretrained(source)
    network = found.network()
    return found.config, [weight.sum().item() for weight in network.state_dict().values()]


def evaluation_readers(folder: Path) -> Readers:
    """The sets of the zero-shot tasks."""
    question = {"ctx": "A man", "ctx_a": "A", "ctx_b": "man", "activity_label": "x", "label": 1}
    swag, lambada, text = folder / "h.jsonl", folder / "l.jsonl", folder / "w.txt"
    lines = [json.dumps(question | {"endings": ["a", f"b {n}"]}) for n in range(3)]
    swag.write_text("\n".join(lines) + "\n")
    lambada.write_text("".join(json.dumps({"text": f"the last word {n}"}) + "\n" for n in range(3)))
    text.write_text("= Title =\n\nsome text of an article\n")
    yield Reader("hellaswag .jsonl", swag, lambda: read_hellaswag(swag, True), "lines")
    yield Reader("hellaswag .jsonl: llm.c", swag, lambda: read_hellaswag(swag, False), "lines")
    yield Reader("lambada .jsonl", lambada, lambda: read_passages(lambada), "lines")
    yield Reader("wikitext .txt", text, lambda: read_text(text), "bytes")
