"""Where the trials of a plan are to run: on this machine, or on one that is not here."""

from dataclasses import dataclass, replace

from scaling.plan.memory import Device
from scaling.run import torchrun
from scaling.run.command import Request
from scaling.run.workers.devices import Machine
from training.device.compilation import throughput_of
from training.device.data_sheets import gpu_memory
from training.device.memory import Kind
from training.device.stated import StatedThroughput, stated_throughput


@dataclass(frozen=True)
class Target:
    """Where the trials of a plan are to run.

    device      of one trial
    parallel    trials at a time, of all workers
    devices     held by all workers, idle ones included
    throughput  as the launcher states it, or by the data sheet of this machine's GPUs; else None
    measured    this machine, if steps are to be measured on it
    """

    device: Device
    parallel: int
    devices: int
    throughput: StatedThroughput | None
    measured: Machine | None


def target_of(request: Request, machine: Machine | None) -> Target:
    """This machine, or one that is not here, and as many workers on it as there are to be.

    GPUs are measured with mode=measure alone, which compiles and takes minutes of them; cores take
    seconds.
    """
    launcher = request.launcher
    ranks, packed = launcher.devices_per_trial, launcher.packed
    share = request.base.runtime.memory_share / packed
    throughput = stated_throughput(
        launcher.device, launcher.tflops, request.base.precision, ranks, packed
    )
    measures = request.command.mode == "measure"
    if machine and machine.gpus and not measures and throughput is None:
        throughput = throughput_of(machine.gpu_name or "", request.base.precision, ranks, packed)
    workers = torchrun.nodes() if launcher.slurm is None else launcher.workers
    if machine:
        kind: Kind = "cuda" if machine.gpus else "cpu"
        device = Device(kind, machine.memory_bytes, ranks, share)
        parallel, held = machine.n_parallel, len(machine.gpus) or machine.cores
        used = launcher.used_devices
        if launcher.slurm is not None:
            if machine.gpus and used:  # the worker's node need not be as this one
                parallel, held = used // ranks * packed, launcher.held_devices or used
            elif not machine.gpus and launcher.slurm.cpus:
                threads = machine.runtime.threads or 1
                held = launcher.slurm.cpus
                parallel = max(1, (launcher.devices or held) * packed // (ranks * threads))
        measured = machine if measures or not machine.gpus else None
        return Target(device, workers * parallel, workers * held, throughput, measured)
    memory = gpu_memory(launcher.device) if launcher.device else None
    device = Device("cuda", memory, ranks, share)
    used = launcher.used_devices or max(ranks, torchrun.ranks_of_node() // ranks * ranks)
    held = launcher.held_devices or used
    return Target(device, workers * (used // ranks) * packed, workers * held, throughput, None)


def with_workers_for(target: Target, workers: int, trials: int) -> Target:
    """The target without the workers of Slurm that would have no trial: they are not submitted."""
    if workers <= trials:
        return target
    parallel, devices = (n // workers * trials for n in (target.parallel, target.devices))
    return replace(target, parallel=parallel, devices=devices)
