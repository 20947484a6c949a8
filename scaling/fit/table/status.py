"""How a run ended, in the words that trackers and schedulers use: one table."""

from scaling.fit.table.columns import Table
from scaling.fit.table.schema import DONE

# The words of Weights & Biases, MLflow, Slurm and ours for runs that did not end well, or not yet.
_OTHERS = """
    crashed failed failure error killed cancelled canceled aborted timeout preempted preempting
    running pending queued scheduled unfinished damaged diverged oom out_of_memory node_fail
"""
OTHERS = frozenset(_OTHERS.split())


def with_status(table: Table) -> Table:
    """The table with its column `state` as status, where it has no status and says nothing else."""
    names = [name for name in table.names if name.lower() == "state"]
    if "status" in table.names or len(names) != 1:
        return table
    values = {str(value).lower() for value in table.distinct(names[0])[1]}
    known = values and values <= OTHERS | DONE
    return table.with_columns({"status": table.data[names[0]]}) if known else table
