"""The builder: writes one function, block after block, with structured loops and conditions.

Loops carry their values in phi nodes (accumulators stay in registers without a promotion pass) and
are written with the test at the bottom, the form that LLVM would rotate them into anyway. The
builder knows LLVM's text and a `Target`; it knows nothing of tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fanal.backends.native.emit.value import Number, V, constant, element, lanes_of, vector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fanal.backends.native.target import Target

# The ABI of every kernel (see runtime): desc and bufs are int64 arrays, status is {code, info}.
KERNEL_ARGUMENTS = (("ptr", "desc"), ("ptr", "bufs"), ("i64", "task"), ("ptr", "status"))


class Loop:
    """A counted loop being written: `with loop as (i, *carried): ...; loop.next(...)`.

    After the block, `loop.results` are the carried values as the last iteration left them (their
    initial values if the loop did not run).
    """

    def __init__(self, b: Builder, start: V, stop: V, step: V | int, carry: Sequence[V]):
        self.b, self.start, self.stop, self.step, self.carry = b, start, stop, step, list(carry)
        self.results: list[V] = []
        self._next: list[V] = list(carry)
        self._unroll = ""

    def __enter__(self) -> tuple[V, ...]:
        b = self.b
        self.body, self.exit = b.label("loop"), b.label("done")
        enter = self.start.lt(self.stop)
        self.entry = b.block
        b.emit(f"br i1 {enter.ref}, label %{self.body}, label %{self.exit}")
        b.start_block(self.body)
        # The phi lines are completed at the end, when the latch is known: remember their place.
        self.place = len(b.lines)
        self.i = V(b, self.start.type, b.fresh())
        self.inside = [V(b, v.type, b.fresh()) for v in self.carry]
        self._next = list(self.inside)
        return (self.i, *self.inside)

    def next(self, *values: V) -> None:
        """The carried values for the next iteration."""
        if len(values) != len(self.carry):
            raise ValueError(f"loop carries {len(self.carry)} values, got {len(values)}")
        self._next = list(values)

    def __exit__(self, *exc: object) -> None:
        if exc[0] is not None:
            return
        b = self.b
        following = self.i + self.step
        again = following.lt(self.stop)
        latch = b.block
        b.emit(f"br i1 {again.ref}, label %{self.body}, label %{self.exit}")
        rows = [(self.i, self.start, following)]
        rows += list(zip(self.inside, self.carry, self._next, strict=True))
        b.lines[self.place : self.place] = [
            f"  {v.ref} = phi {v.type} [{first.ref}, %{self.entry}], [{later.ref}, %{latch}]"
            for v, first, later in rows
        ]
        b.start_block(self.exit)
        self.results = [
            b.op(v.type, f"phi {v.type} [{first.ref}, %{self.entry}], [{later.ref}, %{latch}]")
            for v, first, later in zip(self.inside, self.carry, self._next, strict=True)
        ]


class Builder:
    """Writes one function of a module.

    >>> b = Builder(target, "k")                      # a kernel: desc, bufs, task, status
    >>> with b.loop(0, n, 8) as (i,): ...
    >>> text = b.finish()
    """

    def __init__(
        self,
        target: Target,
        name: str,
        arguments: Sequence[tuple[str, str]] = KERNEL_ARGUMENTS,
        returns: str = "void",
    ):
        self.target, self.name, self.returns = target, name, returns
        self.arguments = {n: V(self, t, f"%{n}") for t, n in arguments}
        self.parameters = list(self.arguments.items())
        self.lines: list[str] = []
        self.block = "entry"
        self.declarations: dict[str, str] = {}
        self.globals: dict[str, str] = {}
        self.functions: dict[str, str] = {}  # that this one calls, as text
        self.entry_lines: list[str] = []
        self._count = 0
        self._constants: dict[tuple[str, object], V] = {}

    # -- names, lines, blocks -------------------------------------------------------------------

    def fresh(self) -> str:
        self._count += 1
        return f"%t{self._count}"

    def label(self, hint: str = "b") -> str:
        self._count += 1
        return f"{hint}{self._count}"

    def emit(self, line: str) -> None:
        self.lines.append("  " + line)

    def op(self, type_: str, text: str) -> V:
        """Write `%new = text`; `type_` is the type of the result."""
        ref = self.fresh()
        self.lines.append(f"  {ref} = {text}")
        return V(self, type_, ref)

    def start_block(self, label: str) -> None:
        self.lines.append(f"{label}:")
        self.block = label

    def arg(self, name: str) -> V:
        return self.arguments[name]

    def rebind(self, **values: V) -> None:
        """Let what is written from now on find other values in the place of arguments."""
        self.arguments.update(values)

    # -- constants and conversions of Python numbers ------------------------------------------------

    def const(self, type_: str, value: Number) -> V:
        return V(self, type_, constant(type_, value))

    def pooled(self, type_: str, value: Number) -> V:
        """A vector constant that stays in memory, to be an operand of the instruction that uses it.

        LLVM would hoist each constant of a polynomial out of the loop, run out of registers, and
        shuffle them about. It can't hoist what a store might change, so the pool is not constant to
        it; the loader maps it read-only.
        """
        lanes = lanes_of(type_)
        if lanes == 1 or "avx2" not in self.target.features:
            return self.const(type_, value)
        text = constant(type_, value)
        name = f"@pool.{lanes}.{len(self.globals)}"
        key = f"pool {type_} {text}"
        if key not in self.globals:
            self.globals[key] = (
                f'{name} = internal global {type_} {text}, section ".constants", align 64'
            )
        name = self.globals[key].split(" ", 1)[0]
        return self.load(type_, V(self, "ptr", name))

    def i64(self, value: V | int) -> V:
        return value if isinstance(value, V) else self.const("i64", value)

    def vector_const(self, scalar: str, values: Sequence[Number]) -> V:
        items = ", ".join(f"{scalar} {constant(scalar, v)}" for v in values)
        return V(self, vector(scalar, len(values)), f"<{items}>")

    def iota(self, scalar: str, lanes: int) -> V:
        if lanes == 1:
            return self.const(scalar, 0)
        return self.vector_const(scalar, range(lanes))

    # -- control flow ---------------------------------------------------------------------------------

    def loop(
        self, start: V | int, stop: V | int, step: V | int = 1, carry: Sequence[V] = ()
    ) -> Loop:
        """`for i in range(start, stop, step)` with carried values; see `Loop`."""
        return Loop(self, self.i64(start), self.i64(stop), step, carry)

    @contextmanager
    def if_(self, condition: V) -> Iterator[None]:
        """A block that runs where the i1 `condition` is true."""
        then, after = self.label("then"), self.label("after")
        self.emit(f"br i1 {condition.ref}, label %{then}, label %{after}")
        self.start_block(then)
        yield
        self.emit(f"br label %{after}")
        self.start_block(after)

    def branch(
        self,
        condition: V,
        then: Callable[[], Sequence[V]],
        otherwise: Callable[[], Sequence[V]],
    ) -> list[V]:
        """Two branches that each yield the same number of values; returns the joined values."""
        labels = self.label("then"), self.label("else"), self.label("join")
        self.emit(f"br i1 {condition.ref}, label %{labels[0]}, label %{labels[1]}")
        outcomes = []
        for label, make in zip(labels, (then, otherwise), strict=False):
            self.start_block(label)
            values = list(make())
            outcomes.append((values, self.block))
            self.emit(f"br label %{labels[2]}")
        self.start_block(labels[2])
        (a, from_a), (b, from_b) = outcomes
        return [
            self.op(x.type, f"phi {x.type} [{x.ref}, %{from_a}], [{y.ref}, %{from_b}]")
            for x, y in zip(a, b, strict=True)
        ]

    def ret(self, value: V | None = None) -> None:
        self.emit("ret void" if value is None else f"ret {value.type} {value.ref}")

    # -- memory ---------------------------------------------------------------------------------------

    def at(self, base: V, index: V | int, type_: str = "i8") -> V:
        """Address of element `index` of an array of `type_` at `base`."""
        i = self.i64(index)
        return self.op("ptr", f"getelementptr {type_}, ptr {base.ref}, {i.type} {i.ref}")

    def load(self, type_: str, address: V, align: int | None = None) -> V:
        """Load a scalar or vector; the default alignment is that of one element."""
        return self.op(type_, f"load {type_}, ptr {address.ref}, align {align or _align(type_)}")

    def store(self, value: V, address: V, align: int | None = None) -> None:
        self.emit(
            f"store {value.type} {value.ref}, ptr {address.ref}, align {align or _align(value.type)}"
        )

    def alloca(self, type_: str, count: int = 1, align: int = 64) -> V:
        """Stack memory, reserved once in the entry block."""
        ref = self.fresh()
        self.entry_lines.append(f"  {ref} = alloca [{count} x {type_}], align {align}")
        return V(self, "ptr", ref)

    def masked_load(self, type_: str, address: V, mask: V, otherwise: V | None = None) -> V:
        other = otherwise or self.const(type_, 0)
        name = f"llvm.masked.load.{_mangled(type_)}.p0"
        align = _align(type_)
        self.declare(name, f"declare {type_} @{name}(ptr, {mask.type}, {type_})")
        return self.op(
            type_,
            f"call {type_} @{name}(ptr align {align} {address.ref}, {mask.type} {mask.ref}, {type_} {other.ref})",
        )

    def masked_store(self, value: V, address: V, mask: V) -> None:
        name = f"llvm.masked.store.{_mangled(value.type)}.p0"
        self.declare(name, f"declare void @{name}({value.type}, ptr, {mask.type})")
        self.emit(
            f"call void @{name}({value.type} {value.ref}, ptr align {_align(value.type)} "
            f"{address.ref}, {mask.type} {mask.ref})"
        )

    def opaque(self, x: V) -> V:
        """The same value, of which LLVM knows nothing: addresses made from it stay as they are
        written, in the processor's forms of addressing, rather than become registers of their own."""
        if not self.target.triple.startswith("x86_64"):
            return x
        return self.op(x.type, f'call {x.type} asm "", "=r,0"({x.type} {x.ref})')

    def prefetch(self, address: V, level: int = 1) -> None:
        """Ask for a line, into the cache of a level."""
        self.declare("llvm.prefetch.p0", "declare void @llvm.prefetch.p0(ptr, i32, i32, i32)")
        self.emit(f"call void @llvm.prefetch.p0(ptr {address.ref}, i32 0, i32 {4 - level}, i32 1)")

    # -- values ---------------------------------------------------------------------------------------

    def select(self, condition: V, a: V | Number, b: V | Number) -> V:
        if not isinstance(a, V):
            if not isinstance(b, V):
                raise TypeError("select needs at least one value to take its type from")
            a = self.const(b.type, a)
        if not isinstance(b, V):
            b = self.const(a.type, b)
        return self.op(
            a.type,
            f"select {condition.type} {condition.ref}, {a.type} {a.ref}, {b.type} {b.ref}",
        )

    def splat(self, value: V, lanes: int) -> V:
        """A vector with `value` in every lane."""
        if lanes == 1:
            return value
        type_ = vector(value.type, lanes)
        first = self.op(
            type_, f"insertelement {type_} poison, {value.type} {value.ref}, i32 0"
        )
        return self.op(
            type_,
            f"shufflevector {type_} {first.ref}, {type_} poison, <{lanes} x i32> zeroinitializer",
        )

    def shuffle(self, a: V, b: V | None, indices: Sequence[int]) -> V:
        """Lanes of `a` and `b` (numbered on) in the given order; -1 leaves a lane undefined."""
        e = element(a.type)
        picks = ", ".join("i32 poison" if i < 0 else f"i32 {i}" for i in indices)
        other = "poison" if b is None else b.ref
        return self.op(
            vector(e, len(indices)),
            f"shufflevector {a.type} {a.ref}, {a.type} {other}, <{len(indices)} x i32> <{picks}>",
        )

    def insert(self, v: V, value: V, lane: int | V) -> V:
        index = lane.ref if isinstance(lane, V) else lane
        return self.op(
            v.type,
            f"insertelement {v.type} {v.ref}, {value.type} {value.ref}, i32 {index}",
        )

    def declare(self, name: str, text: str) -> None:
        self.declarations[name] = text

    def intrinsic(self, name: str, *args: V, returns: str | None = None, suffix: str = "") -> V:
        """Call `llvm.<name>` overloaded on the type of its first argument."""
        type_ = returns or args[0].type
        full = f"llvm.{name}.{suffix or _mangled(args[0].type)}"
        types = ", ".join(a.type for a in args)
        self.declare(full, f"declare {type_} @{full}({types})")
        text = ", ".join(f"{a.type} {a.ref}" for a in args)
        return self.op(type_, f"call {type_} @{full}({text})")

    def fma(self, a: V, b: V, c: V) -> V:
        """a·b + c rounded once where the target has the instruction, else rounded twice."""
        if self.target.fma:
            return self.intrinsic("fma", a, b, c)
        return a * b + c

    def abs(self, x: V) -> V:
        if x.is_float:
            return self.intrinsic("fabs", x)
        return self.select(x.lt(0), -x, x)

    def copysign(self, magnitude: V, sign: V) -> V:
        return self.intrinsic("copysign", magnitude, sign)

    def sqrt(self, x: V) -> V:
        return self.intrinsic("sqrt", x)

    # Minimum and maximum in two flavours. `fast_*` compile to one instruction and return the
    # second operand when either is NaN; `nan_*` propagate NaN, as PyTorch's operations do.
    def fast_max(self, a: V, b: V) -> V:
        return self.select(a.gt(b), a, b)

    def fast_min(self, a: V, b: V) -> V:
        return self.select(a.lt(b), a, b)

    def global_table(self, name: str, scalar: str, values: Sequence[Number]) -> V:
        """A read-only array of constants; returns its address."""
        items = ", ".join(f"{scalar} {constant(scalar, v)}" for v in values)
        self.globals[name] = (
            f"@{name} = private unnamed_addr constant [{len(values)} x {scalar}] [{items}], align 64"
        )
        return V(self, "ptr", f"@{name}")

    # -- the finished text ------------------------------------------------------------------------------

    def finish(self, linkage: str = "") -> str:
        """The function as a whole module's text (with its declarations, constants and functions)."""
        arguments = ", ".join(
            f"{v.type} {'noalias ' if n in ('desc', 'status') else ''}{v.ref}"
            for n, v in self.parameters
        )
        attributes = f'nounwind "no-builtins" {self.target.function_attributes}'.strip()
        parts = list(self.globals.values()) + list(self.declarations.values())
        parts += self.functions.values()
        parts.append(f"define {linkage}{self.returns} @{self.name}({arguments}) {attributes} {{")
        parts.append("entry:")
        parts += self.entry_lines + self.lines
        parts.append("}")
        return "\n".join(parts) + "\n"


def _align(type_: str) -> int:
    e = element(type_)
    if e == "i1":
        return 1
    return {"half": 2, "bfloat": 2, "float": 4, "double": 8, "ptr": 8}.get(e) or int(e[1:]) // 8


def _mangled(type_: str) -> str:
    names = {"half": "f16", "bfloat": "bf16", "float": "f32", "double": "f64", "ptr": "p0"}
    e = element(type_)
    name = names.get(e, e)
    lanes = lanes_of(type_)
    return name if lanes == 1 else f"v{lanes}{name}"
