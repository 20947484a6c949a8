"""The readers by group: each makes its files in a folder of its own."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tests.support.fuzzing import more_readers, readers
from tests.support.fuzzing.tally import Reader

GROUPS: Mapping[str, Callable[[Path], Iterator[Reader]]] = {
    "sweep": readers.sweep_readers,
    "data": readers.data_readers,
    "fit": more_readers.fit_readers,
    "tables": more_readers.table_readers,
    "weights": more_readers.weight_readers,
    "evaluation": more_readers.evaluation_readers,
}
