"""What quantities are called claims no more than is known of the runs."""

from report_example import example

from scaling.report import wording


def test_what_our_own_sweeps_count_is_claimed_of_no_other_table() -> None:
    fit = example()
    document = fit.document | {"convention": {"params": "non_embedding", "flops": "exact"}}
    for own in (True, False):
        document["provenance"] = {"own_sweep": own}
        axes = wording.axes(document, fit.observations)
        assert ("12 layers" in axes.params) == ("causal" in axes.flops) == own
