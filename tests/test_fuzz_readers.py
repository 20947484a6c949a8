"""Every file that a command reads, damaged: a line of what is wrong, or the same answer."""

import os
import time

import pytest
import torch

from common.errors import BadInput
from tests.support.fuzzing.all_readers import GROUPS
from tests.support.fuzzing.damage import Damage
from tests.support.fuzzing.tally import Reader, fuzz

# As many as each commit takes; FUZZ_INPUTS asks for more. `make soak` reads 100,000.
INPUTS = int(os.environ.get("FUZZ_INPUTS", "1000"))
READERS = 38  # of all groups, about


@pytest.mark.parametrize("name", GROUPS)
def test_readers_take_any_damage(tmp_path, name):
    """No traceback, nothing read in silence where a digest can tell, nothing over a second."""
    torch.set_num_threads(1)
    for reader in GROUPS[name](tmp_path):
        tally = fuzz(reader, INPUTS // READERS + 1)
        assert tally.inputs > INPUTS // READERS // 2
        assert not tally.faults, "\n".join(tally.faults[:5])


@pytest.mark.parametrize("kind", ["traceback", "silent", "slow", "same", "refused"])
def test_fuzz_tells_what_a_reader_does_wrong(tmp_path, kind):
    """A reader that is wrong in one way is found out."""
    path = tmp_path / "x.json"
    path.write_text('{"a": 1}')

    def read() -> object:
        small = path.is_file() and path.stat().st_size < 1000
        text = path.read_text(errors="replace") if small else ""
        if text == '{"a": 1}' or kind == "same":
            return 1
        if kind == "traceback":
            raise KeyError("a")
        if kind == "refused":
            raise BadInput("x.json: no")
        if kind == "slow":
            until = time.process_time() + 1.1
            while time.process_time() < until:
                pass
        return 2 if kind == "silent" else 1

    counts = fuzz(
        Reader("x", path, read, may_be=lambda *_: False), 4 if kind == "slow" else 60
    ).counts
    assert counts[kind] > 0
    assert set(counts) <= {kind, "same"}


def test_damage_of_a_place_is_undone(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"1")
    Damage("a folder").do(path)
    assert path.is_dir()
