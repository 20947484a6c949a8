"""The experiments of the papers plan what their pages say, and cost minutes of two CPU cores."""

import math
import re
import shlex
from collections import Counter

import pytest

from configs.cli import Arguments
from configs.load import CONFIG_DIR
from model.flops import params_non_embedding
from scaling.fit.registry import LAWS
from scaling.plan.cost import flops_exact
from scaling.plan.plan import Trial
from scaling.run.command import Request, read_request
from scaling.run.planning import plan_for
from scaling.run.target import target_of
from tests.support.plan_examples import first_plan, through
from training.config import TrainConfig
from training.trial.identity import setting

PAGE = (CONFIG_DIR.parent / "docs" / "experiments.md").read_text(encoding="utf-8")
# Trials, and FLOP as the heads of the experiments state them.
STUDIES = {
    "shape": (18, 5.4e12),
    "sample_efficiency": (6, 4.5e12),
    "repeated_data": (68, 3.8e12),
    "critical_batch": (5, 2e12),
    "gpt2_lstm": (24, 1.4e12),
    "gpt2_llama": (24, 1.4e12),
    "cosine_constant": (40, 5.7e12),
    "transfer": (62, 2.4e12),
}


def planned(name: str, *words: str) -> tuple[Request, list[Trial]]:
    given = (f"experiment={name}", "mode=plan", "launcher.device=H200", *words)
    request = read_request(Arguments("sweep", given, CONFIG_DIR))
    plans = plan_for(request, None, target_of(request, None))
    assert not any(plan.left_out for plan in plans)
    return request, list({one.id: one for plan in plans for one in plan.trials}.values())


@pytest.fixture(scope="module", params=STUDIES)
def study(request) -> tuple[str, Request, list[Trial]]:
    return (request.param, *planned(request.param))


def test_study_costs_what_it_states_and_has_a_section(study) -> None:
    name, request, trials = study
    count, flops = STUDIES[name]
    assert len(trials) == count
    assert sum(flops_exact(one.config) for one in trials) == pytest.approx(flops, rel=0.05)
    assert f"`{name}`" in PAGE and f"python sweep.py experiment={name} out=" in PAGE
    assert "It cannot show" in PAGE
    assert {one.config.runtime.device for one in trials} == {"cpu"}
    assert len({str(setting(one.config)) for one in trials}) == 1
    figures = [key for law in request.fit.laws or () for key in LAWS[law].figures]
    assert all(f"`{key}`" in PAGE for key in figures)


def test_shapes_are_of_one_size_from_wide_to_deep() -> None:
    _, trials = planned("shape")
    models = [one.config.model for one in trials]
    sizes = [params_non_embedding(model) for model in models]
    assert max(sizes) / min(sizes) < 1.1
    ratios = [model.n_embd / model.n_layer for model in models]
    assert min(ratios) < 2.5 and max(ratios) == 32
    heads = {model.n_head for model in models if model.n_embd == 64}
    assert heads == {1, 2, 4, 8}


@pytest.mark.parametrize("name", ["critical_batch", "sample_efficiency"])
def test_curves_are_of_a_constant_rate(name) -> None:
    """Then every point of a curve is a run of that length."""
    _, trials = planned(name)
    assert {one.config.schedule.final_lr_fraction for one in trials} == {1}
    assert {one.config.schedule.name for one in trials} == {"constant_sqrt"}


def test_batches_rise_and_rates_with_their_root() -> None:
    request, trials = planned("critical_batch")
    batches = {one.config.schedule.batch_tokens: one.config.optimizer.lr for one in trials}
    assert len(batches) == 5 and max(batches) >= 14 * min(batches)
    for batch, rate in batches.items():
        assert rate == pytest.approx(0.00875 * (batch / 448) ** 0.5, rel=0.1)
    assert request.fit.by == "none" and len({one.config.model for one in trials}) == 1


def test_parts_of_the_text_are_seen_up_to_32_times() -> None:
    request, trials = planned("repeated_data")
    assert request.fit.by == "none" and request.fit.laws == ("data_constrained",)
    passes = Counter(
        round(one.config.schedule.tokens / one.config.data.unique_tokens)
        for one in trials
        if one.config.data.unique_tokens and one.part == "horizons"
    )
    assert set(passes) == {1, 2, 4, 8, 16, 32} and max(passes.values()) == 12
    ids = {one.id for one in trials}
    assert len(ids) == len(trials)


def on_a_cluster(name: str) -> list[str]:
    """The words that the page gives after `experiment=isoflop_m`."""
    found = re.search(rf"`(grid=\[isoflop_m,{name}\][^`]*)`", PAGE)
    assert found
    return shlex.split(found[1].replace("\n", " "))


def test_transfer_on_a_cluster_ends_in_a_verdict_for_each_arm() -> None:
    """Its cells are of one D and batch, and the rates tried go beyond the cap of the rule."""
    request, _ = planned("isoflop_m", *on_a_cluster("transfer"))
    assert request.grid is not None and request.grid.arms is not None

    def law(config: TrainConfig) -> float:
        return 3 + 0.05 * math.log2(config.optimizer.lr / 4e-3) ** 2

    plans = through(first_plan(request.base, request.grid, 10**11), law)
    notes = [note for note in plans[-1].learned.notes if "transfer" in note]
    expected = [
        f"tuning: {arm}: the rate transfers: its optimum moves x1 " for arm in request.grid.arms
    ]
    assert [note[: len(start)] for note, start in zip(notes, expected, strict=True)] == expected


@pytest.mark.parametrize("words", [("cosine_constant",), ("isoflop_m", "cluster")])
def test_constant_rate_is_half_of_the_cosine_in_every_cell(words) -> None:
    """No cap of the rule comes between."""
    name, *cluster = words
    _, trials = planned(name, *(on_a_cluster("cosine_constant") if cluster else ()))
    rates: dict[tuple[str, ...], dict[str, float]] = {}
    for one in (trial.config for trial in trials if trial.part == "grid"):
        cell = (str(one.model), str(one.schedule.tokens), str(one.seed))
        rates.setdefault(cell, {})[one.schedule.name] = one.optimizer.lr
    assert len(rates) >= 20
    for cell in rates.values():
        assert cell["constant_sqrt"] == pytest.approx(cell["cosine"] / 2, rel=0.01)


@pytest.mark.parametrize("name", STUDIES)
def test_grid_goes_over_another_study_as_the_page_says(name: str) -> None:
    words = on_a_cluster(name)
    plain = () if any("grid.tuning" in word for word in words) else ("grid.tuning=null",)
    request, trials = planned("isoflop_m", *words, *plain)
    assert request.grid is not None and len(trials) >= 5
    assert all(one.config.model.vocab_size == 50257 for one in trials)
