"""Bytes that a Triton kernel of Inductor's moves, counted from its text and its arguments.

A load or store touches as many elements as its index takes values: the product of the ranges of
the index's parts, at most the elements of the tensor. An index that was itself loaded, as of a
gather, takes as many values as the loads of it. What one loop touches twice is counted once, since
caches give the second; what two loops touch is counted twice, since a row of logits between them
fills any cache. An atomic addition reads and writes. Masks are taken for true.
"""

import ast
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Argument:
    """A tensor given to a kernel: elements that its storage holds, and bytes of one."""

    elements: int
    itemsize: int


@dataclass(frozen=True)
class Traffic:
    """Bytes read and written through each of a kernel's pointers."""

    read: Mapping[str, int]
    written: Mapping[str, int]


# The parts of an index that a variable of Inductor's stands for: names, each with its range.
Parts = frozenset[tuple[str, int]]


def parameters(source: str) -> list[str]:
    """Names of a kernel's parameters, without those that are constants of compilation."""
    arguments = _kernel(source).args.args
    return [argument.arg for argument in arguments if argument.annotation is None]


def traffic(source: str, arguments: Mapping[str, Argument]) -> Traffic:
    """The bytes of one launch; `arguments` are its tensors by parameter name."""
    counter = _Counter(arguments)
    counter.block(_kernel(source).body, loop=0)
    totals: dict[str, dict[str, int]] = {"load": {}, "store": {}}
    for (kind, pointer, _), accesses in counter.accesses.items():
        argument = arguments[pointer]
        elements = min(argument.elements, sum(accesses.values()))
        of_kind = totals[kind]
        of_kind[pointer] = of_kind.get(pointer, 0) + elements * argument.itemsize
    return Traffic(totals["load"], totals["store"])


def _kernel(source: str) -> ast.FunctionDef:
    """The function that triton.jit decorates."""
    functions = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    kernels = [f for f in functions if any("jit" in ast.unparse(d) for d in f.decorator_list)]
    return kernels[-1]


class _Counter:
    """Goes through a kernel's statements in order and keeps what every variable ranges over."""

    def __init__(self, arguments: Mapping[str, Argument]) -> None:
        self.arguments = arguments
        self.extents: dict[str, int] = {}  # of xnumel and its like
        self.parts: dict[str, Parts] = {}
        self.accesses: dict[tuple[str, str, int], dict[str, int]] = {}
        self.loops = 0

    def block(self, statements: Sequence[ast.stmt], loop: int) -> None:
        for statement in statements:
            if isinstance(statement, ast.For):
                self.loops += 1
                self.block(statement.body, self.loops)
            elif isinstance(statement, ast.If):
                self.block(statement.body, loop)
                self.block(statement.orelse, loop)
            else:
                self.statement(statement, loop)

    def statement(self, statement: ast.stmt, loop: int) -> None:
        for node in ast.walk(statement):
            if isinstance(node, ast.Call):
                self.access(node, loop)
        if not isinstance(statement, ast.Assign | ast.AugAssign) or statement.value is None:
            return
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        names = [n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)]
        for name in names:
            if name.endswith("numel") and isinstance(statement.value, ast.Constant):
                self.extents[name] = int(ast.literal_eval(statement.value))
            elif name.endswith("index"):
                root = name.removesuffix("index")
                self.parts[name] = frozenset({(name, self.extents.get(f"{root}numel", 1))})
            else:
                self.parts[name] = self.ranges(name, statement.value)

    def ranges(self, name: str, value: ast.expr) -> Parts:
        """What a variable ranges over: a part of an index, or all that it is made of."""
        divided = _division(value)
        if divided is None:
            return self.parts_of(value)
        root, divisor, modulus = divided
        if root not in self.parts:
            return self.parts_of(value)
        extent = math.prod(size for _, size in self.parts[root])
        extent = -(-extent // divisor)
        extent = min(extent, modulus) if modulus else extent
        return frozenset({(f"{root} {divisor} {extent}", extent)})

    def parts_of(self, value: ast.expr) -> Parts:
        names = [n.id for n in ast.walk(value) if isinstance(n, ast.Name)]
        return frozenset().union(*(self.parts.get(name, frozenset()) for name in names))

    def access(self, call: ast.Call, loop: int) -> None:
        kinds = {"tl.load": ("load",), "tl.store": ("store",), "tl.atomic_add": ("load", "store")}
        function = ast.unparse(call.func)
        if function not in kinds:
            if function.startswith("tl.atomic"):
                raise NotImplementedError(f"a kernel calls {function}, whose bytes are not counted")
            return
        pointers = [
            n.id
            for n in ast.walk(call.args[0])
            if isinstance(n, ast.Name) and n.id in self.arguments
        ]
        if len(pointers) != 1:
            raise NotImplementedError(f"a kernel calls {ast.unparse(call)[:80]}: of which tensor?")
        index = ast.unparse(call.args[0])
        elements = self.elements(call.args[0], self.arguments[pointers[0]])
        for kind in kinds[function]:
            self.accesses.setdefault((kind, pointers[0], loop), {})[index] = elements

    def elements(self, index: ast.expr, argument: Argument) -> int:
        """How many values an index takes."""
        names = {n.id for n in ast.walk(index) if isinstance(n, ast.Name)}
        if "tl" in names and "program_id" in ast.unparse(index):
            return argument.elements  # a workspace: a row for each program
        parts = frozenset().union(*(self.parts.get(name, frozenset()) for name in names))
        total = 1
        for root in {name.split()[0] for name, _ in parts}:
            own = {name: size for name, size in parts if name.split()[0] == root}
            total *= min(math.prod(own.values()), own.get(root, math.prod(own.values())))
        return min(total, argument.elements)


def _division(value: ast.expr) -> tuple[str, int, int] | None:
    """`x`, `x // d`, `x % m` or `x // d % m` as name, d and m; else None."""
    numbers = {ast.Mod: 0, ast.FloorDiv: 1}
    for operator in numbers:
        if isinstance(value, ast.BinOp) and isinstance(value.op, operator):
            if not isinstance(value.right, ast.Constant):
                return None
            numbers[operator] = int(ast.literal_eval(value.right))
            value = value.left
    if not isinstance(value, ast.Name):
        return None
    return value.id, numbers[ast.FloorDiv], numbers[ast.Mod]
