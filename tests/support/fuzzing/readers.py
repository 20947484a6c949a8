"""Every file that a command reads, whole, in a folder of its own, with what reads it."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from common.files import to_json, with_digest
from data.verification import VERIFIED
from scaling.run import failures, slurm, store, trial_states
from scaling.run.status import view
from tests.support.fuzzing.sealed import lost_rows, named_as, of_no_digest
from tests.support.fuzzing.tally import Reader, never
from tests.support.tiny_sweep import LAUNCHER, pretended_plan, stored
from tests.support.tiny_training import alone, tiny_config, train_once, write_text
from training.dataset import open_data
from training.environment import earlier_environment
from training.ranks.failures import read_rank
from training.trial import checkpoint
from training.trial.attempt import Attempt, Watch, process_identity
from training.trial.folder import read_config, write_config
from training.trial.metrics import read_metrics, read_tail
from training.trial.record import read_record

Readers = Iterator[Reader]


def sweep_readers(folder: Path) -> Readers:
    """A sweep of two trials: one that is done, and one whose process died on the way."""
    from scaling.fit.table.inputs import read_inputs
    from scaling.fit.table.sweep_directory import sweep_curves, write_runs_csv
    from tests.support.fit_examples import config as fit_config

    write_text(folder / "text")
    plan = pretended_plan(folder, (0, 1))
    out = folder / "sweep"
    store.store_plan(out, stored(plan), extend=False)
    done, died = (trial_states.trial_folder(out, trial) for trial in plan.trials)
    for trial, at in zip(plan.trials, (done, died), strict=True):
        write_config(at, trial.config)
        train_once(trial.config, at)
    (died / "record.json").unlink()
    failures.record_crash(Attempt(died, 1), -9)
    asked = fit_config(f"runs={out}")

    def read_plan() -> Any:
        store._read_plan.cache_clear()  # a version is told by times that a test is too quick for
        return store.read_plan(out)

    def views() -> Any:
        states = trial_states.read_states(out, plan)
        return [view(out, state, LAUNCHER) for state in states]

    def table() -> Any:
        write_runs_csv(out)
        return read_inputs(asked).runs.data.to_pylist(), (out / "runs.csv").read_text()

    yield Reader("plan.json: mode=status", out / "plan.json", read_plan, may_be=of_no_digest)
    yield Reader("plan.json: fit.py", out / "plan.json", table, may_be=of_no_digest)
    record, metrics = done / "record.json", done / "attempt-001/metrics.jsonl"
    yield Reader("record.json: mode=status", record, views, may_be=named_as(str(record)))
    yield Reader("record.json: fit.py", record, table, may_be=named_as("'status': 'damaged'"))
    yield Reader("record.json: train.py", record, lambda: read_record(done), may_be=of_no_digest)

    def curves() -> Any:
        return {name: curve.rows(1000) for name, curve in sweep_curves(out)[0].items()}

    yield Reader("metrics.jsonl: fit.py", metrics, curves, "lines", lost_rows)
    yield Reader("metrics.jsonl: train.py", metrics, lambda: read_metrics(done), "lines", lost_rows)
    torn = died / "attempt-001/metrics.jsonl"
    yield Reader(
        "metrics.jsonl: mode=status", torn, lambda: read_tail(torn.parent), "lines", lost_rows
    )
    yield Reader("config.yaml", done / "config.yaml", lambda: read_config(done), "bytes")
    job = out / slurm.JOB
    job.write_text(to_json(with_digest({"job": "4711", "tasks": 2, "submitted": "2026-01-01"})))
    yield Reader("slurm.json", job, lambda: slurm.submitted_job(out), may_be=of_no_digest)
    yield from _attempt_readers(died, views)


def _attempt_readers(trial: Path, views: Callable[[], Any]) -> Readers:
    first, second = Attempt(trial, 1), Attempt(trial, 2)
    (first.folder / "released").unlink()
    owner = first.folder / "owner.json"
    yield Reader("owner.json: claim", owner, lambda: Watch(lease_s=0).owner(first.folder))
    yield Reader("owner.json: mode=status", owner, views)
    elsewhere = to_json({**process_identity(), "host": "elsewhere"})

    def silent() -> Any:
        owner.write_text(elsewhere)
        return Watch().owner(first.folder)

    yield Reader("heartbeat: claim", first.folder / "heartbeat", silent, "bytes")
    runtime = first.folder / "runtime.json"
    yield Reader("runtime.json: train.py", runtime, lambda: earlier_environment(second))
    yield Reader("runtime.json: mode=status", runtime, views)
    crash = first.folder / failures.CRASH
    yield Reader("death.json: sweep.py", crash, lambda: failures.crashes_without_progress(trial))
    yield Reader("death.json: mode=status", crash, views)
    rank = first.folder / "ranks/1.json"
    rank.parent.mkdir(exist_ok=True)
    rank.write_text(to_json({"process": process_identity(), "report": "rank 1 failed"}))
    yield Reader("ranks/1.json: train.py", rank, lambda: read_rank(first, 1))
    saved = max(first.checkpoints.iterdir())
    for other in set(first.checkpoints.iterdir()) - {saved}:
        checkpoint._remove(other)

    def newest() -> Any:
        found = checkpoint.newest(trial, lambda _: None)
        return found and (found.meta, sorted(found.state["model"]), found.state["step"])

    yield Reader("checkpoint meta.json", saved / "meta.json", newest, may_be=never)
    yield Reader("checkpoint state.pt", saved / "state.pt", newest, "bytes", never)


def data_readers(folder: Path) -> Readers:
    """Prepared shards of bytes, a tokenizer that was trained, and documents to prepare."""
    from data.manifest import read_manifest
    from data.prepare.sources import read_documents
    from data.tokenizer import load_encoding

    write_text(folder / "text")
    config = tiny_config(folder)

    def opened() -> Any:
        data = open_data(config, alone())
        batch = data.loader.batch(0, 4)
        return data.manifest, np.asarray(data.windows).tolist(), np.asarray(batch).tolist()

    opened()
    [manifest] = (folder / "shards").glob("*/manifest.json")
    shards = manifest.parent
    yield Reader("manifest.json", manifest, lambda: read_manifest(shards))
    yield Reader("manifest.json: train.py", manifest, opened)
    yield Reader("verified.json", shards / VERIFIED, opened, may_be=never)
    for name in ("train_000000.bin", "val_000000.bin"):
        yield Reader(f"{name[:-11]} shard", shards / name, opened, "bytes", never)
    tokenizer = _trained_tokenizer(folder)
    text = "def index(self): return 7"

    def encoded() -> Any:
        return load_encoding(tokenizer).encode_ordinary(text)

    yield Reader("tokenizer.json", tokenizer, encoded)
    documents = folder / "documents/a.jsonl"
    documents.parent.mkdir()
    documents.write_text("".join(json.dumps({"text": f"text {n} é"}) + "\n" for n in range(5)))
    source = replace(config.data, path=str(documents.parent))

    def documents_read() -> Any:
        return list(read_documents(source, Counter()))

    yield Reader("documents .jsonl", documents, documents_read, "lines")


def _trained_tokenizer(folder: Path) -> Path:
    from data.prepare import prepare

    config = tiny_config(folder).data
    made = prepare(replace(config, tokenizer="bpe", vocab_size=300), folder / "shards")
    return made / "tokenizer.json"
