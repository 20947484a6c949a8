"""A real Slurm of two nodes on this machine, for tests: own munge, own ports, own folder.

Each node lives in a UTS namespace and so has a host name of its own: claims across the two are
claims across machines. Every process of the cluster, jobs included, carries SLURM_CONF in its
environment, by which it is found and, in the end, killed.
"""

import os
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.support.kill_harness import free_port, with_environment
from tests.support.tiny_sweep import eventually

NODES = ("n0", "n1")
CONF = """\
ClusterName=test
SlurmctldHost=localhost
SlurmctldPort={ports[0]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,batch_sched_delay=0
ReturnToService=2
JobRequeue=1
SlurmdTimeout=5
KillWait=15
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
NodeName=n0 NodeHostname=localhost NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 RealMemory=1000
NodeName=n1 NodeHostname=localhost NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 RealMemory=1000
PartitionName=test Nodes=n0,n1 Default=YES MaxTime=INFINITE State=UP
"""


class Cluster:
    """munged, slurmctld and a slurmd for each node; `environment` is that of its users."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf")}
        self._daemons: list[subprocess.Popen[bytes]] = []
        self._slurmd: dict[str, subprocess.Popen[bytes]] = {}
        folder.chmod(0o755)  # as munge wants it of the way to its socket
        key = folder / "munge.key"
        key.write_bytes(secrets.token_bytes(64))
        key.chmod(0o600)
        (folder / "state").mkdir()
        (folder / "slurm.conf").write_text(
            CONF.format(folder=folder, ports=[free_port() for _ in range(3)])
        )

    def start(self) -> None:
        """All daemons; returns when both nodes are idle."""
        files = {"pid": "pid", "log": "log", "seed": "seed"}
        options = [f"--{name}-file={self.folder}/munged.{end}" for name, end in files.items()]
        options += [f"--key-file={self.folder}/munge.key", f"--socket={self.folder}/munge.socket"]
        self._start("munged", "-F", *options)
        eventually(lambda: (self.folder / "munge.socket").exists())
        self._start("slurmctld", "-D")
        for node in NODES:
            self.start_node(node)
        eventually(self.is_ready)

    def is_ready(self) -> bool:
        """Whether both nodes are idle."""
        return self.call("sinfo", "-h", "-o", "%D %t", check=False).split() == ["2", "idle"]

    def start_node(self, node: str) -> None:
        """Its slurmd."""
        named = f"hostname {node} && exec slurmd -D -N {node}"
        started = self._start("unshare", "--uts", "sh", "-c", named, TEST_NODE=node)
        self._slurmd[node] = started

    def lose_node(self, node: str, only_daemon: bool = False) -> None:
        """Kill everything that runs on a node without warning, or its daemon alone."""
        daemon = self._slurmd.pop(node)
        daemon.kill()
        daemon.wait()
        if not only_daemon:
            for own in ({"TEST_NODE": node}, {"SLURMD_NODENAME": node}):
                for pid in self.processes(**own):
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)

    def call(self, *command: str, check: bool = True) -> str:
        """What one of Slurm's commands, or another program, prints."""
        result = subprocess.run(command, env=self.environment, capture_output=True, text=True)
        assert not check or result.returncode == 0, f"{command}: {result.stderr}"
        return result.stdout

    def tasks(self) -> dict[str, str]:
        """State by task, as 7_0; who was requeued starts in 3 seconds instead of two minutes.

        (Not at once: a node refuses credentials of the second in which the job ended there.)
        """
        time.sleep(0.2)  # whoever asks, asks again
        lines = self.call("squeue", "-h", "-r", "-o", "%i %T %r %S").splitlines()
        states = {}
        for name, state, why, start in (line.split(maxsplit=3) for line in lines):
            states[name] = state
            if (state, why) == ("PENDING", "BeginTime") and start != "N/A":  # else it still ends
                wait = datetime.fromisoformat(start) - datetime.now()
                if wait > timedelta(seconds=10):
                    update = ("scontrol", "update", f"JobId={name}", "StartTime=now+3seconds")
                    self.call(*update, check=False)
        return states

    def wait_until_idle(self, limit_s: float = 120) -> None:
        """Until no job is queued, running or ending."""
        until = time.monotonic() + limit_s
        while self.tasks():
            assert time.monotonic() < until, self.call("squeue")

    def processes(self, **also: str) -> list[int]:
        """All of the cluster, or those whose environment has the variables of `also` too."""
        return with_environment({"SLURM_CONF": self.environment["SLURM_CONF"], **also})

    def workers(self) -> list[int]:
        """Those that sweep.py runs in, with their forked trials."""
        conf = {"SLURM_CONF": self.environment["SLURM_CONF"], "SLURMD_NODENAME": None}
        return with_environment(conf, "mode=work")

    def stop(self) -> None:
        """End everything; raises if something is left."""
        for _ in range(50):
            for pid in self.processes():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if not self.processes():
                for daemon in self._daemons:
                    daemon.wait()
                return
            time.sleep(0.1)
        raise AssertionError(f"left: {self.processes()}")

    def _start(self, *command: str, **environment: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{command[0]}.out").open("ab") as out:
            daemon = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *command],  # should this process be killed
                env=self.environment | environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        self._daemons.append(daemon)
        return daemon


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """One for each process that runs tests; its sockets need a short path."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    made = Cluster(folder)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder)


def job_id(said: str) -> str:
    """The job that sweep.py says it submitted."""
    found = re.search(r"^submitted job (\d+):", said, re.MULTILINE)
    assert found, said
    return found[1]
