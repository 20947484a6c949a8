"""What a fit is asked to do is checked before anything is read."""

import re
import shlex

import pytest

import fit
from common.errors import ExitStatus
from configs.cli import Arguments
from configs.load import CONFIG_DIR
from configs.schema import build
from scaling.fit.config import FitConfig
from tests.support.fit_runs import run, table


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("runs=null", "runs: missing"),
        ("laws=[]", "laws: found an empty list"),
        ("laws=[isoflops]", "laws"),
        ("laws=[kaplan] require=[isoflop]", "require: found isoflop, but laws= asks for none"),
        ("delta=0", "delta: found 0"),
        ("n_bootstrap=-1", "n_bootstrap: found -1"),
        ("n_bootstraps=10", "unknown key; did you mean n_bootstrap?"),
        ("holdout=bottom", "holdout: found 'bottom' (str), expected one of top, none, or a number"),
        ("holdout=[1e20]", "holdout: found [1e+20] (list), expected one of top, none, or a number"),
        ("holdout=null", "holdout: found None (NoneType), expected one of top, none, or a number"),
        ("runs=[3]", "3: not found"),
        ("convention.params=total", "convention.params=total: no column params_total"),
        ("convention.flops=exact", "convention.flops=exact: no column flops_exact"),
        ("holdout=-1.0", "holdout: found -1"),
        ("predict.flops=[0]", "predict.flops: found 0"),
        ("by=nothing", "by: no column 'nothing'"),
        ("explore=true", "explore: found true beside runs="),
    ],
)
def test_fit_config_refuses_bad_options(tmp_path, capsys, override, says):
    """A bad option is status 2 and writes nothing."""
    out = tmp_path / "out"
    runs = [] if override.startswith("runs=") else [f"runs={table(tmp_path)}"]
    status = run(*runs, f"out={out}", *override.split())
    assert status == ExitStatus.BAD_INPUT
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1
    assert not out.exists()


READING = "runs columns units derive where by laws require reduce holdout exclude incomplete rows"
OTHERS = "loss_unit objective delta budget_tolerance n_bootstrap seed compare convention predict"


def test_help_has_an_example_of_each_option_that_can_be_typed():
    """Each line of fit.py's own head is a command that composes, and no option lacks one."""
    commands = re.findall(r"^python fit\.py (.*?)(?:  |$)", fit.__doc__ or "", re.M)
    typed = [shlex.split(command) for command in commands]
    for words in typed:
        build(FitConfig, Arguments("fit", tuple(words), CONFIG_DIR).compose(fit.KEYS))
    used = {word.partition("=")[0].partition(".")[0] for words in typed for word in words}
    assert set(f"{READING} {OTHERS}".split()) <= used
