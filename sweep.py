"""Plan a grid of trials, train what is missing on this machine, fit the laws, write the report.

python sweep.py experiment=quickstart out=runs/quickstart
python sweep.py experiment=quickstart mode=plan               cost, and the intervals to expect
python sweep.py grid=mine out=runs/x extend=true              add trials to the plan there
python sweep.py out=runs/x extend=true                        add sizes where a valley is open
python sweep.py grid=mine launcher=slurm out=/shared/x        submit workers to Slurm, and leave
python sweep.py mode=work out=/shared/x                       join as a worker, by plan.json
python sweep.py mode=status out=runs/x [watch=true]
python sweep.py out=runs/x retry=[oom,failed]                 run again what ended so

Every mode but status prepares the data, once, in runtime.data_dir.
"""

import configs.interrupt  # noqa: F401

# isort: split
import os
import sys
from collections.abc import Sequence

# Before numpy and torch: this process forks, and a pool of threads would not live in the children.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

from configs.errors import BadInput, ExitStatus
from configs.load import Arguments, run_entry
from scaling.run import local, nodes, planning, slurm
from scaling.run.board import show_status
from scaling.run.request import Request, read_request
from scaling.run.store import TrialState
from training.process import stop_at_once


def main(arguments: Arguments) -> int:
    """Do what `mode` says; returns the exit status."""
    if not nodes.works_here():
        return ExitStatus.DONE
    request = read_request(arguments)
    if request.command.mode == "status":
        return show_status(request)
    with stop_at_once():  # until a worker takes over what signals do
        if request.command.mode == "plan":
            return planning.show_plan(request)
        if request.command.mode == "work" or not nodes.plans_here():
            return join(request)
        if request.launcher.kind == "slurm":
            states = slurm.launch(request)
            return ExitStatus.DONE if states is None else conclude(request, states)
        return conclude(request, local.run(request))


def join(request: Request) -> int:
    """Work on the plan of another process, and tell of what this node alone is refused."""
    try:
        states = local.join(request)
    except BadInput as error:
        if nodes.shares_nodes() and not nodes.plans_here():  # the entry lets rank 0 alone speak
            print(f"error: the node of rank {os.environ['RANK']}: {error}", file=sys.stderr)
        raise
    if request.command.finish:
        # Others still train, of whom the last will fit; or one of them has done so.
        if any(state.record is None for state in states) or local.is_fitted(request.command.folder):
            return ExitStatus.DONE
        return conclude(request, states)
    # Of torchrun's nodes rank 0 alone tells how the sweep ended.
    return local.outcome(states) if nodes.plans_here() else ExitStatus.DONE


def conclude(request: Request, states: Sequence[TrialState]) -> int:
    """Write runs.csv, fit what is done; NO_RESULT comes before NO_LAW, and both before DONE."""
    local.write_table(request.command.folder)
    if not any(state.state == "done" for state in states):
        return ExitStatus.NO_RESULT
    stands = fit_and_report(request)
    return local.outcome(states) or stands


def fit_and_report(request: Request) -> ExitStatus:
    """Fit the laws to what the sweep has, and say where the report is; NO_LAW if none stands."""
    # Imported here: estimators take longer to import than a look at a sweep's state takes.
    from scaling.fit.fit import fit
    from scaling.fit.summary import summary
    from scaling.report.document import write_report

    folder = request.command.folder / "fit"
    fitted = fit(request.fit)
    try:
        page = write_report(fitted, folder)
    except OSError as error:
        raise BadInput(f"out: {folder}: {error.strerror}; make it a folder to write in") from None
    print(f"{summary(fitted.document)}\nreport: {page}")
    return ExitStatus.DONE if fitted.stands else ExitStatus.NO_LAW


if __name__ == "__main__":
    sys.exit(run_entry(main, "sweep", __doc__ or ""))
