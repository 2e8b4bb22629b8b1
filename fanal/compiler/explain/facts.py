"""What there is to say of a compiled function, gathered: calls, programs, kernels, memory, machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fanal.backends.native.costs import operations, unit_bytes
from fanal.backends.native.description import Description
from fanal.backends.native.peaks import Peaks, peaks
from fanal.backends.native.program import Kernel, Unit
from fanal.compiler.function import ATTEMPTS
from fanal.compiler.samples import Samples
from fanal.compiler.segments import Segment
from fanal.compiler.steps import Step
from fanal.compiler.tree import Tree
from fanal.graph.origin import Origin
from fanal.ops.passes import Fired


@dataclass(frozen=True)
class KernelFacts:
    """Operations that are computed together. `seconds` of one launch (None: not measured), `flops` and
    `nbytes` of one, too; `kernels` is the code, by phase."""

    number: int
    program: int
    origins: tuple[Origin, ...]
    primitives: tuple[str, ...]
    kernels: tuple[Kernel, ...]
    phases: tuple[int, ...]
    runs: int  # how often it runs in one launch; 0: not known
    flops: int
    nbytes: int
    seconds: float | None

    @property
    def called(self) -> list[str]:
        """The operations as the user called them, each once."""
        return list(dict.fromkeys(o.called for o in self.origins)) or list(self.primitives)

    @property
    def places(self) -> list[str]:
        """The user's lines, each once."""
        return list(dict.fromkeys(o.place for o in self.origins))

    def share(self, machine: Peaks) -> tuple[float, float] | None:
        """Of the machine's operations and bytes a second."""
        if not self.seconds:
            return None
        return self.flops / self.seconds / machine.flops, self.nbytes / self.seconds / machine.bandwidth


@dataclass(frozen=True)
class Rewrite:
    """A pass that does not keep eager mode's bits: how often it changed a program, at which lines."""

    name: str
    grade: str
    times: int
    places: tuple[str, ...]


@dataclass(frozen=True)
class ProgramFacts:
    """One program: its kernels in order, its memory, and rewrites that do not keep the bits."""

    number: int
    name: str
    nodes: int
    kernels: tuple[KernelFacts, ...]
    description: Description
    results_bytes: int
    kept_bytes: int  # from call to call: what is made of weights alone
    launches: int  # that were timed
    seconds: float | None
    rewrites: tuple[Rewrite, ...]

    @property
    def lower_bound(self) -> int:
        """What the temporaries that are alive together need at the least."""
        return max(self.description.live_bytes(), default=0)

    @property
    def distinct(self) -> int:
        """How many pieces of code its phases have."""
        return len({k.key for row in self.kernels for k in row.kernels})

    @property
    def phases(self) -> int:
        return sum(len(k.phases) for k in self.kernels)

    @property
    def flops(self) -> int:
        return sum(k.flops for k in self.kernels)

    @property
    def nbytes(self) -> int:
        return sum(k.nbytes for k in self.kernels)


@dataclass(frozen=True)
class CallFacts:
    """Calls of one kind: their arguments, and how they are run."""

    arguments: str
    how: str
    replayed: int


@dataclass(frozen=True)
class Facts:
    """All of it. `captures`: why calls were captured again, and how often."""

    name: str
    calls: tuple[CallFacts, ...]
    captures: tuple[tuple[str, int], ...]
    programs: tuple[ProgramFacts, ...]
    machine: Peaks

    @property
    def kernels(self) -> list[KernelFacts]:
        """Those of all programs; their numbers are their places."""
        return [k for p in self.programs for k in p.kernels]


def facts(compiled: Any) -> Facts:
    """What there is to say of a compiled function now."""
    programs: list[ProgramFacts] = []
    count = 0
    for name, segment in _programs(compiled):
        made = _program(len(programs), count, name, segment)
        count += len(made.kernels)
        programs.append(made)
    calls = [*_families(compiled), *_calls(compiled)]
    captures = tuple(compiled.history.most_common())
    return Facts(f"compiled {compiled.name}", tuple(calls), captures, tuple(programs), peaks())


def _calls(compiled: Any) -> Iterator[CallFacts]:
    """Calls of each size that was captured by itself."""
    for kind in compiled.kinds:
        own = [r for r in kind.replays if r.family is None]
        if own or not kind.replays:
            yield CallFacts(kind.arguments, _how(kind, own), sum(r.runs for r in own))


