"""The launcher's config refuses in one line, and reads Slurm's forms."""

# ruff: noqa: F811 (fixtures that are imported)

import pytest

from configs.cli import Arguments
from configs.load import CONFIG_DIR
from scaling.run.command import read_request
from tests.support.pretended_slurm import call, line, pretended  # noqa: F401


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["launcher.slurm.time=1"], "launcher.slurm.time: found 60 s, expected more than the 90 s"),
        (["launcher.slurm.time=soon"], "launcher.slurm.time: found 'soon', expected as 90"),
        (["launcher.slurm.time='25:61:00'"], "launcher.slurm.time: found '25:61:00', expected as"),
        (["launcher.slurm.time=1-0:75"], "minutes and seconds below 60"),
        (
            ["launcher.slurm.gpus=a100:8", "launcher.device=H200"],
            "launcher.device: found H200 beside GPUs of type a100",
        ),
        (
            ["launcher.slurm.extra=['--gres=gpu:h100:8']", "launcher.device=H200"],
            "launcher.device: found H200 beside GPUs of type h100",
        ),
        (
            ["launcher.trials_per_device=some"],
            "launcher.trials_per_device: found 'some' (str), expected a whole number",
        ),
        (["launcher.trials_per_device=0"], "launcher.trials_per_device: found 0, expected more"),
        (
            ["launcher.trials_per_device=auto", "launcher.devices_per_trial=2"],
            "launcher.trials_per_device: found auto with devices_per_trial 2, expected one of",
        ),
        (["launcher.slurm.workers=0"], "launcher.slurm.workers: found 0, expected >= 1"),
        (["launcher.slurm.gpus=0"], "launcher.slurm.gpus: found 0"),
        (["launcher.slurm.mem=lots"], "launcher.slurm.mem: found 'lots', expected as 64G"),
        (["launcher.slurm.partitoin=x"], "launcher.slurm.partitoin: unknown key; did you mean"),
        (["launcher.slurm.extra=[exclusive]"], "launcher.slurm.extra: found 'exclusive'"),
        (['launcher.slurm.setup=["a\nb"]'], "launcher.slurm: found 'a\\nb', expected one line"),
        (["launcher.kind=local"], "launcher.kind: found local"),
        (["mode=plan", "finish=true"], "finish: found with mode=plan, expected mode=work"),
    ],
)
def test_slurm_config_refuses_in_one_line(tmp_path, line, pretended, capsys, arguments, complaint):
    """Wrong values are one line."""
    assert call(*line, *arguments) == 2
    error = capsys.readouterr().err
    assert complaint in error and error.count("\n") == 1
    assert pretended.calls == [] and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("limit", "seconds"),
    [(90, 5400), ("90:30", 5430), ("2:00:00", 7200), ("1-12", 129600), ("1-0:30", 88200)],
)
def test_slurm_config_reads_time_as_slurm_does(line, limit, seconds):
    """Time limits are read as slurm reads them."""
    request = read_request(Arguments("sweep", (*line, f"launcher.slurm.time={limit}"), CONFIG_DIR))
    assert request.launcher.slurm.time_s == seconds


@pytest.mark.parametrize(
    ("gpus", "device"),
    [("a100:8", "A100-40GB"), ("h100:8", "H100 NVL"), ("8", "H200"), ("ours:8", "H200")],
)
def test_launcher_takes_a_device_that_the_workers_may_have(line, gpus, device):
    """A type of the cluster's own, or one of which the device is a variant, is no contradiction."""
    words = (*line, f"launcher.slurm.gpus={gpus}", f"launcher.device={device}")
    request = read_request(Arguments("sweep", words, CONFIG_DIR))
    assert request.launcher.device == device and request.launcher.slurm.gpu_count == 8
