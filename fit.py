"""Fit scaling laws to finished runs, a sweep directory or any table, and write the report.

python fit.py runs=runs/quickstart                        writes runs/quickstart/fit
python fit.py runs=T.csv columns.params=n out=fits/x      a table with names of its own
python fit.py runs=T.csv predict.flops=[1e20]             what the laws say of a budget
next: docs/fit-your-own-runs.md

python fit.py runs=T.csv units.tokens=1e9                 tokens counted in billions
python fit.py runs=T.csv derive.tokens="flops/6/params"   a column from others, by arithmetic
python fit.py runs=T.csv.gz loss_unit=ppl                 perplexities, to nats; bits, bpb
python fit.py runs=[runs.csv,chart.csv]                   two exports of Weights & Biases
python fit.py runs=T.csv rows=runs                        each row of a curve is a run
python fit.py runs=T.csv incomplete=exclude               without rows that lack a value
python fit.py runs=T.csv where.recipe=tuned               rows with that value; or [tuned,plain]
python fit.py runs=T.csv where.flops=">=1e18"             rows that compare so; <, !=x
python fit.py runs=T.csv exclude=[r3,r10]                 without these runs
python fit.py runs=T.csv reduce=best                      of one (N, D) the lowest loss
python fit.py runs=T.csv by=recipe                        one fit a value: fits/T/<value>
python fit.py runs=T.csv by=recipe baseline=plain         and each value's compute multiplier
python fit.py runs=T.csv by=recipe multiplier.E=1.7       above that irreducible loss
python fit.py runs=T.csv laws=[isoflop,parametric]        these laws; each must stand
python fit.py runs=T.csv laws=[minima]                    lines through optima alone, one a row
python fit.py runs=T.csv isoflop.method=robust            minima by one shape for all curves
python fit.py runs=T.csv isoflop.window=8                 of sizes within 8 times the best one
python fit.py runs=T.csv require=[]                       no law must, for exit status 0
python fit.py runs=T.csv holdout=3e18                     runs from that FLOP on validate
python fit.py runs=T.csv budget_tolerance=0.3             FLOP of one budget differ so much
python fit.py runs=T.csv convention.params=total          N with embeddings; convention.flops=6nd
python fit.py runs=T.csv objective=lad delta=1e-3         the surface by absolute values
python fit.py runs=T.csv surface.form=coupled surface.E=1.69   another form; E held
python fit.py runs=T.csv n_bootstrap=400 seed=1           fewer resamples, and others
python fit.py runs=T.csv predict.params=[7e10]            what makes that size the best
python fit.py runs=T.csv predict.tokens=[2e10]            the size that so much data serves best
python fit.py runs=T.csv predict.pairs=[[1e9,1e11]]       the loss of that model
python fit.py runs=T.csv compare=U.csv                    two fits on one page
python fit.py runs=T.csv figures=[pdf]                    and paper/, for a paper in LaTeX
python fit.py explore=true                                published laws alone: which size, how long
python fit.py runs=T.csv verbose=true                     a screen for each fit, not 12 lines
"""

import common.start  # noqa: F401

# isort: split
import sys
from contextlib import suppress
from pathlib import Path

from common.errors import ExitStatus
from common.terminal_line import shown_progress
from common.text import shown
from configs.cli import Arguments, run_entry
from configs.overrides import Keys
from configs.schema import build
from scaling.fit.config import FitConfig
from scaling.fit.group_by import fit_all
from scaling.fit.summary import printed
from scaling.fit.table.inputs import read_sources
from scaling.fit.table.sweep_directory import write_runs_csv
from scaling.report.document import write_explorer, write_report_into

KEYS = Keys(
    {"": FitConfig},
    paths=("runs", "out", "compare"),
    maps=("where", "columns", "derive"),
)


def main(arguments: Arguments) -> int:
    """One fit, or one for each value of `by`; status 4 where no law that must stand does."""
    config = build(FitConfig, arguments.compose(KEYS))
    if config.explore:
        print(f"explorer: {write_explorer(Path(config.out or 'fits'))}")
        return ExitStatus.DONE
    # Every fit comes before the first file, so that bad input leaves nothing behind.
    with shown_progress("fit"):
        sources = read_sources(config)
        found = fit_all(config, sources)
    for folder, fitted in found.fits:
        with shown_progress("fit"):
            page = write_report_into(
                folder, fitted, lambda _: "choose another folder", config.figures
            )
        print(printed(fitted.document, page, config.verbose), end="\n\n")
    for line in found.skipped_lines:
        print(shown(line))
    for path in map(Path, config.paths):
        if path.is_dir():
            with suppress(OSError):  # derived, and an archived sweep may be read-only
                write_runs_csv(path)
    return ExitStatus.DONE if found.stand else ExitStatus.NO_LAW


if __name__ == "__main__":
    sys.exit(run_entry(main, "fit", __doc__ or "", keys=KEYS))
