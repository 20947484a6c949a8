"""A generated program gone through on tensors without memory: what it launches, moves and holds."""

import re
import types
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._inductor.async_compile import AsyncCompile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from benchmarks.gpu_code.generate import Launch, Program
from benchmarks.gpu_code.inductor import Generated, TensorShape
from benchmarks.gpu_code.traffic import Argument, parameters, traffic

ATTENTION = "scaled_dot_product"
PRODUCTS = ("mm", "addmm", "bmm", "baddbmm")


def dry_runs(programs: Sequence[Generated]) -> list[Program]:
    """Call a forward program, then its backward program, without running a kernel."""
    runs: list[Program] = []
    saved: list[Tensor] = []
    for program in programs:
        names = _arguments(program.source)
        with _recorded(program) as (call, recorder):
            given = [*saved, *map(recorder.given, program.inputs[len(saved) :])]
            for tensor, shape in zip(given, program.inputs, strict=True):
                assert tuple(tensor.shape) == shape.size and tensor.stride() == shape.stride
                recorder.holds(tensor)
            # The caller holds weights and tokens all the time; the rest is freed as it is used.
            held = [t for t, n in zip(given, names, strict=True) if re.match(r"primals_|arg\d", n)]
            saved.clear()
            del tensor
            results = call(given)
            runs.append(recorder.result(results, held))
        if len(runs) < len(programs):
            tangents = sum("tangents" in n for n in _arguments(programs[len(runs)].source))
            saved = list(results[tangents - len(programs[len(runs)].inputs) :])
        del results, held
    return runs


def _arguments(source: str) -> list[str]:
    """Names of a program's inputs: primals are the network's, tangents its results' gradients."""
    found = re.search(r"^ +(.*?),? = args$", source, re.M)
    return found[1].split(", ") if found else []


class _Recorder(TorchDispatchMode):
    """Keeps what is launched, and when memory is taken and given back."""

    def __init__(self) -> None:
        super().__init__()
        self.launches: list[Launch] = []
        self._events: list[tuple[int, int]] = []  # a storage's number, bytes taken or given back
        self._number: dict[int, int] = {}  # of a live storage, by its address
        self._from_tokens: set[int] = set()  # numbers of those that depend on the tokens

    def given(self, shape: TensorShape) -> Tensor:
        """An input; integers are tokens."""
        tensor = self.empty(shape.size, shape.stride, shape.dtype)
        if not shape.dtype.is_floating_point:
            self._from_tokens.add(self.holds(tensor))
        return tensor

    def empty(self, size: Any, stride: Any, dtype: torch.dtype) -> Tensor:
        """What the program allocates."""
        tensor = torch.empty_strided(size, stride, dtype=dtype, device="meta")
        self.holds(tensor)
        return tensor

    def launch(self, name: str, source: str, parameter: list[str], arguments: tuple[Any, ...]):
        """A Triton kernel, by its text and its arguments."""
        tensors = {
            p: a for p, a in zip(parameter, arguments, strict=False) if isinstance(a, Tensor)
        }
        moved = traffic(
            source,
            {
                p: Argument(t.untyped_storage().nbytes() // t.itemsize, t.itemsize)
                for p, t in tensors.items()
            },
        )
        self._wrote([tensors[p] for p in moved.read], [tensors[p] for p in moved.written])
        read, written = sum(moved.read.values()), sum(moved.written.values())
        self.launches.append(Launch(name, "triton", read, written))

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        results = function(*args, **kwargs)
        packet = function.overloadpacket
        name = packet._qualified_op_name.split("::")[-1]
        if function.is_view or name.startswith("empty") or name in ("detach", "alias"):
            return results
        inputs = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        outputs = [x for x in tree_leaves(results) if isinstance(x, Tensor)]
        flops, kind = 0, "other"
        if name in PRODUCTS or ATTENTION in name:
            kind = "attention" if ATTENTION in name else "product"
            flops = flop_registry[packet](*args, out_val=results)
            flops = flops // 2 if kind == "attention" else flops
        self._wrote(inputs, outputs)
        given = {id(x): x for x in inputs if not any(x is y for y in outputs)}.values()
        read, written = (sum(x.numel() * x.itemsize for x in part) for part in (given, outputs))
        self.launches.append(Launch(name.strip("_"), kind, read, written, flops))
        return results

    def result(self, results: Sequence[Any], inputs: Sequence[Tensor]) -> Program:
        """What was recorded, now that the program has ended; `inputs` are the caller's."""
        tensors = [x for x in results if isinstance(x, Tensor)]
        numbers = {self.holds(x) for x in tensors}
        held = {self.holds(x) for x in inputs}
        bytes_of = {number: size for number, size in self._events if size > 0}
        kept = {True: 0, False: 0}
        for number in numbers - held:
            kept[number in self._from_tokens] += bytes_of[number]
        return Program(
            tuple(self.launches),
            kept=kept[True],
            kept_of_weights=kept[False],
            peak=self._peak(held),
            peak_without_results=self._peak(held | numbers),
        )

    def _peak(self, without: set[int]) -> int:
        live = most = 0
        for number, size in self._events:
            live += 0 if number in without else size
            most = max(most, live)
        return most

    def _wrote(self, inputs: list[Tensor], outputs: list[Tensor]) -> None:
        from_tokens = any(self.holds(x) in self._from_tokens for x in inputs)
        for output in outputs:
            number = self.holds(output)
            if from_tokens:
                self._from_tokens.add(number)

    def holds(self, tensor: Tensor) -> int:
        """The number of a tensor's storage, which takes memory from the first such call on."""
        storage = tensor.untyped_storage()
        address = storage._cdata
        if address not in self._number:
            self._number[address] = number = len(self._events)
            self._events.append((number, storage.nbytes()))
            weakref.finalize(storage, self._freed, address, storage.nbytes())
        return self._number[address]

    def _freed(self, address: int, size: int) -> None:
        self._events.append((self._number.pop(address), -size))


@contextmanager
def _recorded(program: Generated) -> Iterator[tuple[Any, _Recorder]]:
    """The program's `call`, whose every launch is recorded."""
    recorder = _Recorder()

    def kernel(_: Any, name: str, source: str, **__: Any) -> Any:
        names = parameters(source)

        def run(*arguments: Any, **_: Any) -> None:
            recorder.launch(name, source, names, arguments)

        return types.SimpleNamespace(run=run)

    for attribute, ours in {"triton": kernel, "wait": lambda *_: None}.items():
        setattr(AsyncCompile, attribute, ours)
    module: dict[str, Any] = {"__name__": "generated", "__file__": "generated.py"}
    exec(compile(program.source, "generated.py", "exec"), module)  # what Inductor itself does
    constants = {
        name: value.to("meta") if isinstance(value, Tensor) else value
        for name, value in program.constants.items()
    }
    module |= constants | {
        "empty_strided_cuda": recorder.empty,
        "reinterpret_tensor": _reinterpret,
        "copy_if_misaligned": lambda tensor: tensor,
        "assert_size_stride": lambda *_: None,
        "assert_alignment": lambda *_: None,
    }
    with recorder:
        yield module["call"], recorder


def _reinterpret(tensor: Tensor, size: Any, stride: Any, offset: int = 0) -> Tensor:
    return tensor.as_strided(size, stride, tensor.storage_offset() + offset)
