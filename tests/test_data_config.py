"""A recipe that cannot be is refused by field."""

from dataclasses import replace

import pytest

from common.errors import BadInput
from data.config import DataConfig

BPE = DataConfig("files", "text", "bpe", 0.2, 1, vocab_size=400)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"vocab_size": None}, "data.vocab_size: found None, expected 257 to 65536"),
        ({"vocab_size": 256}, "data.vocab_size: found 256, expected 257 to 65536"),
        ({"tokenizer": "gpt2"}, "data.vocab_size: found 400, expected null"),
        ({"val_tokens": 10}, "data.val_fraction: found 0.2 and data.val_tokens 10"),
        ({"val_tokens": 10, "val_fraction": None}, "data.val_tokens: found 10, expected null"),
        ({"val_fraction": None}, "data.val_fraction: found None"),
    ],
)
def test_data_config_refuses_an_impossible_recipe(values, why) -> None:
    with pytest.raises(BadInput, match=why):
        replace(BPE, **values)
