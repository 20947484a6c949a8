"""A law is ok, flagged or refused."""

from scaling.fit.flags import Flag
from scaling.fit.results.laws import judged


def test_judged_is_refused_flagged_or_ok() -> None:
    """Judged is refused flagged or ok."""
    flags = (Flag("few_budgets", "four"),)
    assert judged()["status"] == "ok"
    assert judged(flags)["status"] == "flagged"
    assert judged(flags, "two budgets")["status"] == "refused"
