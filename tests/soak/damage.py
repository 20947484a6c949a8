"""Checkpoints and files damaged in every way, and what is made of them: never another result."""

import random
import shutil
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from common.errors import BadInput
from tests.support.fuzzing.all_readers import GROUPS
from tests.support.fuzzing.tally import fuzz
from tests.support.tiny_training import prepared_config, train_once
from training.trial import checkpoint

# Of all inputs how many a group has, by how many readers it has and what one of them takes.
SHARES = {"sweep": 44, "data": 16, "fit": 8, "tables": 16, "weights": 8, "evaluation": 8}


def corrupt_checkpoints(folder: Path, corruptions: int, seed: int) -> Counter[str]:
    """The newest of two checkpoints damaged: the one before it is used, or the same state read."""
    chance, counts = random.Random(seed), Counter[str]()
    trial, pristine = folder / "trial", folder / "pristine"
    train_once(prepared_config(folder, 3), trial)
    [saved] = trial.glob("attempt-*/checkpoints")
    shutil.copytree(saved, pristine)
    older, newer = sorted(saved.iterdir())
    right = {path.name: _content(path) for path in (older, newer)}
    for _ in range(corruptions):
        how = chance.choice(HOW)
        path = newer / chance.choice(("state.pt", "meta.json"))
        how(path, older / path.name, chance)
        changed = _differs(newer, pristine / newer.name)
        try:
            found = checkpoint.newest(trial, lambda _: None)
        except BadInput:
            counts["lost"] += 1  # for the one before it is whole
        except Exception:
            counts["tracebacks"] += 1
            print(traceback.format_exc())
        else:
            assert found is not None
            counts["silent"] += (
                found.path == newer and changed or _content(found.path) != right[found.path.name]
            )
        counts["inputs"] += 1
        shutil.rmtree(newer, ignore_errors=True)
        shutil.copytree(pristine / newer.name, newer)
    return counts


def _content(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in ("state.pt", "meta.json")]


def _differs(folder: Path, pristine: Path) -> bool:
    try:
        return _content(folder) != _content(pristine)
    except OSError:
        return True


def _rewrite(change: Callable[[bytes, random.Random], bytes]) -> Callable[..., None]:
    def do(path: Path, other: Path, chance: random.Random) -> None:
        path.write_bytes(change(path.read_bytes(), chance))

    return do


def _flip(content: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(content))
    return content[:at] + bytes([content[at] ^ 1 << chance.randrange(8)]) + content[at + 1 :]


def _cut(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(len(content))]


def _zero(content: bytes, chance: random.Random) -> bytes:
    start, length = chance.randrange(len(content)), chance.randrange(1, 5000)
    return content[:start] + bytes(len(content[start : start + length])) + content[start + length :]


def _swap(content: bytes, chance: random.Random) -> bytes:
    """Two blocks of 512 bytes in each other's place."""
    one, two = sorted(512 * chance.randrange(max(1, len(content) // 512)) for _ in range(2))
    first, second = content[one : one + 512], content[two : two + 512]
    if two < one + 512:
        return content
    return content[:one] + second + content[one + 512 : two] + first + content[two + 512 :]


def _append(content: bytes, chance: random.Random) -> bytes:
    return content + chance.randbytes(chance.randrange(1, 600))


def _remove(path: Path, other: Path, chance: random.Random) -> None:
    path.unlink()


def _of_another(path: Path, other: Path, chance: random.Random) -> None:
    """The file of the checkpoint before, whole and well sealed."""
    shutil.copyfile(other, path)


def _all_of_another(path: Path, other: Path, chance: random.Random) -> None:
    path.unlink()
    path.mkdir()


HOW = (
    *map(_rewrite, (_flip, _flip, _flip, _cut, _cut, _zero, _swap, _append)),
    *(_remove, _of_another, _all_of_another),
)


def fuzz_group(folder: Path, name: str, inputs: int, seed: int) -> Counter[str]:
    """Damaged files of one group of readers."""
    counts = Counter[str]()
    readers = list(GROUPS[name](folder))
    for index, reader in enumerate(readers):
        share = inputs * (index + 1) // len(readers) - inputs * index // len(readers)
        tally = fuzz(reader, share, seed * 1000 + index)
        for fault in tally.faults:
            print(fault, flush=True)
        found = tally.counts
        counts["inputs"] += tally.inputs
        counts["silent"] += found["silent"]
        counts["tracebacks"] += found["traceback"]
        counts["slow"] += found["slow"] + found["hangs"]
    return counts
