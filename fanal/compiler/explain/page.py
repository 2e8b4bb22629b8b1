"""The report as one HTML page that needs nothing else: no network, no other file."""

from __future__ import annotations

from html import escape

from fanal.backends.native.peaks import Peaks
from fanal.compiler.explain.facts import Facts, KernelFacts, ProgramFacts
from fanal.compiler.explain.numbers import count, duration, percent, scaled
from fanal.compiler.explain.style import SCRIPT, STYLE
from fanal.compiler.explain.timeline import memory_picture, time_picture

_COLUMNS = (
    ("kernel", ""), ("time", ""), ("of all", ""), ("FLOP", ""), ("of peak", ""), ("bytes", ""),
    ("of peak", ""), ("operations", "left"), ("lines", "left"),
)  # fmt: skip
_LINES = 6  # that are shown of a kernel; the rest on demand


def page(facts: Facts) -> str:
    """The whole page."""
    title = escape(facts.name)
    machine = facts.machine
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head><body><main><h1>{title}</h1>",
        f'<p class="lead">Peak of this machine with {count(machine.threads, "thread")}: '
        f"{scaled(machine.flops, 'FLOP/s')} (float32), {scaled(machine.bandwidth, 'B/s')}. Memory that "
        "stays in a cache can be faster than that.</p>",
        _calls(facts),
    ]
    if not facts.programs:
        parts.append('<p class="note">Nothing was captured yet.</p>')
    parts += [_program(p, machine) for p in facts.programs]
    parts.append(f"</main><script>{SCRIPT}</script></body></html>\n")
    return "".join(parts)


def _calls(facts: Facts) -> str:
    rows = "".join(
        f'<tr><td class="left"><code>{escape(c.arguments or "no tensors")}</code></td>'
        f'<td class="left wide">{escape(c.how)}</td><td>{c.replayed}</td></tr>'
        for c in facts.calls
    )
    found = (
        '<h2>Calls</h2><div class="panel"><table><thead><tr><th class="left">arguments</th>'
        f'<th class="left">how they run</th><th>replays</th></tr></thead><tbody>{rows}</tbody></table>'
    )
    if facts.captures:
        reasons = "".join(f"<li>{n} × {escape(why)}</li>" for why, n in facts.captures)
        found += f"<h3>Captured anew, because</h3><ul>{reasons}</ul>"
    return found + "</div>"


def _card(value: str, what: str) -> str:
    return f'<div class="card"><b>{value}</b><span>{what}</span></div>'


def _program(p: ProgramFacts, machine: Peaks) -> str:
    launches = f"least of {p.launches} launches" if p.launches > 1 else "one launch"
    arena, bound = p.description.arena_bytes, p.lower_bound
    cards = [
        _card(duration(p.seconds), launches if p.seconds is not None else "not measured"),
        _card(str(len(p.kernels)), f"kernels of {count(p.nodes, 'operation')}; {count(p.phases, 'phase')}, {p.distinct} different"),
        _card(scaled(p.flops, "FLOP"), "by definition"),
    ]
    if p.seconds:
        share = p.flops / p.seconds / machine.flops
        cards.append(_card(percent(share), f"of peak: {scaled(p.flops / p.seconds, 'FLOP/s')}"))
        share = p.nbytes / p.seconds / machine.bandwidth
        cards.append(_card(percent(share), f"of bandwidth: {scaled(p.nbytes / p.seconds, 'B/s')}"))
    ratio = f"temporaries, {arena / bound:.2f} × the least possible" if bound else "temporaries"
    cards += [_card(scaled(arena, "B"), ratio), _card(scaled(p.results_bytes, "B"), "results")]
    if p.kept_bytes:
        cards.append(_card(scaled(p.kept_bytes, "B"), "kept between calls: packed weights, tables"))
    if p.rewrites:
        items = "".join(
            f"<li>{escape(one.name)} (grade {one.grade}), {count(one.times, 'time')}"
            f"{escape(', at ' + ', '.join(one.places)) if one.places else ''}</li>"
            for one in p.rewrites
        )
        rewrites = f"<p>Rewrites that do not keep eager mode's bits:</p><ul>{items}</ul>"
    else:
        rewrites = '<p class="note">The same bits as eager mode: no rewrite is above grade A.</p>'
    return (
        f"<h2>Program {p.number}: {escape(p.name)}</h2>{rewrites}"
        f'<div class="cards">{"".join(cards)}</div>'
        f'<h3>Time</h3><div class="panel">{time_picture(p.kernels)}</div>'
        f'<h3>Temporary memory</h3><div class="panel">{memory_picture(p)}'
        '<p class="note">Rectangles are temporaries in the arena; the line is what is alive, the dashed '
        "one its most, below which no arrangement can go.</p></div>"
        f'<h3>Kernels</h3><div class="panel"><input type="search" placeholder="operation or line" '
        f'aria-label="filter">{_table(p, machine)}</div>'
    )


def _table(p: ProgramFacts, machine: Peaks) -> str:
    total = sum(k.seconds or 0.0 for k in p.kernels)
    top = max((k.seconds or 0.0 for k in p.kernels), default=0.0)
    heads = "".join(
        f'<th class="sorts {kind}"{" aria-sort=descending" if i == 1 and total else ""}>{name}</th>'
        for i, (name, kind) in enumerate(_COLUMNS)
    )
    rows = sorted(p.kernels, key=lambda k: -(k.seconds or 0.0))
    body = "".join(_row(k, total, top, machine) for k in rows)
    return (
        f'<table class="kernels"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>'
    )


def _row(k: KernelFacts, total: float, top: float, machine: Peaks) -> str:
    flops, bandwidth = k.share(machine) or (None, None)
    seconds = k.seconds or 0.0
    bar = f'<span class="bar" style="width:{max(1.0, 64 * seconds / top):.0f}px"></span>' if top else ""

    def number(value: float | None, text: str, more: str = "") -> str:
        return f'<td data-sort="{-1 if value is None else value}">{text}{more}</td>'

    return "".join([
        f'<tr><td data-sort="{k.number}">#{k.number}</td>',
        number(k.seconds, duration(k.seconds), bar),
        number(seconds, percent(seconds / total if total else None)),
        number(k.flops, scaled(k.flops, "")), number(flops, percent(flops)),
        number(k.nbytes, scaled(k.nbytes, "B")), number(bandwidth, percent(bandwidth)),
        f'<td class="left wide">{_called(k)}</td><td class="left">{_lines(k)}</td></tr>',
    ])  # fmt: skip


def _called(k: KernelFacts) -> str:
    keys = "".join(f"<code>{escape(x.key)}</code>" for x in {x.key: x for x in k.kernels}.values())
    runs = f", {k.runs} times" if k.runs > 1 else ""
    what = f"{count(len(k.primitives), 'primitive')}, {count(len(k.phases), 'phase')}{runs}"
    listed = f"<code>{escape(' '.join(k.primitives))}</code>"
    return f"{escape(', '.join(k.called))}<details><summary>{what}</summary>{listed}{keys}</details>"


def _lines(k: KernelFacts) -> str:
    lines = {o.place: o for o in k.origins}
    found = [
        f'<code class="line" title="{escape(o.file)}, in {escape(o.function)}"><span class="at">'
        f'{escape(o.place)}</span> <span class="of">{escape(_cut(o.source))}</span></code>'
        for o in lines.values()
    ]
    if len(found) <= _LINES:
        return "".join(found)
    rest = f"<details><summary>{len(found) - _LINES} more</summary>{''.join(found[_LINES:])}</details>"
    return "".join(found[:_LINES]) + rest


def _cut(text: str, most: int = 46) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
