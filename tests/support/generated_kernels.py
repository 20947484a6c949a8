"""Networks whose generated code moves bytes that are known, for benchmarks.gpu_code's child."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.gpu_code.built import Built, compiled_whole
from benchmarks.gpu_code.training_step import training_step

ROWS, COLUMNS, VOCABULARY = 2048, 768, 50304


class Function(nn.Module):
    """A function as a network."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(*inputs)


def _of_rows(function) -> Built:
    return Built(Function(function), [((ROWS, COLUMNS), torch.float32)], compiled_whole)


def cast() -> Built:
    return _of_rows(lambda x: x.bfloat16())


def row_sums() -> Built:
    return _of_rows(lambda x: x.sum(-1))


def layer_norm() -> Built:
    vector = ((COLUMNS,), torch.float32)
    inputs = [((ROWS, COLUMNS), torch.float32), vector, vector]
    return Built(
        Function(lambda x, gain, bias: F.layer_norm(x, (COLUMNS,), gain, bias)),
        inputs,
        compiled_whole,
    )


def lookup() -> Built:
    inputs = [((VOCABULARY, COLUMNS), torch.float32), ((ROWS,), torch.int64)]
    return Built(Function(lambda table, ids: table[ids] * 2), inputs, compiled_whole)


def long_softmax() -> Built:
    return Built(
        Function(lambda x: x.softmax(-1)), [((ROWS, VOCABULARY), torch.float32)], compiled_whole
    )


def with_another_pass(**arguments) -> Built:
    """The training step with the hidden layer scaled by its largest entry."""
    built = training_step(**arguments)
    for block in built.network.h:
        block.mlp.c_fc.register_forward_hook(lambda _, inputs, h: h / h.detach().amax())
    return built