def _families(compiled: Any) -> Iterator[CallFacts]:
    """Calls of sizes that share a program."""
    members: dict[Any, list[Any]] = {}
    for kind in compiled.kinds:
        for replay in kind.replays:
            if replay.family is not None:
                members.setdefault(replay.family, []).append(replay)
    for family, replays in members.items():
        sizes = "one more size" if len(replays) == 1 else f"{len(replays)} more sizes"
        how = f"replayed without its Python, in {sizes} by the program of {family.example}"
        yield CallFacts(family.arguments, how, sum(r.runs for r in replays))


def _how(kind: Any, replays: Sequence[Any]) -> str:
    if replays:
        count = len(replays)
        variants = f", in {count} variants" if count > 1 else ""
        ways = sum(r.paths for r in kind.replays if isinstance(r, Tree))
        if ways > 1:
            variants += f", on {ways} ways between looks at values"
        variants += "".join(f"; {n} went on in Python: {why}" for why, n in _strays(kind))
        full = "; others run their Python" if kind.attempts >= ATTEMPTS else ""
        return f"replayed without its Python{variants}{full}"
    if kind.reason is not None:
        return f"its Python runs at every call: {kind.reason}"
    return "captured, not replayed yet"


def _strays(kind: Any) -> list[tuple[str, int]]:
    """Calls that needed their Python on ways where they always will, by the reason."""
    lost: Counter[str] = Counter()
    for replay in kind.replays:
        if isinstance(replay, Tree):
            lost.update(replay.lost)
    return lost.most_common()


class _Backward:
    """The backward program of a captured call, which the tape runs: as a segment, not timed."""

    def __init__(self, graph: Any, executable: Any, sizes: list[int]):
        self.graph, self.executable, self.sizes = graph, executable, sizes
        self.samples, self.rewrites = Samples(), Fired()


def segments(*roots: Step) -> Iterator[Segment]:
    """All programs that begin at some steps, in the order in which they were made."""
    stack = [*reversed(roots)]
    while stack:
        step = stack.pop()
        yield from step.runs.values()
        stack += reversed(step.children.values())


def _programs(compiled: Any) -> Iterator[tuple[str, Any]]:
    for segment in segments(compiled.root, *compiled.places.values()):
        yield _name(segment), segment
        if segment.gradient is None:
            continue
        for function, *_ in segment.gradient.backward.values():
            for plan in list(function.cache.values()):
                if plan.executable is not None:
                    sizes = [l.nbytes for l in plan.outputs]
                    yield "its backward pass", _Backward(plan.graph, plan.executable, sizes)


def _name(segment: Segment) -> str:
    """Where a program begins and ends."""
    origins = [n.origin for n in segment.graph.nodes if n.origin is not None and not n.origin.backward]
    if not origins:
        return "copies"
    first, last = origins[0], origins[-1]
    return first.place if first.place == last.place else f"{first.place} to {last.place}"


def _program(number: int, first: int, name: str, segment: Any) -> ProgramFacts:
    description, samples = segment.executable.description, segment.samples
    kernels = [
        _kernel(first + i, number, description, unit, phases, samples)
        for i, (unit, phases) in enumerate(description.units())
    ]
    fired = segment.rewrites
    rewrites = tuple(
        Rewrite(p.name, p.grade, n, fired.places(p)) for p, n in fired.items() if p.grade != "A"
    )
    whole = samples.whole if samples.seconds else None
    return ProgramFacts(
        number, name, len(segment.graph.nodes), tuple(kernels), description, sum(segment.sizes),
        segment.executable.kept_bytes,
        samples.launches, whole, rewrites,
    )  # fmt: skip


def _kernel(
    number: int, program: int, description: Description, unit: Unit, phases: Sequence[int],
    samples: Samples,
) -> KernelFacts:  # fmt: skip
    runs = max((samples.runs[i] for i in phases), default=0) if samples.runs else 0
    times = max(runs, 1)
    return KernelFacts(
        number, program,
        tuple(dict.fromkeys(n.origin for n in unit.nodes if n.origin is not None)),
        tuple(dict.fromkeys(n.primitive.name for n in unit.nodes)),
        tuple(k for i in phases if (k := description.phases[i].kernel) is not None),
        tuple(phases), runs, operations(unit.nodes) * times,
        unit_bytes(description, unit, phases) * times,
        sum(samples.seconds[i] for i in phases) if samples.seconds else None,
    )  # fmt: skip
