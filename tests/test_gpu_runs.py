"""Runs on a GPU: compiled once, never waiting unasked, in bounded memory, killed, packed, swept.

Each test runs on the CPU at a toy's size as well, but for what only a GPU has.
"""

import json
import multiprocessing
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from common.errors import StopRequested
from model.flops import params_allocated
from tests.support.on_devices import (
    GIB,
    ON_BOTH,
    ON_GPU,
    Place,
    built,
    config_of,
    cramped,
    traced_by,
    train_once,
)
from tests.support.real_sweep import place as place_sweep
from tests.support.real_sweep import work
from tests.support.tiny_training import claimed, stopping
from training.config import TrainConfig
from training.dataset import open_data
from training.device.memory import run_bytes
from training.environment import peak_memory
from training.ranks.distributed import joined
from training.set_up import set_up
from training.step import begin_step
from training.trial import checkpoint
from training.trial.logger import MetricsLogger
from training.trial.record import read_record
from training.whole_trial import train_in

pytestmark = pytest.mark.filterwarnings("default")


def steps_of_a_run(place: Place, config: TrainConfig, trial: Path, count: int) -> None:
    """Set-up, with the trial of a micro-batch, and so many steps."""
    attempt = claimed(trial)
    data = open_data(config, place.ranks())
    with MetricsLogger(attempt, config.schedule.steps, False, True) as logger:
        state = set_up(config, attempt, place.ranks(), logger, data)
        assert state.environment.compile
        for _ in range(count):
            assert begin_step(state).result().is_finite
    attempt.release()


@pytest.mark.parametrize("place", ON_BOTH)
def test_a_run_compiles_its_graph_once_and_a_second_run_nothing(
    place: Place, tmp_path, monkeypatch
):
    counter = CompileCounterWithBackend(place.backend)
    config = config_of(place, tmp_path, compile=True)
    monkeypatch.setattr("training.device.micro_batch.TRIED_ON", ("cpu", "cuda"))
    with traced_by(monkeypatch, counter):
        for name in ("one", "two"):
            steps_of_a_run(place, config, tmp_path / name, 2)
            assert counter.frame_count == 1


@pytest.mark.parametrize("place", ON_BOTH)
def test_a_smaller_last_micro_batch_is_one_graph_more(place: Place, tmp_path, monkeypatch):
    counter = CompileCounterWithBackend(place.backend)
    config = config_of(place, tmp_path, compile=True, sequences=8, micro_batch=3)
    with traced_by(monkeypatch, counter):
        steps_of_a_run(place, config, tmp_path / "trial", 2)
    assert counter.frame_count == 2


@pytest.mark.parametrize("place", ON_BOTH)
def test_killed_and_continued_it_ends_in_the_same_bits_where_sums_have_an_order(
    place: Place, tmp_path
):
    """Attention and embeddings else add up in no fixed order: no record claims bits of a GPU."""
    config = config_of(place, tmp_path, sdpa="flash")
    torch.use_deterministic_algorithms(True)
    try:
        whole = [train_once(place, config, tmp_path / name) for name in ("one", "two")]
        with pytest.raises(StopRequested):
            train_once(place, config, tmp_path / "trial", stopping)
        record = train_once(place, config, tmp_path / "trial")
    finally:
        torch.use_deterministic_algorithms(False)
    assert (record.status, record.attempts) == ("done", 2)
    digests = {one.weights_digest for one in (*whole, record)}
    assert len(digests) == 1 and None not in digests
    assert record.bitwise is not place.is_gpu


@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.parametrize("place", ON_BOTH)
def test_a_step_that_is_not_logged_never_waits_for_the_gpu(
    place: Place, tmp_path, monkeypatch, compile
):
    with traced_by(monkeypatch, place.backend):
        state = built(place, config_of(place, tmp_path, micro_batch=4, compile=compile))
    for _ in range(2):
        begin_step(state).result()
    if place.is_gpu:
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
    try:
        begun = [begin_step(state) for _ in range(2)]
    finally:
        if place.is_gpu:
            torch.cuda.set_sync_debug_mode("default")
    assert all(step.result().is_finite for step in begun)


def run_in(out: Path, config: TrainConfig) -> None:
    """A process's whole life: the trial from where it stands to its record."""
    torch.set_num_threads(1)
    with joined(config.runtime) as ranks:
        train_in(config, out, ranks)


