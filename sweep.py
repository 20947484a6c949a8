"""Plan a grid of trials, train what is missing on this machine, fit the laws, write the report.

python sweep.py experiment=quickstart mode=plan [details=true]   cost, intervals to expect
python sweep.py experiment=quickstart out=runs/quickstart     train what is missing, fit, report
python sweep.py mode=status out=runs/quickstart [watch=true]  trial by trial, from the files
next: docs/run-on-a-cluster.md

python sweep.py experiment=isoflop_m mode=measure             the plan, timed on these GPUs
python sweep.py experiment=isoflop_m mode=prepare             fetch as much data as it reads
python sweep.py grid=mine out=runs/x extend=true              add trials to the plan there
python sweep.py out=runs/x extend=true                        add sizes to open IsoFLOP curves
python sweep.py grid=mine launcher=slurm out=/shared/x        submit workers to Slurm, and leave
python sweep.py mode=work out=/shared/x                       join as a worker, by plan.json
python sweep.py mode=status out=runs/x watch=true page=true   and as a page, status.html
python sweep.py out=runs/x retry=[oom,failed]                 run again what ended so

Every mode but status prepares the data, once, in runtime.data_dir; plan and measure only what takes
a moment.
"""

import common.start  # noqa: F401

# isort: split
import os
import sys
from collections.abc import Sequence

# Before numpy and torch: this process forks, and a pool of threads would not live in the children.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

from common.errors import BadInput, ExitStatus, write_remedy
from common.terminal_line import shown_progress
from common.text import shown
from configs.cli import Arguments, run_entry
from scaling import status_page
from scaling.run import planning, slurm, sweep, torchrun
from scaling.run.command import KEYS, Request, read_request
from scaling.run.status_view import show_status
from scaling.run.trial_states import TrialState
from training.device.process import stop_at_once


def main(arguments: Arguments) -> int:
    """Do what `mode` says; returns the exit status."""
    if not torchrun.is_worker():
        return ExitStatus.DONE
    request = read_request(arguments)
    if request.command.mode == "status":
        return show_status(request, status_page.writer(request) if request.command.page else None)
    if request.command.mode == "prepare":
        return planning.fetch_data(request) if torchrun.is_planner() else ExitStatus.DONE
    with stop_at_once():  # until a worker takes over what signals do
        if request.command.mode in ("plan", "measure"):
            return planning.show_plan(request) if torchrun.is_planner() else ExitStatus.DONE
        if request.command.mode == "work" or not torchrun.is_planner():
            return join(request)
        if request.launcher.kind == "slurm":
            states = slurm.launch(request)
            return ExitStatus.DONE if states is None else conclude(request, states)
        return conclude(request, sweep.run(request))


def join(request: Request) -> int:
    """Work on the plan of another process, and print a refusal that concerns this node alone."""
    try:
        states = sweep.join(request)
    except BadInput as error:
        # The entry lets rank 0 alone print.
        if torchrun.is_under_torchrun() and not torchrun.is_planner():
            print(f"error: the node of rank {os.environ['RANK']}: {error}", file=sys.stderr)
        raise
    if request.command.finish:
        # Other workers still train, and the last of them fits; or one has fitted already.
        if any(state.record is None for state in states) or sweep.is_fitted(request.command.folder):
            return ExitStatus.DONE
        return conclude(request, states)
    # Of torchrun's nodes rank 0 alone returns how the sweep ended.
    return sweep.outcome(states) if torchrun.is_planner() else ExitStatus.DONE


def conclude(request: Request, states: Sequence[TrialState]) -> int:
    """Write runs.csv, fit what is done; NO_RESULT comes before NO_LAW, and both before DONE."""
    sweep.write_table(request.command.folder)
    if not any(state.state == "done" for state in states):
        return ExitStatus.NO_RESULT
    fitted = fit_and_report(request)
    return sweep.outcome(states) or fitted


def fit_and_report(request: Request) -> ExitStatus:
    """Fit the laws to the runs, of each arm where there are arms, and print where the reports are.

    NO_LAW if a law that must stand does not.
    """
    # Imported here: estimators take longer to import than a look at a sweep's state takes.
    from scaling.fit.group_by import fit_all
    from scaling.fit.summary import printed
    from scaling.fit.table.inputs import read_sources
    from scaling.report.document import write_report_into

    with shown_progress("sweep"):
        found = fit_all(request.fit, read_sources(request.fit))
        pages = [
            write_report_into(folder, one, write_remedy, request.fit.figures)
            for folder, one in found.fits
        ]
    for page, (_, fitted) in zip(pages, found.fits, strict=True):
        print(printed(fitted.document, page, request.fit.verbose))
    for line in found.skipped_lines:
        print(shown(line))
    return ExitStatus.DONE if found.stand else ExitStatus.NO_LAW


if __name__ == "__main__":
    sys.exit(run_entry(main, "sweep", __doc__ or "", keys=KEYS))
