"""What a compiled function did and why, as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from fanal.compiler.segments import Segment
from fanal.compiler.steps import Step


def segments(root: Step) -> Iterator[Segment]:
    """All programs of a compiled function."""
    stack = [root]
    while stack:
        step = stack.pop()
        for segment, following in step.runs.values():
            if segment is not None:
                yield segment
            stack.append(following)
        stack += step.children.values()


def text(compiled: Any) -> str:
    """The report of `CompiledFunction.explain`."""
    lines = [f"{compiled!r}"]
    for number, kind in enumerate(compiled.kinds.values()):
        how = _how(kind)
        lines.append(f"  call of kind {number}: {how}")
    for why, count in Counter(compiled.history).items():
        lines.append(f"  captured again, {count} times: {why}")
    for number, segment in enumerate(segments(compiled.root)):
        lines += _program(number, segment)
    return "\n".join(lines)


def _how(kind: Any) -> str:
    if kind.replays:
        count = len(kind.replays)
        return "replayed without its Python" + (f", in {count} variants" if count > 1 else "")
    if kind.reason is not None:
        return f"its Python runs at every call: {kind.reason}"
    return "not seen again yet"


def _program(number: int, segment: Segment) -> list[str]:
    program = segment.executable
    keys = [p.kernel.key for p in program.description.phases if p.kernel is not None]
    kernels = Counter(keys)
    found = [
        f"  program {number}: {len(segment.graph.nodes)} operations in {len(keys)} phases "
        f"by {len(kernels)} distinct kernels, {program.arena_bytes / 1e6:.1f} MB of temporaries"
    ]
    for key, count in kernels.most_common():
        found.append(f"    {count:5d} × {key[:90]}")
    return found
