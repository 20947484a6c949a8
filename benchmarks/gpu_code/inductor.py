"""Programs that torch.compile and Inductor make for the pretended GPU, and what they take and give.

With pretended_gpu.py the only file that uses torch's private names: written for torch 2.13. To be
called where `pretend` was.

The network is traced by torch.compile on tensors without memory that say "cuda", so it takes the
ways that it takes on a GPU. Autograd of a CPU build refuses such tensors, hence the traced graph is
differentiated on the CPU, with CUDA's rules of autocast, and the forward and backward graphs that
come out are moved back before Inductor lowers and schedules them and writes their kernels.
"""

import contextlib
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch._decomp
import torch._functorch.config as functorch_config
import torch._inductor.config as inductor_config
import torch._inductor.fx_passes.reinplace as reinplace
import torch.nn.functional as F
import torch.utils._pytree as pytree
from torch import Tensor, nn
from torch._guards import TracingContext, tracing
from torch._inductor.compile_fx import compile_fx, compile_fx_inner
from torch._inductor.graph import GraphLowering
from torch._subclasses.fake_tensor import FakeTensorMode

GPU = torch.device("cuda", 0)
# Of the functions that autocast runs in float32 on CUDA, but not all of them on a CPU.
_IN_FLOAT32 = (F.layer_norm, F.cross_entropy, F.nll_loss, F.softmax, F.log_softmax)


@dataclass(frozen=True)
class TensorShape:
    """Size, strides and type of a tensor, and whether a gradient is asked for."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype


@dataclass(frozen=True)
class Generated:
    """The code of a graph, the module that holds it by attribute, and its inputs' shapes."""

    source: str
    constants: dict[str, Any]
    inputs: tuple[TensorShape, ...]


class _TracedError(Exception):
    """Ends the call that was only to be traced."""


@dataclass
class _Capture:
    """A backend of torch.compile that keeps what it is given."""

    graph: Any = None
    inputs: Sequence[Tensor] = ()
    options: dict[str, Any] = field(default_factory=dict)

    def __call__(self, graph: Any, inputs: Sequence[Tensor], **options: Any) -> Callable[..., Any]:
        self.graph, self.inputs, self.options = graph, inputs, options.get("options") or {}

        def stop(*_: Any) -> None:
            raise _TracedError

        return stop


def programs(
    network: nn.Module,
    inputs: Sequence[tuple[tuple[int, ...], torch.dtype]],
    compiled: Callable[[nn.Module, Any], nn.Module],
    attention: Callable[..., Tensor],
) -> list[Generated]:
    """The forward and backward programs of a network on the CPU, which loses its weights.

    inputs     sizes and types of what it is called with
    compiled   torch.compile as the product calls it, given a network and a backend
    attention  what stands for F.scaled_dot_product_attention on such a device
    """
    captured = _Capture()
    mode = FakeTensorMode()
    with mode:
        _move_without_memory(network)
        example = [torch.zeros(size, dtype=dtype, device=GPU) for size, dtype in inputs]
        try:
            with torch.autocast("cuda", torch.bfloat16):
                compiled(network, captured)(*example)
        except _TracedError:
            pass
    graph = captured.graph
    for node in graph.graph.nodes:
        _rewrite_for_cpu(node, attention)
    graph.recompile()
    mode = FakeTensorMode()
    with mode:
        on_cpu = [
            torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, requires_grad=x.requires_grad)
            for x in captured.inputs
        ]
    made = _Made(mode)
    with made.patches(), tracing(TracingContext(mode)), torch.autocast("cpu", torch.bfloat16):
        compile_fx(graph, on_cpu, inner_compile=made.lower, config_patches=captured.options)
    return made.programs


def _move_without_memory(network: nn.Module) -> None:
    moved: dict[int, nn.Parameter] = {}
    for module in network.modules():
        for name, weight in module._parameters.items():
            if weight is not None:
                if id(weight) not in moved:
                    there = torch.empty(weight.shape, dtype=weight.dtype, device=GPU)
                    moved[id(weight)] = nn.Parameter(there)
                module._parameters[name] = moved[id(weight)]


def _rewrite_for_cpu(node: Any, attention: Callable[..., Tensor]) -> None:
    def on_cpu(value: Any) -> Any:
        is_gpu = value == "cuda" or isinstance(value, torch.device) and value.type == "cuda"
        return torch.device("cpu") if is_gpu and value != "cuda" else "cpu" if is_gpu else value

    node.args = torch.fx.node.map_aggregate(node.args, on_cpu)
    node.kwargs = torch.fx.node.map_aggregate(node.kwargs, on_cpu)
    node.meta.pop("example_value", None)
    if node.target is F.scaled_dot_product_attention:
        node.target = attention
    elif node.target in _IN_FLOAT32:
        node.target = _in_float32(node.target)


def _in_float32(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def call(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return function(x.float(), *args, **kwargs)

    return call


class _Made:
    """Lowers graphs for the GPU and keeps the programs."""

    def __init__(self, mode: FakeTensorMode) -> None:
        self.mode = mode
        self.programs: list[Generated] = []
        self._inputs: tuple[TensorShape, ...] = ()

    def patches(self) -> Any:
        """Of the compiler, which may run nothing and keep nothing."""
        masked = torch.ops.aten._unsafe_masked_index_put_accumulate.default
        torch._decomp.decomposition_table[masked] = lambda x, *_: torch.empty_like(x)
        keep = self._keep
        for owner, name, ours in (
            (reinplace, "_inplace_generalized_scatter", lambda value, *_: value),  # shapes alone
            (
                GraphLowering,
                "_compile_to_module_lines",
                lambda graph, code: keep(graph, code.value),
            ),
        ):
            setattr(owner, name, ours)
        stack = contextlib.ExitStack()
        stack.enter_context(inductor_config.patch(force_disable_caches=True))
        stack.enter_context(functorch_config.patch(force_non_lazy_backward_lowering=True))
        return stack

    def lower(self, graph: Any, inputs: Sequence[Any], **options: Any) -> Any:
        """What compile_fx calls with the forward and the backward graph."""
        for node in graph.graph.nodes:
            node.args = torch.fx.node.map_aggregate(node.args, _to_gpu)
            node.kwargs = torch.fx.node.map_aggregate(node.kwargs, _to_gpu)
        graph.recompile()
        with self.mode, torch.no_grad():
            moved = pytree.tree_map(_to_gpu, list(inputs))
            for node in graph.graph.nodes:
                if "val" in node.meta:
                    node.meta["val"] = pytree.tree_map(_to_gpu, node.meta["val"])
        self._inputs = tuple(TensorShape(tuple(x.shape), x.stride(), x.dtype) for x in moved)
        return compile_fx_inner(graph, moved, **options)

    def _keep(self, graph: Any, source: str) -> types.ModuleType:
        self.programs.append(Generated(source, dict(graph.constants), self._inputs))
        module = types.ModuleType("generated")
        module.__file__, module.__path__, module.key = "generated.py", [], "generated"  # type: ignore
        module.call = lambda _: None  # type: ignore[attr-defined]
        return module


def _to_gpu(value: Any) -> Any:
    if isinstance(value, torch.device):
        return GPU
    if isinstance(value, Tensor):
        return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=GPU)
    return value
