"""The page of a sweep while it runs, from its state: `sweep.py mode=status page=true`."""

from collections.abc import Sequence

from model.flops import params_effective
from scaling.run import progress
from scaling.run.command import Request
from scaling.run.status import TrialView
from scaling.run.status_view import Seen


def writer(request: Request) -> Seen:
    """What keeps status.html of the sweep up to date."""
    from scaling.report.sweep_page import ShownTrial, SweepPage  # scipy: no other mode needs it

    page = SweepPage(request.command.folder)

    def seen(views: Sequence[TrialView], lines: Sequence[str]) -> None:
        trials = [
            ShownTrial(
                name=progress.name(view.state.trial),
                state=view.state.state,
                params=params_effective(view.state.trial.config.model),
                flops_budget=view.state.trial.flops_budget,
                steps=(view.step, view.steps),
                loss=view.loss,
                tokens_per_s=view.tokens_per_s,
                left_s=view.left_s,
                problem=view.problem,
            )
            for view in views
        ]
        page.write(trials, lines)

    return seen
