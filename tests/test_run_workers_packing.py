"""How many trials one GPU is given at a time: by number or by size, and what is noted of it."""

import time
from dataclasses import replace

import pytest

from scaling.run import trial_states
from scaling.run.config import MOST_BY_SIZE
from scaling.run.workers.packing import (
    NAME,
    Packing,
    Shared,
    read_sharing,
    trials_by_size,
)
from tests.support.tiny_sweep import eventually, pretend, pretended_plan, work
from tests.support.tiny_training import claimed, tiny_config
from training.trial.attempt import attempts
from training.trial.folder import read_config
from training.trial.identity import trial_id


def sized(config, width: int, layers: int = 6, batch_tokens: int = 16_384):
    shape = {"n_layer": layers, "n_head": 2, "n_embd": width, "vocab_size": 4096}
    model = replace(config.model, **shape, block_size=1024)
    schedule = replace(config.schedule, batch_tokens=batch_tokens, tokens=batch_tokens)
    return replace(config, model=model, schedule=schedule)


def test_trials_by_size_packs_what_is_bound_by_launches(tmp_path):
    """At 16,384 tokens a step those below some 5M parameters; longer steps sooner fill a GPU."""
    base = tiny_config(tmp_path)
    counts = [trials_by_size(sized(base, width)) for width in (64, 128, 160, 192, 224, 256, 768)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == MOST_BY_SIZE and counts[2] > 1 and set(counts[4:]) == {1}
    assert trials_by_size(sized(base, 128, batch_tokens=2**17)) == 1
    assert trials_by_size(sized(base, 256, batch_tokens=2**12)) > 1


def test_trials_that_share_a_device_have_equal_parts_of_its_memory(tmp_path):
    """Of what the user grants; a large model, packed by size, has all of it."""
    attempt, base = claimed(tmp_path / "trial"), tiny_config(tmp_path)
    small, large = (sized(base, width) for width in (32, 768))
    for packing, config, part in (
        (Packing(2, False, True), large, 1 / 2),
        (Packing(4, True, True), small, 1 / 4),
        (Packing(4, True, True), large, 1),
    ):
        for granted in (1.0, 0.8):
            runtime = replace(base.runtime, memory_share=granted)
            found = packing.share(attempt, config, runtime)
            assert found == replace(runtime, memory_share=granted * part)


@pytest.fixture
def plan(tmp_path):
    """Two large trials and four small ones."""
    plan = pretended_plan(tmp_path, range(6))
    configs = [sized(trial.config, 768 if n < 2 else 32) for n, trial in enumerate(plan.trials)]
    trials = (
        replace(t, id=trial_id(c), config=c) for t, c in zip(plan.trials, configs, strict=True)
    )
    return replace(plan, trials=tuple(trials))


@pytest.mark.parametrize(
    ("packing", "most_large", "most_small"),
    [
        (Packing(4, True, True), 1, 4),
        (Packing(2, False, False), 2, 2),
        (None, 4, 4),
    ],
)
def test_worker_gives_a_device_as_many_trials_as_fit(
    tmp_path, plan, packing, most_large, most_small
):
    """By size a large one is alone on its device, small ones fill it; else the number counts."""
    (tmp_path / "now").mkdir()

    def note_present():
        there = sorted(path.name.partition("-")[0] for path in (tmp_path / "now").iterdir())
        with (tmp_path / "seen").open("a") as file:
            file.write(" ".join(there) + "\n")
        return there

    def met():
        """Whether two small ones were here at once; until then each waits for another."""
        if not (tmp_path / "met").exists() and note_present().count("32") > 1:
            (tmp_path / "met").touch()
        return (tmp_path / "met").exists()

    def act(config, attempt):
        mark = tmp_path / "now" / f"{config.model.n_embd}-{config.seed}"
        mark.touch()
        if config.model.n_embd == 32:
            eventually(met)
        else:
            time.sleep(0.4)
        note_present()
        mark.unlink()

    slots = packing.most if packing else 4
    ends = work(tmp_path, plan, pretend(act), slots=slots, packing=packing)
    assert [end for _, end in ends] == ["done"] * 6
    seen = [line.split() for line in (tmp_path / "seen").read_text().splitlines()]
    assert max(len(there) for there in seen if "768" in there) <= most_large
    small = max(len(there) for there in seen if "32" in there)
    assert 2 <= small <= most_small
    for trial in plan.trials:
        [attempt] = attempts(trial_states.trial_folder(tmp_path, trial))
        count = packing.at_once(trial.config) if packing else 1
        expected = Shared(count, packing.is_mps) if count > 1 else None
        assert read_sharing(attempt) == expected
        runtime = read_config(trial_states.trial_folder(tmp_path, trial)).runtime
        assert runtime.memory_share == 1 / count


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"trials_per_device": "x", "mps": true}'])
def test_read_sharing_of_a_damaged_note_is_none(tmp_path, text):
    assert read_sharing(tmp_path) is None
    (tmp_path / NAME).write_text(text)
    assert read_sharing(tmp_path) is None
