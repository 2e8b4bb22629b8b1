"""For each area that someone has to decide about: what was measured, as sentences.

Every number in them is the study's. What nobody can measure here (or was not measured this time)
is said to be so. Nothing is said of a peer that is not about Fanal beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from benchmarks.peers import peers
from benchmarks.peers.page import words
from benchmarks.peers.page.grid import label, title
from benchmarks.peers.results import OURS, TIMED, compile_times, mean, start_times

Fact = tuple[str, str]  # how Fanal stands ("loses", "level", "wins", "fact", "unmeasured"), text
Record = dict[str, Any]


def development(found: Record) -> Iterator[Fact]:
    """What is felt while writing: waiting for compilers, names that are known already."""
    for which, caches in ((0, "nothing compiled yet"), (1, "caches filled")):
        means, texts = [], []
        for rival in ("torch-compile", "jax"):
            ratios = _first_steps(found, rival, which)
            if ratios:
                means.append(mean(ratios.values()))
                worst = max(ratios, key=lambda c: ratios[c])
                most = f"at most {words.times(ratios[worst])}, {title(worst)}"
                texts.append(f"{words.times(means[-1])} the time of {label(rival)} ({most})")
        if texts:
            kind = "loses" if max(means) > 1 else "wins"
            yield kind, f"First training step, {caches}: {', '.join(texts)}."
    names = _names(found)
    if names:
        got, all_ = (sum(pair[i] for pair in names.values()) for i in (0, 1))
        kind = "loses" if got < all_ else "level"
        yield kind, f"{got} of {all_} documented names of PyTorch's are there ({got / all_:.0%})."
    yield "unmeasured", "How long people take to learn it, to debug in it, to read its messages."


def _first_steps(found: Record, rival: str, which: int) -> dict[str, float]:
    """Seconds of our first step over a rival's, for each case."""
    ratios = {}
    for case, results in found["cases"].items():
        train = results.get("train", {})
        ours, theirs = (compile_times(train.get(n, {}), True)[which] for n in (OURS, rival))
        if ours and theirs:
            ratios[case] = ours / theirs
    return ratios


def speed(found: Record) -> Iterator[Fact]:
    """Times of steps and answers."""
    for measure, name in TIMED.items():
        part = (found.get("summary") or {}).get(measure)
        if not part:
            yield "unmeasured", f"{name}: not measured in this run."
            continue
        rows, average = part["fastest"], f"geometric mean of all {part['mean']:.2f}×"
        lost = sorted((r["median"], c) for c, r in rows.items() if r["interval"][1] < 1)
        won = sorted((-r["median"], c) for c, r in rows.items() if r["interval"][0] > 1)
        if lost:
            worst = words.listed([f"{title(c)} {v:.2f}×" for v, c in lost])
            many = words.of(len(lost), len(rows), "cases")
            yield "loses", f"{name}: slower than the fastest peer in {many} ({worst}); {average}."
        if won:
            best = words.listed([f"{title(c)} {-v:.2f}×" for v, c in won])
            end = "" if lost else f"; {average}"
            many = words.of(len(won), len(rows), "cases")
            yield "wins", f"{name}: faster than all in {many} ({best}){end}."
        if not lost and not won:
            yield "level", f"{name}: no measurable difference to the fastest peer; {average}."
        if part.get("winograd"):
            ratios = [f"{title(c)} {r['median']:.2f}×" for c, r in part["winograd"].items()]
            said = f"with Winograd's algorithm, which is off by default: {words.listed(ratios)}"
            yield "fact", f"{name} {said} as fast as the fastest peer."


def memory(found: Record) -> Iterator[Fact]:
    """Growth of processes, training and answering."""
    for measure, name in (("train", "Training"), ("infer1", "Inference, batch 1")):
        ratios = _to_least(
            found, measure, lambda r: max(r["memory"]["grown"], 0.1) if "memory" in r else None
        )
        yield from _less(ratios, f"{name}: peak memory", "the thriftiest peer")


def deployment(found: Record) -> Iterator[Fact]:
    """Getting an answer on a machine that has nothing yet."""
    yield from _smallest(found, "size", "mib", "Installed size", words.mib)
    yield from _smallest(found, "import", "median", "Import", words.seconds)
    starts = _to_least(found, "infer1", lambda r: start_times(r)[1] if "cold" in r else None)
    yield from _less(starts, "From import to first answer, caches filled:", "the quickest peer")
    has = (found.get("leave") or {}).get("has") or {}
    closed = [d for d in ("export to ONNX", "export of a program") if has.get(d) is False]
    if closed:
        yield "loses", f"No {', no '.join(closed)} (PyTorch has both)."
    yield "unmeasured", "GPUs (all ran on the CPU); serving under load; other systems."


def ecosystem(found: Record) -> Iterator[Fact]:
    """What others have built around it."""
    names = _names(found)
    if names:
        counts = [f"{space} {got} of {all_}" for space, (got, all_) in names.items()]
        yield "fact", f"PyTorch's documented names that it has: {', '.join(counts)}."
    size = found.get("size") or {}
    if "packages" in size.get(OURS, {}):
        others = [
            f"{_framework(n)} {len(r['packages'])}"
            for n, r in size.items() if n != OURS and "packages" in r
        ]  # fmt: skip
        count = len(size[OURS]["packages"])
        yield "fact", f"Python packages it installs: {count} ({words.listed(others, 5)})."
    yield "unmeasured", "Pretrained models, libraries and tools that others have made for it."
    yield "unmeasured", "Courses, answered questions, people who know it already."


