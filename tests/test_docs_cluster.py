"""The commands of the page on clusters, one after the other, on a real Slurm."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.pages import blocks
from tests.support.slurm_cluster import cluster, job_id  # noqa: F401
from tests.support.tiny_sweep import eventually, overrides
from tests.support.typed import last_of_each

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "run-on-a-cluster.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.needs_slurm
@pytest.mark.needs_root
@pytest.mark.timeout(900)
def test_the_commands_do_what_the_page_says(cluster, tmp_path):  # noqa: F811
    # Two small models instead of eight; the experiment is named all the same.
    tiny = [word for word in overrides(tmp_path, tmp_path) if word[:4] not in ("expe", "out=")]
    tiny += ["grid.budgets=[6e8]", "fit.n_bootstrap=50", "launcher.slurm.cpus=2"]
    jobs: dict[str, str] = {}  # by the page's number
    ran = []
    for block in blocks(PAGE, "console"):
        shown = [line for line in block.splitlines() if not line.startswith("$")]
        for command in re.findall(r"^\$ (.*)$", block, re.MULTILINE):
            words = shlex.split(command.replace("/shared", str(tmp_path)))
            ran.append(words[0])
            if words[0] == "scancel":
                folder = tmp_path / "x" / "trials"
                eventually(lambda folder=folder: list(folder.glob("*/*/checkpoints/*")))
                cluster.call("scancel", jobs[words[1]])
                cluster.wait_until_idle()
                continue
            words[0] = sys.executable
            if "experiment=smoke" in words:
                slurm = "launcher=slurm" in words
                more = [word for word in tiny if slurm or "slurm" not in word]
                words = last_of_each(*words, *more)
            said = subprocess.run(
                words, cwd=ROOT, env=cluster.environment, capture_output=True, text=True
            )
            assert said.returncode == 0, f"{command}\n{said.stdout}\n{said.stderr}"
            for line in shown:
                pattern = re.sub(r"\d+", r"\\d+", re.escape(line))
                assert re.search(f"^{pattern}$", said.stdout, re.MULTILINE), said.stdout
                jobs[line.split()[2].rstrip(":")] = job_id(said.stdout)
        if "2" in jobs:
            cluster.wait_until_idle(400)
    assert ran.count("scancel") == 1 and len(ran) == 8
    for folder in ("x/fit", "node/fit", "fit"):
        assert (tmp_path / folder / "report.html").exists()
