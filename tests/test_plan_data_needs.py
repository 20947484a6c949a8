"""A sweep of a large data set prepares as much of it as its longest run reads."""

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

import data.prepare.__main__
from common.errors import BadInput
from configs.cli import Arguments
from configs.load import CONFIG_DIR
from data.manifest import read_manifest
from scaling.plan.data_needs import is_bounded_by_plan, longest_run, tokens_needed
from scaling.plan.stages import plan_stages
from scaling.run import sweep
from scaling.run.command import Request, read_request
from scaling.run.planning import completed, fetch_data
from scaling.run.store import StoredPlan
from tests.support.plan_examples import STAGED, experiment
from tests.support.tiny_sweep import LAUNCHER, overrides
from tests.support.typed import last_of_each


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """A copy of a data set: 600 documents of 5,000 bytes, 2.4 million of them to train on."""
    folder, draw = tmp_path / "copy", random.Random(0)
    folder.mkdir()
    lines = [json.dumps({"text": "".join(draw.choices("abcd \n", k=5000))}) for _ in range(600)]
    (folder / "a.jsonl").write_text("\n".join(lines))
    return folder


def asked(text: Path, out: Path, *words: str) -> Request:
    """A sweep of four trials, the longest of 1.4 million tokens, on that copy."""
    line = [word for word in overrides(out.parent, out) if not word.startswith("data")]
    line += ["grid.budgets=[1e10,6e10]", "grid.centre.tokens_per_param=100"]
    line.append("foresight.simulations=40")
    data = ["data=hf", f"data.path={text}", "data.tokenizer=bytes", "data.val_fraction=0.2"]
    return read_request(Arguments("sweep", tuple(last_of_each(*line, *data, *words)), CONFIG_DIR))


def prepared_tokens(out: Path) -> set[int]:
    """Training tokens of every folder of shards."""
    found = out.parent.rglob("manifest.json")
    return {read_manifest(path.parent).train.tokens for path in found}


@pytest.mark.parametrize(
    ("name", "tokens"), [("isoflop_m", 6.25e9), ("isoflop_l", 27.0e9), ("isoflop_xl", 181e9)]
)
def test_tokens_needed_are_those_of_the_longest_run(name, tokens):
    """Of FineWeb's 100B tokens isoflop_l needs 27B: its longest run and a hundredth."""
    base, grid = experiment(name)
    plans = plan_stages(base, grid, None)
    assert tokens_needed(plans) == pytest.approx(tokens, rel=3e-3)
    assert 1.01 * longest_run(plans) <= tokens_needed(plans) <= 1.021 * longest_run(plans)


def test_tokens_needed_are_unknown_before_a_scout():
    """A scout may find the optimum elsewhere: then any part may be too little."""
    base, _ = experiment("quickstart")
    assert tokens_needed(plan_stages(base, STAGED, None)) is None


def test_text_of_ones_own_is_prepared_whole():
    """What a plan bounds is a data set in random order, unless the config says how much."""
    base, _ = experiment("isoflop_m")
    assert is_bounded_by_plan(base) and not is_bounded_by_plan(experiment("isoflop_s")[0])
    assert not is_bounded_by_plan(experiment("quickstart")[0])


def test_sweep_prepares_what_its_longest_run_reads(text, tmp_path):
    """The same command finds the same data again, and a longer grid is left what there is."""
    out = tmp_path / "out"
    stored = sweep.plan_sweep(asked(text, out), None)
    needed = stored.plan.base.data.train_tokens
    assert needed is not None and longest_run([stored.plan]) <= needed < 1_500_000
    (tokens,) = prepared_tokens(out)
    assert needed <= tokens <= needed + 5_001
    assert sweep.plan_sweep(asked(text, out), None) == stored
    longer = asked(text, out, "grid.budgets=[1e10,1.5e11]", "extend=true")
    extended = sweep.plan_sweep(longer, None).plan
    assert extended.base.data.train_tokens == needed and prepared_tokens(out) == {tokens}
    assert any("epochs, expected at most" in cell.reason for cell in extended.left_out)


def test_sweep_takes_what_is_prepared_already(text, tmp_path):
    """More of the data set serves as well, and all of it first: then no id changes."""
    out = tmp_path / "out"
    for size, chosen in ((2_000_000, 2_000_000), (100_000, 2_000_000), (1_600_000, 1_600_000)):
        fetch_data(asked(text, out, f"data.train_tokens={size}"))
        assert completed(asked(text, out)).base.data.train_tokens == chosen
    whole = replace(asked(text, out).base.data, train_tokens=None)
    data.prepare.prepare(whole, tmp_path / "shards")
    assert completed(asked(text, out)).base.data == whole


def test_sweep_goes_on_with_the_data_it_began_with(text, tmp_path):
    """A sweep that was planned on the whole data set stays so."""
    request = asked(text, tmp_path / "out")
    plan = plan_stages(request.base, request.grid, None)[-1]
    known = StoredPlan(plan, "0" * 16, LAUNCHER)
    assert completed(request, known).base == request.base
    part = replace(request.base, data=replace(request.base.data, train_tokens=77))
    known = replace(known, plan=replace(plan, base=part))
    assert completed(request, known).base.data.train_tokens == 77


def test_prepare_of_a_sweep_is_left_to_its_plan(monkeypatch, capsys):
    """python -m data.prepare of a study does as sweep.py mode=prepare with the same words."""
    called = []

    def execute(program, words):
        called.append(words)
        raise BadInput("replaced")

    monkeypatch.setattr("os.execv", execute)
    words = ("experiment=isoflop_l", "out=/shards")
    with pytest.raises(BadInput, match="replaced"):
        data.prepare.__main__.main(Arguments("prepare", words, CONFIG_DIR))
    assert called[0][-3:] == ["experiment=isoflop_l", "runtime.data_dir=/shards", "mode=prepare"]
    assert Path(called[0][1]).name == "sweep.py" and "mode=prepare" in capsys.readouterr().err