def support(found: Record) -> Iterator[Fact]:
    """Who stands behind it, as far as package metadata tells."""
    size = found.get("size") or {}
    if "version" in size.get(OURS, {}):
        version = size[OURS]["version"]
        others = [
            f"{_framework(n)} {r['version'].partition('+')[0]}"
            for n, r in size.items() if n != OURS and "version" in r
        ]  # fmt: skip
        early = "dev" in version or version.startswith("0.")
        state = "a version before a first release" if early else "a release"
        beside = f"; beside it {words.listed(others, 5)}" if others else ""
        yield ("loses" if early else "fact"), f"Fanal {version} is {state}{beside}."
        yield "fact", f"Licence, as the package states it: {size[OURS]['licence']}."
    yield "unmeasured", "Answers to reports, security process, long-term versions, paid support."


def leaving(found: Record) -> Iterator[Fact]:
    """The way back to PyTorch, tried out."""
    leave = found.get("leave")
    if not leave:
        return
    tried = leave["cases"]
    done = {c: r for c, r in tried.items() if "failed" not in r}
    if done:
        worst = max(r["difference"] for r in done.values())
        many = words.of(len(done), len(tried), "models")
        yield (
            "wins",
            (
                "Weights: saved by Fanal as safetensors and loaded by PyTorch under the same names, "
                f"for {many}; the answers then differ by at most {worst:.1e}."
            ),
        )
    for case, record in tried.items():
        if "failed" in record:
            yield "loses", f"Weights of {title(case)} did not get across: {record['failed']}."
    trained = [case.get("train", {}).get(OURS, {}) for case in found["cases"].values()]
    compared = [r for r in trained if r.get("reference") == "torch-eager"]
    if compared:
        agreeing = sum("wrong" not in r for r in compared)
        many = words.of(agreeing, len(compared), "models")
        yield (
            ("wins" if agreeing == len(compared) else "loses"),
            (
                "Code: each model here is one source, run with fanal and with torch as its only "
                f"import; the losses of five training steps agree for {many}."
            ),
        )
    if (leave.get("has") or {}).get("export to ONNX") is False:
        yield "loses", "No export to a neutral format: the way out leads through PyTorch's names."
    yield "unmeasured", "Programs other than these; the optimiser's state; data loaders."


def _names(found: Record) -> dict[str, list[int]]:
    names = (found.get("leave") or {}).get("names") or {}
    return {} if "failed" in names else names


def _framework(name: str) -> str:
    return next(p.label for p in peers.PEERS if p.framework == name)


def _to_least(
    found: Record, measure: str, value: Callable[[Record], float | None]
) -> dict[str, float]:
    """Our value over the least of the peers', for each case."""
    ratios = {}
    for case, results in found["cases"].items():
        records = {n: r for n, r in results.get(measure, {}).items() if "wrong" not in r}
        values = {n: v for n, r in records.items() if (v := value(r)) is not None}
        others = [v for n, v in values.items() if not peers.named(n).ours]
        if OURS in values and others:
            ratios[case] = values[OURS] / min(others)
    return ratios


def _less(ratios: dict[str, float], what: str, than: str) -> Iterator[Fact]:
    """Facts of ratios where less is better: ours over the best of theirs."""
    if not ratios:
        yield "unmeasured", f"{what}: not measured in this run."
        return
    average = f"geometric mean {words.times(mean(ratios.values()))}"
    more = [c for c, r in ratios.items() if r > 1.02]
    less = [c for c, r in ratios.items() if r < 0.98]
    if more:
        worst = max(more, key=lambda c: ratios[c])
        many = words.of(len(more), len(ratios), "cases")
        most = f"most: {title(worst)}, {words.times(ratios[worst])}"
        yield "loses", f"{what} above {than}'s in {many} ({most}); {average}."
    if less:
        best = min(less, key=lambda c: ratios[c])
        many = words.of(len(less), len(ratios), "cases")
        least = f"least: {title(best)}, {words.times(ratios[best])}"
        end = "" if more else f"; {average}"
        yield "wins", f"{what} below {than}'s in {many} ({least}){end}."
    if not more and not less:
        yield "level", f"{what} level with {than}'s."


def _smallest(
    found: Record, part: str, key: str, what: str, said: Callable[[float], str]
) -> Iterable[Fact]:
    """One number for each framework, where less is better."""
    rows = {n: r[key] for n, r in (found.get(part) or {}).items() if key in r}
    if OURS not in rows or len(rows) < 2:
        return [("unmeasured", f"{what}: not measured in this run.")]
    ours = rows.pop(OURS)
    order = sorted(rows.items(), key=lambda i: i[1])
    below = [f"{_framework(n)} {said(v)}" for n, v in order if v < ours]
    above = [f"{_framework(n)} {said(v)}" for n, v in order if v >= ours]
    texts = [
        *([f"more than {words.listed(below, 5)}"] if below else []),
        *([f"less than {words.listed(above, 5)}"] if above else []),
    ]
    return [("loses" if below else "wins", f"{what} {said(ours)}: {'; '.join(texts)}.")]


AREAS: dict[str, Callable[[Record], Iterator[Fact]]] = {
    "Development": development, "Speed": speed, "Memory": memory, "Deployment": deployment,
    "Ecosystem": ecosystem, "Support": support,
}  # fmt: skip
