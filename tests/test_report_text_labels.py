"""What quantities are called claims no more than is known of the runs."""

from typing import Any

from scaling.report.text.labels import axis_labels, law_name, visible
from tests.support.report_example import study


def test_axis_labels_claim_of_no_other_table_what_our_sweeps_count() -> None:
    for own in (True, False):

        def edit(values: dict[str, Any], own: bool = own) -> None:
            values["convention"] = {"params": "non_embedding", "flops": "exact"}
            values["provenance"]["own_sweep"] = own

        labels = axis_labels(study(edit))
        assert ("12 layers" in labels.params) == ("causal" in labels.flops) == own


def test_axis_labels_name_bytes_where_the_vocabulary_is_bytes() -> None:
    assert axis_labels(study()).loss == "final held-out loss (nats per byte)"


def test_law_name_is_the_papers_term() -> None:
    assert law_name("isoflop") == "IsoFLOP curves"


def test_visible_replaces_what_could_steer_a_reader() -> None:
    assert visible("a\x1b[31m\u202eb") == "a\ufffd[31m\ufffdb"
