"""Commands that pages and --help show, read as their programs read them and not carried out."""

import itertools
import shlex

import data.prepare.__main__
import fit as entry
import model.pretrained
import scaling.run.merge
import train
import training.sample
import training.zero_shot.__main__
from benchmarks.gpu_check.__main__ import Words as GpuCheckWords
from common.errors import BadInput, ExitStatus
from configs.cli import Arguments, run_entry
from configs.key_value import read_key_values
from configs.load import CONFIG_DIR
from configs.schema import build
from scaling.fit.config import FitConfig
from scaling.run.command import read_request

# What reads the words of a module's command line without doing what they say.
READERS = {
    "benchmarks.gpu_check": lambda words: read_key_values(words, GpuCheckWords),
    "data.prepare": lambda words: data.prepare.__main__.requested(
        Arguments("prepare", tuple(words), CONFIG_DIR)
    ),
    "scaling.run.merge": lambda words: read_key_values(
        [word for word in words if word.startswith("out=")], scaling.run.merge.Words
    ),
    "model.pretrained": lambda words: read_key_values(words[1:], model.pretrained.Words),
    "training.sample": lambda words: read_key_values(words, training.sample.Words),
    "training.zero_shot": lambda words: read_key_values(words, training.zero_shot.__main__.Words),
}
NOT_OURS = {".", "cd", "curl", "git", "make", "pip", "sacct", "squeue"}


def readable(command: str) -> bool:
    """Whether a line of a shell is a command of ours; then it is read as its program reads it.

    Raises what the program would of a mistake. A sweep that is not there yet may be missed, and
    training is planned.
    """
    name, *words = shlex.split(command, comments=True)
    if name == "srun":
        name, *words = itertools.dropwhile(lambda word: word[0] == "-", words)
    if name in NOT_OURS:
        return False
    assert name in ("python", "torchrun"), name
    program, *rest = itertools.dropwhile(lambda w: w[:2] == "--", words)
    arguments = Arguments(program.removesuffix(".py"), tuple(rest), CONFIG_DIR)
    if program == "-m":
        READERS[rest[0]](rest[1:])
    elif program == "sweep.py":
        try:
            read_request(arguments)
        except BadInput as error:
            assert "plan.json: not found" in str(error)
    elif program == "fit.py":
        build(FitConfig, arguments.compose(entry.KEYS))
    else:
        assert program == "train.py"
        planned = [*(word for word in rest if word[:5] != "mode="), "mode=plan"]
        assert run_entry(train.main, "train", "", planned) == ExitStatus.DONE
    return True
