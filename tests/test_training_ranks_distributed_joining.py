"""Ranks find each other or end in one line, and leave together."""

import os
import signal
import time
from datetime import timedelta

import pytest
import torch

from tests.support.kill_harness import fork, fork_ranks, free_port
from tests.support.tiny_training import joined_ranks, tiny_config
from training.ranks import distributed
from training.ranks.distributed import Ranks, joined


@pytest.mark.parametrize("guilty", [0, 1])
@pytest.mark.parametrize("call", ["init_process_group", "new_group"])
def test_joined_ends_where_a_rank_stops_while_the_ranks_join(tmp_path, monkeypatch, call, guilty):
    """Who asks a stopped store waits for ever in torch: the process ends by its own limit."""
    original = getattr(distributed.dist, call)

    def stop_one(*arguments: object, **options: object) -> object:
        (tmp_path / f"asked{os.environ['RANK']}").touch()
        if os.environ["RANK"] == str(guilty):
            while not (tmp_path / f"asked{1 - guilty}").exists():  # else it ends before that group
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGSTOP)
        return original(*arguments, **options)

    monkeypatch.setattr(distributed.dist, call, stop_one)
    monkeypatch.setattr(distributed, "JOIN_S", 3.0)
    children = joined_ranks(tiny_config(tmp_path, runtime__timeout_s=1.0), tmp_path, lambda _: None)
    try:
        assert children[1 - guilty].wait(300) == 1
    finally:
        children[guilty].kill()
        assert children[guilty].wait() == -9
    said = children[1 - guilty].log.read_text()
    assert "Traceback" not in said
    assert said.count(f"error: rank {1 - guilty} of 2 did not join the others in the group of") == 1
    assert "(limit: 3 s, of runtime.timeout_s and 3 s the larger): " in said


def test_joined_ends_where_a_rank_never_comes(tmp_path, monkeypatch):
    """One line that says what to look at, and no traceback of torch's."""
    monkeypatch.setattr(distributed, "JOIN_S", 2.0)
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(free_port()))
    for name, value in {"RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    runtime = tiny_config(tmp_path, runtime__timeout_s=1.0).runtime
    child = fork(lambda: joined(runtime).__enter__(), tmp_path / "log")
    assert child.wait(300) == 1
    (said,) = [line for line in child.log.read_text().splitlines() if line.startswith("error: ")]
    assert said.startswith("error: rank 0 of 2 did not join the others in a rendezvous (limit: 2 s")
    assert said.endswith("the same WORLD_SIZE, MASTER_ADDR and MASTER_PORT")
    assert "Traceback" not in child.log.read_text()


def test_joined_waits_without_limit_for_agreements_and_with_one_in_steps(tmp_path):
    """Once joined, ranks that prepare may take hours, and ranks in steps may not."""

    def body(ranks: Ranks) -> None:
        groups = (torch.distributed.group.WORLD, ranks.channel)
        limits = [group._get_backend(torch.device("cpu")).options._timeout for group in groups]
        assert limits == [timedelta(seconds=2), distributed.NO_LIMIT]

    config = tiny_config(tmp_path, runtime__timeout_s=2.0)
    assert [child.wait() for child in joined_ranks(config, tmp_path, body)] == [0, 0]


def test_joined_keeps_the_store_until_all_have_left(tmp_path):
    """Rank 0, who keeps it, ends last: torch prints a page of C++ where one asks it in vain."""

    def rank() -> None:
        with joined(tiny_config(tmp_path, runtime__timeout_s=20.0).runtime) as ranks:
            assert ranks.sum(1.0) == [3.0]
            if ranks.rank == 2:
                time.sleep(2)
            kept = ranks.heartbeat
        others = [kept.sign_of(other) for other in (1, 2)]
        assert ranks.rank > 0 or all(sign.is_last for sign in others)

    assert [child.wait() for child in fork_ranks(rank, 3, tmp_path)] == [0, 0, 0]
    assert [path.read_text() for path in sorted(tmp_path.glob("*.log"))] == ["", "", ""]
