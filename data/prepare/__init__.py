"""Text, or ready shards, to a folder of token shards with its manifest."""

import common.interpreter

# isort: split
from data.prepare.estimate import Estimate, estimate
from data.prepare.pipeline import fetch, prepare
from data.prepare.random_tokens import random_data
from data.prepare.recipe import is_absent, is_prepared, prepared_with

__all__ = [
    "Estimate",
    "estimate",
    "fetch",
    "is_absent",
    "is_prepared",
    "prepare",
    "prepared_with",
    "random_data",
]
