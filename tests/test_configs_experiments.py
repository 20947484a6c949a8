"""The experiments that reproduce GPT-2 are the published recipes, and plan without any data."""

import subprocess
import sys
from collections import Counter
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

import sweep
from common.errors import BadInput
from configs.cli import Arguments, run_entry
from configs.load import CONFIG_DIR, compose_config
from configs.schema import build
from data.config import DataConfig
from model import flops
from scaling.plan.cost import flops_exact
from scaling.run.command import read_request
from scaling.run.planning import plan_for
from scaling.run.target import target_of
from training.config import TrainConfig
from training.schedule import learning_rate, warmup_steps

ROOT = CONFIG_DIR.parent
# llm.c's scripts/run_gpt2_*.sh, discussions 481 and 677. Parameters, steps, tokens of a batch, peak
# rate, floor, 6 P D.
RECIPES = {
    "gpt2_124m": (124_439_808, 19_073, 524_288, 6e-4, 0.0, 7.466e18),
    "gpt2_350m": (354_823_168, 60_000, 524_288, 3e-4, 0.0, 6.697e19),
    "gpt2_774m": (774_030_080, 286_102, 524_288, 2.5e-4, 0.0, 6.966e20),
    "gpt2_1558m": (1_557_611_200, 32_000, 1_048_576, 6e-4, 0.1, 3.136e20),
}


def load(name: str, *overrides: str) -> TrainConfig:
    values = compose_config("train", (f"experiment={name}", *overrides))
    return build(TrainConfig, {key: values[key] for key in values if key not in NOT_A_TRIAL})


NOT_A_TRIAL = ("grid", "launcher", "fit")


@pytest.mark.parametrize("name", RECIPES)
def test_reproduction_is_the_published_recipe(name: str) -> None:
    config = load(name)
    params, steps, batch, lr, floor, flop = RECIPES[name]
    assert flops.params_total(config.model) == params
    schedule, optimizer = config.schedule, config.optimizer
    assert (schedule.name, schedule.steps, schedule.batch_tokens) == ("cosine", steps, batch)
    assert (warmup_steps(schedule), schedule.final_lr_fraction) == (700, floor)
    assert (optimizer.name, optimizer.lr, optimizer.betas) == ("adamw", lr, (0.9, 0.95))
    assert (optimizer.weight_decay, optimizer.grad_clip, optimizer.eps) == (0.1, 1.0, 1e-8)
    assert config.precision == "bf16"
    assert (config.evaluation.tokens, config.evaluation.windows) == (10_485_760, "first")
    assert flops.flops_per_token_6n(config.model) * schedule.tokens_planned == pytest.approx(
        flop, rel=1e-3
    )
    assert config.data.hub is not None and len(config.data.hub.revision or "") == 40
    assert config.data.tokenizer == "gpt2" and config.data.val_tokens == 100_000_000


@pytest.mark.parametrize("name", RECIPES)
def test_reproduction_is_planned_without_its_data(name: str, tmp_path: Path) -> None:
    words = [str(ROOT / "train.py"), f"experiment={name}", "mode=plan"]
    done = subprocess.run([sys.executable, *words], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{RECIPES[name][0]:,}" in done.stdout
    assert not list(tmp_path.iterdir())


def test_fast_reproduction_takes_half_the_tokens() -> None:
    """The fast reproduction is the same model and data on half the tokens."""
    fast, plain = load("gpt2_124m_fast"), load("gpt2_124m")
    for part in ("model", "data", "evaluation", "precision"):
        assert getattr(fast, part) == getattr(plain, part)
    assert fast.schedule.batch_tokens == plain.schedule.batch_tokens
    assert fast.schedule.tokens_planned / plain.schedule.tokens_planned == pytest.approx(
        0.5, rel=1e-3
    )
    assert (fast.optimizer.name, fast.schedule.name) == ("muon", "constant_linear")
    steps, cooldown = fast.schedule.steps, round(0.3 * fast.schedule.steps)
    rates = [learning_rate(step, fast.optimizer.lr, fast.schedule) for step in range(steps)]
    assert rates.count(1.8e-3) == steps - cooldown - 249 and rates[-1] == 0


# FLOP of the grid and of the tuning before it, as the heads of the experiments state them.
STUDIES = {
    "isoflop_s": (1.3e18, 2.1e17),
    "isoflop_m": (1.3e19, 2.1e18),
    "isoflop_l": (1.3e20, 2.1e19),
    "isoflop_xl": (1.3e21, 2.1e20),
}


@pytest.mark.parametrize("name", STUDIES)
def test_study_costs_what_it_states(name, tmp_path, monkeypatch):
    """A study is planned without its data at the cost it states."""
    monkeypatch.chdir(tmp_path)
    words = (f"experiment={name}", "mode=plan", "launcher.device=H200")
    request = read_request(Arguments("sweep", words, CONFIG_DIR))
    tuning, grid = plan_for(request, None, target_of(request, None))
    found = [sum(flops_exact(t.config) for t in plan.trials) for plan in (grid, tuning)]
    assert found == pytest.approx(STUDIES[name], rel=0.02)
    assert found[1] <= 0.25 * found[0]
    cells = Counter((t.flops_budget, t.config.model) for t in grid.trials)
    sizes = Counter(budget for budget, _ in cells)
    assert len(sizes) == 5 and min(sizes.values()) >= 6
    assert max(sizes) / min(sizes) == pytest.approx(100, rel=0.01)
    assert sorted(cells.values())[-6:] == [1, 3, 3, 3, 3, 3]  # three seeds at each centre
    assert not list(tmp_path.iterdir())


def test_study_is_planned_before_its_data_are_fetched(tmp_path, monkeypatch, capsys):
    """A study of the hub is planned before its data are fetched."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    words = ("experiment=isoflop_m", "mode=plan", "foresight.simulations=40")
    assert run_entry(sweep.main, "sweep", "", words) == 0
    said = capsys.readouterr().out
    assert "6.24B training tokens of hf:HuggingFaceFW/fineweb" in said and "not prepared" in said
    assert "time: state a machine to plan for" in said and "isoflop     a = 0.50" in said
    assert not list(tmp_path.iterdir())


def test_fineweb_shards_take_the_place_of_the_hub(tmp_path: Path) -> None:
    config = load("gpt2_124m", "data=fineweb_shards", f"data.path={tmp_path}")
    assert (config.data.source, config.data.path, config.data.hub) == (
        "shards",
        str(tmp_path),
        None,
    )
    assert config.evaluation.windows == "first"


@pytest.mark.parametrize("path", sorted((CONFIG_DIR / "data").glob("*.yaml")), ids=lambda p: p.stem)
def test_data_groups_have_every_field(path: Path) -> None:
    """Every field of a recipe can be typed."""
    values = yaml.safe_load(path.read_text())
    assert sorted(values) == sorted(field.name for field in fields(DataConfig))


@pytest.mark.parametrize(
    ("typed", "change"),
    [
        ("optimizer.lr=0.01", "grid.rules.lr and grid.rules.lr_factor"),
        ("model.n_embd=64", "grid.ladder"),
        ("++schedule.tokens=1e6", "grid.budgets"),
        ("schedule.batch_tokens=512", "grid.rules.batch and grid.rules.batch_factor"),
    ],
)
def test_overrides_refuse_what_the_grid_sets(typed, change):
    """It was passed over in silence: every trial has the value of the grid's rules."""
    with pytest.raises(BadInput, match=f"the grid sets .* of each trial; change {change}$"):
        read_request(Arguments("sweep", ("experiment=smoke", "mode=plan", typed), CONFIG_DIR))
