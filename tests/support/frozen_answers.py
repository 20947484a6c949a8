"""The answers that a change of structure must not change, as one JSON file, and its comparison.

python tests/support/frozen_answers.py write ANSWERS.json [SWEEP]      at the commit before
python tests/support/frozen_answers.py compare ANSWERS.json [SWEEP]    after each step

Frozen are fit.json without `provenance` of the tables in $REFERENCE_DIR and of the sweep directory
SWEEP, the weights of train.py and of sweep.py with experiment=smoke, the shards and manifest of a
prepared corpus, and the plans of the studies. New keys may appear in fit.json; none may change.
"""

import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
STUDIES = ("isoflop_s", "isoflop_m", "isoflop_l", "isoflop_xl")
# Tables that fit.py reads, each by the overrides it needs; a refusal is an answer too.
FITS = {
    "chinchilla": ("chinchilla_epoch.csv", "where.excluded_by_besiroglu=0", "predict.flops=[1e20]"),
    "chinchilla_all": ("chinchilla_epoch.csv", "n_bootstrap=200"),
    "chinchilla_isoflop": ("chinchilla_isoflop.csv", "n_bootstrap=200", "holdout=top"),
    "porian": ("porian2024_refinedweb.csv", "by=condition", "n_bootstrap=200"),
    "gadre": ("gadre2024_overtraining.csv", "by=train_dataset", "n_bootstrap=200"),
    "olmo": ("olmo_ladder_curves.csv", "where.role=train", "n_bootstrap=200"),
    "olmo_curves": ("olmo_ladder_curves.csv", "laws=[envelope,learning_curve]", "n_bootstrap=200"),
    "datablations": ("datablations_repeated_data.csv", "n_bootstrap=200"),
    "routing": ("routing_dense_curves.csv", "n_bootstrap=200", "laws=[learning_curve,kaplan]"),
    "vocab": ("vocab_scaling.csv", "columns.params=params_non_vocab", "columns.loss=flops"),
}

# Keys of sentences, which may change.
WORDS = {"text", "reason", "method_reason", "rolling_reason", "comparison", "note", "rule"}


def main(verb: str, answers: str, *sweep: str) -> int:
    """Write the answers, or tell each that differs; status 1 where any does."""
    found = collect(*map(Path, sweep))
    if verb == "write":
        Path(answers).write_text(json.dumps(found, indent=1, sort_keys=True))
        return 0
    differences = list(differing(json.loads(Path(answers).read_text()), found))
    print("\n".join(differences) or f"equal: {len(found)} answers")
    return 1 if differences else 0


def differing(old: Any, new: Any, name: str = "") -> Any:
    """The dotted names at which `new` differs from `old`; keys that are new in it may be."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key, value in old.items():
            if key not in new:
                yield f"{name}.{key}: gone"
            else:
                yield from differing(value, new[key], f"{name}.{key}")
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from differing(before, after, f"{name}[{index}]")
    elif old != new and name.rpartition(".")[2] not in WORDS:
        yield f"{name}: {str(old)[:200]} -> {str(new)[:200]}"


def collect(sweep: Path | None = None) -> dict[str, Any]:
    """Every answer by its name."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        found = {f"plan {name}": plan(name) for name in STUDIES}
        found["train"] = trained(place / "train")
        found["sweep"] = swept(place / "sweep")
        found["data"] = prepared(place / "data")
        for name, (table, *overrides) in FITS.items():
            path = Path(os.environ["REFERENCE_DIR"]) / table
            found[f"fit {name}"] = fitted(path, place / name, *overrides)
        if sweep is not None:
            found["fit sweep"] = fitted(sweep, place / "refit")
        return found


def command(*words: str, folder: Path = ROOT) -> int:
    """The exit status of a command of this checkout, with one thread."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    environ = {**os.environ, **threads, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env=environ, capture_output=True, text=True
    )
    if done.returncode == 1:
        raise RuntimeError(f"{words}: {done.stderr}")
    return done.returncode


def fitted(runs: Path, out: Path, *overrides: str) -> dict[str, Any]:
    """The status of a fit and each fit.json that it wrote."""
    status = command("fit.py", f"runs={runs}", f"out={out}", *overrides)
    documents = {}
    for path in sorted(out.rglob("fit.json")):
        document = json.loads(path.read_text())
        del document["provenance"]
        documents[str(path.relative_to(out).parent)] = document
    return {"status": status, "documents": documents}


def trained(out: Path) -> Any:
    """What train.py leaves of experiment=smoke."""
    command("train.py", "experiment=smoke", f"out={out}")
    return _outcome(json.loads((out / "record.json").read_text()))


def swept(out: Path) -> Any:
    """What sweep.py leaves of experiment=smoke, trial by trial."""
    command("sweep.py", "experiment=smoke", f"out={out}")
    records = (json.loads(path.read_text()) for path in sorted(out.glob("trials/*/record.json")))
    return {record["id"]: _outcome(record) for record in records}


def _outcome(record: dict[str, Any]) -> dict[str, Any]:
    names = ("id", "status", "loss", "loss_bpb", "train_loss", "weights_digest", "data_digest")
    return {name: record[name] for name in names}


def prepared(out: Path) -> Any:
    """The shards and manifest of a corpus of three documents, by each kind of tokenizer."""
    text = Path(tempfile.gettempdir()) / "frozen_answers"  # its path is in names and digests
    text.mkdir(exist_ok=True)
    out.mkdir()
    for index in range(3):
        letters = random.Random(index).choices("abcdefghij      ", k=50_000)
        (text / f"{index}.txt").write_text("".join(letters))
        os.utime(text / f"{index}.txt", (1e9, 1e9))
    for tokenizer in ("gpt2", "bytes", "bpe vocab_size=300"):
        words = f"-m data.prepare source=files path={text} out=data tokenizer={tokenizer}".split()
        if command(*words, folder=out):
            raise RuntimeError(f"{words}: refused")
    paths = sorted(path for path in (out / "data").rglob("*") if path.is_file())
    return {str(path.relative_to(out)): _content(path) for path in paths}


def _content(path: Path) -> str:
    data = path.read_bytes()
    return data.decode() if path.suffix == ".json" else hashlib.sha256(data).hexdigest()


def plan(name: str) -> Any:
    """The plans of a study's stages, as plan.json holds them, before anything is measured."""
    sys.path.insert(0, str(ROOT))
    from configs.cli import Arguments
    from configs.load import CONFIG_DIR
    from scaling.plan.plan_json import plan_to_json
    from scaling.run.command import read_request
    from scaling.run.planning import plan_for
    from scaling.run.target import target_of

    words = (f"experiment={name}", "mode=plan", "launcher.device=H200")
    request = read_request(Arguments("sweep", words, CONFIG_DIR))
    plans = plan_for(request, None, target_of(request, None))
    return json.loads(json.dumps([plan_to_json(plan) for plan in plans]))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
