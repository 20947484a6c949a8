"""What some tests need, and what happens where it is not there."""

import gc
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pytest

# Before torch is imported: a process that had a second thread hangs those that it forks.
for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

with suppress(ImportError):  # a GPU's image may lack it
    from hypothesis import settings

    settings.register_profile("any machine", deadline=None)  # a busy one takes its time
    settings.load_profile("any machine")


def _has_reference() -> bool:
    return all(
        os.environ.get(name) and Path(os.environ[name]).is_dir()
        for name in ("REFERENCE_DIR", "DATA_DIR")
    )


def _has_gpu() -> bool:
    import torch  # here: most tests of fits do without

    return torch.cuda.is_available()


NEEDS = {
    "triton": (lambda: find_spec("triton") is not None, "Triton (pip install -e '.[gpu-code]')"),
    "gpu": (_has_gpu, "a GPU that torch can use"),
    "slurm": (
        lambda: all(map(shutil.which, ("munged", "slurmctld", "slurmd"))),
        "Slurm's daemons (apt-get install slurm-wlm munge)",
    ),
    "browser": (lambda: shutil.which("chromium"), "Chromium (apt-get install chromium)"),
    "root": (lambda: os.geteuid() == 0, "root"),
    "weights": (
        lambda: Path(os.environ.get("GPT2_WEIGHTS", "/none")).exists(),
        "OpenAI's 124M at GPT2_WEIGHTS",
    ),
    "reference": (_has_reference, "folders named by REFERENCE_DIR and DATA_DIR"),
}


def pytest_configure() -> None:
    """Heed the signals that tests send, also under nohup or behind `&`, which ignore them."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Spare the garbage collector what collection makes: it lives to the end of the session."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose need is absent; fail it where the variable REQUIRE names the need."""
    required = os.environ.get("REQUIRE", "").split(",")
    for need, (present, what) in NEEDS.items():
        if item.get_closest_marker(f"needs_{need}") and not present():
            if need in required:
                pytest.fail(f"REQUIRE names {need}, and there is no {what}", pytrace=False)
            pytest.skip(f"needs {what}")


def pytest_runtest_teardown() -> None:
    """Leave torch its own choice of attention, as in a new process: trials in a test set it."""
    if torch := sys.modules.get("torch"):
        for kernel in ("flash", "mem_efficient", "cudnn", "math"):
            getattr(torch.backends.cuda, f"enable_{kernel}_sdp")(True)


def pytest_terminal_summary(terminalreporter) -> None:
    """Say in the closing lines what was skipped and why."""
    reasons = {}
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reasons[reason] = reasons.get(reason, 0) + 1
    for reason, count in sorted(reasons.items()):
        terminalreporter.write_line(f"{count} skipped: {reason.removeprefix('Skipped: ')}")


@pytest.fixture
def reference_dir() -> Path:
    return Path(os.environ["REFERENCE_DIR"])


@pytest.fixture
def data_dir() -> Path:
    return Path(os.environ["DATA_DIR"])
