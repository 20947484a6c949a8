"""The experiments that reproduce GPT-2 are the published recipes, and plan without any data."""

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from configs.load import CONFIG_DIR, build, compose_config
from data.config import DataConfig
from model import flops
from training.config import TrainConfig
from training.schedule import warmup_steps

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
def test_a_reproduction_is_the_published_recipe(name: str) -> None:
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
    assert flops.flops_per_token_6n(config.model) * schedule.tokens_seen == pytest.approx(
        flop, rel=1e-3
    )
    assert config.data.hub is not None and len(config.data.hub.revision or "") == 40
    assert config.data.tokenizer == "gpt2" and config.data.val_tokens == 100_000_000


@pytest.mark.parametrize("name", RECIPES)
def test_a_reproduction_is_planned_without_its_data(name: str, tmp_path: Path) -> None:
    words = [str(ROOT / "train.py"), f"experiment={name}", "mode=plan"]
    done = subprocess.run([sys.executable, *words], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{RECIPES[name][0]:,}" in done.stdout
    assert not list(tmp_path.iterdir())


def test_ready_shards_take_the_place_of_the_hub(tmp_path: Path) -> None:
    config = load("gpt2_124m", "data=fineweb_shards", f"data.path={tmp_path}")
    assert (config.data.source, config.data.path, config.data.hub) == (
        "shards",
        str(tmp_path),
        None,
    )
    assert config.evaluation.windows == "first"


@pytest.mark.parametrize("path", sorted((CONFIG_DIR / "data").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_field_of_a_recipe_can_be_typed(path: Path) -> None:
    values = yaml.safe_load(path.read_text())
    assert sorted(values) == sorted(field.name for field in fields(DataConfig))