@pytest.mark.parametrize("place", ON_BOTH)
def test_two_at_once_of_which_one_is_killed_end_as_one_alone(place: Place, tmp_path):
    """Two processes share the device; one is killed by SIGKILL at a checkpoint, and continued."""
    config = config_of(place, tmp_path, steps=20, checkpoint_every_s=0)
    context = multiprocessing.get_context("spawn" if place.is_gpu else "fork")
    open_data(config, place.ranks())  # prepared once
    outs = [tmp_path / name for name in ("whole", "broken")]
    whole, broken = (context.Process(target=run_in, args=(out, config)) for out in outs)
    whole.start()
    broken.start()
    until = time.monotonic() + 120
    while len(list(outs[1].glob("attempt-*/checkpoints/step-*"))) < 2 and broken.is_alive():
        assert time.monotonic() < until
        time.sleep(0.001)
    broken.kill()
    broken.join()
    assert read_record(outs[1]) is None
    again = context.Process(target=run_in, args=(outs[1], config))
    again.start()
    for process in (whole, again):
        process.join(120)
        assert process.exitcode == 0
    records = [read_record(out) for out in outs]
    assert [r and (r.status, r.attempts) for r in records] == [("done", 1), ("done", 2)]
    losses = [record.loss for record in records if record is not None]
    print(f"\nlosses {losses}")
    assert losses[1] == pytest.approx(losses[0], abs=0.02 if place.is_gpu else 0)


def span_s(out: Path, trial: str) -> tuple[float, float]:
    """When a trial's one attempt was claimed, and its last row written, by its files."""
    [attempt] = (out / "trials" / trial).glob("attempt-*")
    files = (attempt / "owner.json", attempt / "metrics.jsonl")
    return files[0].stat().st_mtime, files[1].stat().st_mtime


@pytest.mark.parametrize("place", ON_BOTH)
def test_a_sweep_of_three_trials_two_at_a_time_is_done(place: Place, tmp_path):
    words = (
        *("grid.budgets=[1e8]", "grid.sizes=3", "launcher.devices=1"),
        *("launcher.trials_per_device=2", f"runtime.device={place.device.type}"),
    )
    out = tmp_path / "out"
    asked, stored = place_sweep(tmp_path, out, *words, "precision=bf16")
    states = work(asked, stored)
    assert [state.state for state in states] == ["done"] * 3
    spans = [span_s(out, state.trial.id) for state in states]
    at_once = [sum(begin <= start < end for begin, end in spans) for start, _ in spans]
    print(f"\nat once {at_once}")
    assert max(at_once) == 2


@pytest.mark.parametrize("place", ON_BOTH)
def test_micro_batches_are_halved_until_they_fit_and_the_run_is_done(
    place: Place, tmp_path, monkeypatch
):
    """In 8 GiB, of which the estimate does not know: 64 sequences take some 30."""
    model = replace(place.small, n_layer=4, n_head=8, n_embd=512) if place.is_gpu else place.small
    config = config_of(place, tmp_path, model, place.sequences, steps=2, loss_head="plain")
    with cramped(place, monkeypatch, gib=8, most=1):
        record = train_once(place, config, tmp_path / "trial")
    folder = tmp_path / "trial/attempt-001"
    micro_batch = json.loads((folder / "runtime.json").read_text())["micro_batch"]
    print(f"\n{micro_batch} of {place.sequences} sequences, peak {record.peak_memory}")
    assert record.status == "done" and 1 <= micro_batch < place.sequences
    log = (folder / "log.txt").read_text()
    assert "fits (estimated" in log and "out of memory" not in log
    if place.is_gpu:
        assert record.peak_memory is not None and record.peak_memory <= 8 * GIB


@pytest.mark.parametrize("place", ON_BOTH)
def test_a_model_of_which_nothing_fits_ends_with_what_would_help(
    place: Place, tmp_path, monkeypatch
):
    config = config_of(place, tmp_path, place.small, 2, steps=1, loss_head="plain")
    with cramped(place, monkeypatch, gib=2, most=0):
        record = train_once(place, config, tmp_path / "trial")
    assert record.status == "oom" and "runtime.loss_head=chunked" in str(record.reason)


@pytest.mark.parametrize("head", ["plain", "chunked"])
@pytest.mark.parametrize("place", [ON_GPU])
def test_memory_is_what_was_estimated_within_a_factor_of_two(place: Place, tmp_path, head):
    config = config_of(
        place, tmp_path, place.small, 32, compile=True, micro_batch=16, loss_head=head
    )
    state = built(place, config)
    torch.cuda.reset_peak_memory_stats(place.device)
    for _ in range(2):
        begin_step(state).result()
    estimated = run_bytes(config, "cuda", torch.cuda.mem_get_info(place.device)[1])
    found = peak_memory(place.device)
    print(f"\n{head}: {found / GIB:.2f} GiB, estimated {estimated / GIB:.2f}")
    assert estimated / 2 < found < 2 * estimated


@pytest.mark.parametrize("place", ON_BOTH)
def test_a_checkpoint_holds_the_state_and_takes_seconds(place: Place, tmp_path):
    state = built(place, config_of(place, tmp_path, place.small, 8, micro_batch=8))
    begin_step(state).result()
    start = time.perf_counter()
    path = checkpoint.save(claimed(tmp_path / "trial"), state.meta(), state.snapshot())
    seconds = time.perf_counter() - start
    size = sum(part.stat().st_size for part in path.rglob("*") if part.is_file())
    print(f"\n{size / 1e9:.2f} GB in {seconds:.1f} s")
    small = 0 if place.is_gpu else 2**17  # names and shapes show beside few weights
    assert size == pytest.approx(12 * params_allocated(place.small), rel=0.01, abs=small)
    assert seconds < 60
