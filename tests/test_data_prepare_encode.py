"""Documents become ids in their order, here or in other processes."""

import numpy as np
import pytest

from common.errors import BadInput
from data.prepare.documents import Document
from data.prepare.encode import encode_here, encode_in_parallel


def document(text: str, where: str = "somewhere:1") -> Document:
    return Document(text, text.encode(), where)


def test_encode_refuses_the_separator_by_name() -> None:
    """Text with the separator is refused by name."""
    with pytest.raises(BadInput, match=r"book.txt: found a NUL character"):
        list(encode_here(iter([document("a\0b", "book.txt")]), "bytes"))


def test_encode_in_parallel_keeps_the_order() -> None:
    texts = [str(number) * (50_000 * (number % 7) + 1) for number in range(40)]
    documents = [document(text) for text in texts]
    parallel = encode_in_parallel(iter(documents), "bytes")
    for (here, ids), (there, same) in zip(
        encode_here(iter(documents), "bytes"), parallel, strict=True
    ):
        assert here is there
        np.testing.assert_array_equal(ids, same)
