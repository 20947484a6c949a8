"""A row, a table admitted to a fit, and the refusal of one, for tests."""

import pytest
from fit_examples import config

from configs.errors import BadInput
from scaling.fit.inputs import read_inputs
from scaling.fit.observations import observe


def row(**changes):
    return {"run_id": "a", "params": 1e6, "tokens": 1e8, "loss": 3.0, **changes}


def admitted(path, *overrides):
    asked = config(f"runs={path}", *overrides)
    return observe(read_inputs(asked).rows, asked)


def refusal(path, *overrides):
    with pytest.raises(BadInput) as error:
        admitted(path, *overrides)
    assert "\n" not in str(error.value)
    return str(error.value)
