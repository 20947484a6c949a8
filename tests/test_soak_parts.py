"""A little of each part of the full run (`make soak`), every time."""

import pytest
import torch

import training.checkpointer
import training.trial.attempt
from tests.soak.damage import corrupt_checkpoints
from tests.soak.kills import kill_at_calls, kill_ranks, kill_sweepers, kill_training
from tests.soak.results import PAGE, Done, Row, table, total, with_figures
from tests.soak.units import units


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    torch.set_num_threads(1)
    for module, name in (
        (training.checkpointer, "BACKGROUND_BYTES"),
        (training.trial.attempt, "OWNERLESS_S"),
    ):
        monkeypatch.setattr(module, name, getattr(module, name))  # which puts it back


@pytest.mark.parametrize(
    "seed",
    [
        pytest.param(0, id="at once", marks=pytest.mark.slow),
        pytest.param(1, id="in the background"),
    ],
)
def test_kills_of_training_change_nothing(tmp_path, seed):
    """Twenty kills in all, at any moment; one trial is killed until it ends."""
    counts = kill_training(tmp_path, 10, seed)
    assert counts["kills"] == 10
    assert Row(counts).faults == 0, counts


def test_kills_before_calls_that_change_the_disk_change_nothing(tmp_path):
    """Every fifth call; the full run has each."""
    counts = kill_at_calls(tmp_path, after=False, every=5)
    assert counts["kills"] >= 9, counts
    assert Row(counts).faults == 0, counts


def test_kills_of_two_ranks_change_nothing(tmp_path):
    counts = kill_ranks(tmp_path, 2, 0)
    assert counts["kills"] == 2
    assert Row(counts).faults == 0, counts


def test_kills_of_sweepers_lose_nothing_and_double_nothing(tmp_path):
    counts = kill_sweepers(tmp_path, 8, 0)
    assert counts["kills"] == 8
    assert Row(counts).faults == 0, counts


def test_damaged_checkpoints_are_never_read_as_others(tmp_path):
    counts = corrupt_checkpoints(tmp_path, 300, 0)
    assert counts["inputs"] == 300
    assert Row(counts).faults == 0, counts


def test_units_of_the_full_run_come_to_its_counts():
    """By name each once: a run that was stopped goes on by the names."""
    names = [unit.name for unit in units()]
    assert len(set(names)) == len(names)
    assert sum(name.startswith("fuzz-") for name in names) == 100


def test_table_adds_units_up_and_names_what_is_wrong():
    done = [Done(f"u{n}", "kills", {"kills": 5, "lost": n}, 1.0, 0.0) for n in range(3)]
    assert table(total(done)).splitlines()[-1] == "| kills | 15 | 3 | 0 | 0 | 0 | 0 | 0 |"
    assert total(done)["kills"].faults == 3


def test_page_has_the_figures_of_the_record():
    """docs/reliability.md says what docs/reliability.json does, or that there was no run."""
    page = PAGE.read_text(encoding="utf-8")
    assert with_figures(page) == page
