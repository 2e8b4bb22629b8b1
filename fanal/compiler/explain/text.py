"""The report as text, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fanal.backends.native.peaks import Peaks
from fanal.compiler.explain.facts import Facts, KernelFacts, ProgramFacts
from fanal.compiler.explain.numbers import count, duration, percent, scaled, shortened

_BARS = "▁▂▃▄▅▆▇█"
_COLUMNS = 60
_KERNELS = 25  # that are shown of a program
_REASONS = 10


def text(facts: Facts) -> str:
    """The whole report."""
    return "\n".join(_lines(facts))


def _lines(facts: Facts) -> Iterator[str]:
    yield facts.name
    if not facts.programs:
        yield "Nothing was captured yet: call it first."
    for call in facts.calls:
        replays = f" ({count(call.replayed, 'time')})" if call.replayed else ""
        yield f"Calls with {call.arguments or 'no tensors'}: {call.how}{replays}."
    if facts.captures:
        yield "Captured anew, because:"
        for why, times in facts.captures[:_REASONS]:
            yield f"  {times} × {why}"
        if len(facts.captures) > _REASONS:
            yield f"  and {len(facts.captures) - _REASONS} more reasons"
    for program in facts.programs:
        yield ""
        yield from _program(program, facts.machine)
    if facts.programs:
        yield ""
        yield _machine(facts.machine)
        yield "The code of kernel n: explain().assembly(n), .llvm_ir(n). As a page: .to_html(path)."


def _machine(machine: Peaks) -> str:
    return (
        f"The machine's peak with {count(machine.threads, 'thread')}: "
        f"{scaled(machine.flops, 'FLOP/s')} (float32), {scaled(machine.bandwidth, 'B/s')}."
    )


def _program(p: ProgramFacts, machine: Peaks) -> Iterator[str]:
    yield (
        f"Program {p.number}, {p.name}: {count(p.nodes, 'operation')} in {count(len(p.kernels), 'kernel')} "
        f"({count(p.phases, 'phase')}, {p.distinct} different)"
    )
    measured = f"{duration(p.seconds)}, least of {count(p.launches, 'launch').replace('chs', 'ches')}"
    rate = "" if p.seconds is None else (
        f"; {scaled(p.flops / p.seconds, 'FLOP/s')} ({percent(p.flops / p.seconds / machine.flops)} of peak)"
    )  # fmt: skip
    work = f"{scaled(p.flops, 'FLOP')}, {scaled(p.nbytes, 'B')}{rate}"
    yield f"  {work}; {measured if p.seconds is not None else 'not measured'}"
    yield f"  {_memory(p)}"
    if p.description.temps:
        yield f"  in use, kernel after kernel: {sparkline(p.description.live_bytes())}"
    for one in p.rewrites:
        lines = f", at {', '.join(one.places)}" if one.places else ""
        yield f"  not to the bit (grade {one.grade}): {one.name}, {count(one.times, 'time')}{lines}"
    if not p.rewrites:
        yield "  the same bits as eager mode: no rewrite is above grade A"
    yield ""
    yield from _table(p, machine)


def _memory(p: ProgramFacts) -> str:
    arena, bound = p.description.arena_bytes, p.lower_bound
    ratio = f", {arena / bound:.2f} × the least possible" if bound else ""
    kept = f"; {scaled(p.kept_bytes, 'B')} kept between calls" if p.kept_bytes else ""
    return (
        f"memory: {scaled(arena, 'B')} of temporaries{ratio}; {scaled(p.results_bytes, 'B')} of results{kept}"
    )


def _table(p: ProgramFacts, machine: Peaks) -> Iterator[str]:
    rows = sorted(p.kernels, key=lambda k: -(k.seconds or 0.0))
    shown, rest = rows[:_KERNELS], rows[_KERNELS:]
    total = sum(k.seconds or 0.0 for k in rows)
    header = ["kernel", "time", "of all", "FLOP", "of peak", "bytes", "of peak", "operations", "lines"]
    cells = [header, *(_row(k, total, machine) for k in shown)]
    widths = [max(len(r[i]) for r in cells) for i in range(len(header))]
    for r in cells:
        numbers = "  ".join(c.rjust(w) for c, w in zip(r[:7], widths[:7], strict=True))
        yield f"  {numbers}  {r[7].ljust(widths[7])}  {r[8]}".rstrip()
    if rest:
        time = duration(sum(k.seconds or 0.0 for k in rest)) if total else "not measured"
        yield f"  and {count(len(rest), 'kernel')} more: {time}"


def _row(k: KernelFacts, total: float, machine: Peaks) -> Sequence[str]:
    shares = k.share(machine) or (None, None)
    return [
        f"#{k.number}", duration(k.seconds), percent(k.seconds / total if k.seconds and total else None),
        scaled(k.flops, ""), percent(shares[0]), scaled(k.nbytes, "B"), percent(shares[1]),
        shortened(k.called, 4, 56), shortened(k.places, 3, 44),
    ]  # fmt: skip


def sparkline(values: Sequence[int]) -> str:
    """Values as a row of bars: the most of each part of the row."""
    if not values:
        return ""
    columns = min(_COLUMNS, len(values))
    parts = [
        max(values[i * len(values) // columns : max((i + 1) * len(values) // columns, i * len(values) // columns + 1)])
        for i in range(columns)
    ]
    top = max(parts) or 1
    return "".join(_BARS[min(len(_BARS) - 1, len(_BARS) * x // (top + 1))] for x in parts)
