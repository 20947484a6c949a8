"""--help of every command opens with three examples and the page to read next."""

import re
from pathlib import Path

import pytest

import benchmarks.gpu_check.__main__
import data.prepare.__main__
import fit
import model.pretrained
import scaling.run.merge
import sweep
import train
import training.sample
import training.zero_shot.__main__
from scaling.fit.config import IsoflopConfig
from tests.support.commands import readable

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = (
    *(fit, sweep, train, data.prepare.__main__, training.zero_shot.__main__, training.sample),
    *(model.pretrained, scaling.run.merge, benchmarks.gpu_check.__main__),
)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.__name__)
def test_help_opens_with_three_examples_and_the_next_page(command) -> None:
    """Each example is read as its program reads it, and the page exists."""
    said, *examples, following = (command.__doc__ or "").strip().splitlines()[:6]
    assert said.endswith(".") and examples.pop(0) == "" and len(examples) == 3
    for example in examples:
        typed = re.split(r"  | \[", example)[0]
        assert typed.startswith(("python ", "torchrun "))
        readable(typed)
    page = re.fullmatch(r"next: (docs/[\w-]+\.md)", following)
    assert page and (ROOT / page[1]).exists()


def test_help_of_fit_has_minima_and_every_option_of_isoflop() -> None:
    examples = fit.__doc__ or ""
    assert "laws=[minima]" in examples
    for option in IsoflopConfig.__dataclass_fields__:
        assert f"isoflop.{option}=" in examples
