"""`fanal bench-serve URL`: load on a server of models, and what it made of it."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fanal.cli.console import Console, Progress
from fanal.core.atomic import write_atomically
from fanal.core.errors import message

if TYPE_CHECKING:
    from fanal.serve.bench import Latency, Outcome
    from fanal.serve.bench.driving import Record

_EXAMPLES = """\
examples:
  fanal bench-serve http://127.0.0.1:8000 --model digits                    32 connections, each asks when it was answered
  fanal bench-serve http://127.0.0.1:8000 --model digits --rate 2000        2,000 requests a second, whatever it does
  fanal bench-serve http://127.0.0.1:8000 --model digits --sweep 10         the highest rate whose p99 is within 10 ms
  fanal bench-serve 127.0.0.1:8001 --model digits --grpc

With --rate a request's latency counts from when it was due: what a server does not take in time is not forgotten.
"""


def add_parser(commands: Any) -> None:
    """The command's arguments."""
    parser = commands.add_parser(
        "bench-serve", help="put load on a server of models", epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Put load on a server that speaks the Open Inference Protocol v2, and say how it took it "
        "(needs fanal[serve]).",
    )  # fmt: skip
    parser.add_argument("url", metavar="URL", help="of the server: http://HOST:PORT, or HOST:PORT of gRPC")
    parser.add_argument("--model", required=True, metavar="NAME", help="whom to ask")
    parser.add_argument("--rate", type=float, metavar="R", help="requests a second (open loop); with --sweep the first rate that is tried (500)")
    parser.add_argument("--sweep", type=float, metavar="MS", help="find the highest rate whose p99 is within so many milliseconds")
    parser.add_argument(
        "--concurrency", type=int, default=32, metavar="C",
        help="connections (32); without --rate each sends its next request after an answer",
    )  # fmt: skip
    parser.add_argument("--duration", type=float, metavar="S", help="seconds that are measured (10; 3 for each step of --sweep)")
    parser.add_argument("--warm-up", type=float, default=1.0, metavar="S", help="seconds before that (1)")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--protocol", choices=("binary", "json", "grpc"), default="binary", help="tensors as bytes over REST (the default), as JSON, or gRPC")
    how.add_argument("--binary", action="store_const", const="binary", dest="protocol", help="the same as --protocol binary")
    how.add_argument("--grpc", action="store_const", const="grpc", dest="protocol", help="the same as --protocol grpc")
    parser.add_argument("--rows", type=int, default=1, metavar="N", help="rows of each request (1)")
    parser.add_argument("--shape", action="append", default=[], metavar="INPUT=N,…", help="shape of an input, where more than its rows is open")
    parser.add_argument("--api-key-file", metavar="FILE", help="a file whose first line is the key (or FANAL_API_KEY in the environment)")
    parser.add_argument("--ca", metavar="FILE", help="authorities (PEM) that the server's certificate may come from")
    parser.add_argument("--json", metavar="FILE", help="write all figures as JSON; latencies are in seconds")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Put load on a server."""
    try:
        from fanal.serve import bench
    except ImportError as why:
        raise ImportError(f'load needs packages that are not here ({why.name}): pip install "fanal[serve]"') from None
    if arguments.json is not None and not Path(arguments.json).absolute().parent.is_dir():  # not after the load
        raise ValueError(message("bench-serve", "--json has no folder to be in", arguments.json))
    console, progress = Console(), Progress()
    how: dict[str, Any] = {
        "concurrency": arguments.concurrency, "warm_up": arguments.warm_up, "protocol": arguments.protocol,
        "rows": arguments.rows, "shapes": _shapes(arguments.shape), "api_key": _key(arguments.api_key_file),
        "ca": arguments.ca, "progress": _Live(progress),
    }  # fmt: skip
    if arguments.sweep is not None:
        return _sweep(arguments, console, progress, how)
    code = 0
    try:
        outcome = bench.run(arguments.url, arguments.model, rate=arguments.rate, duration=arguments.duration or 10.0, **how)
    except bench.Interrupted as stopped:
        outcome, code = stopped.outcome, 130
    finally:
        progress.end()
    _show(console, outcome)
    _write(arguments.json, outcome.json())
    return code or (0 if outcome.succeeded else 1)


def _sweep(arguments: argparse.Namespace, console: Console, progress: Progress, how: Mapping[str, Any]) -> int:
    from fanal.serve import bench

    def each(outcome: Outcome) -> None:
        progress.end()
        held = "held" if bench.holds(outcome, arguments.sweep / 1e3) else "not held"
        console.line(f"{outcome.rate:>10,.0f} a second: p99 {_ms(outcome.latency.p99)} ms, {outcome.failed} failed, {held}")

    found = bench.sweep(
        arguments.url, arguments.model, limit=arguments.sweep / 1e3, start=arguments.rate or 500.0,
        duration=arguments.duration or 3.0, each=each, **how,
    )  # fmt: skip
    progress.end()
    _write(arguments.json, {"best": found.best and found.best.json(), "runs": [o.json() for o in found.runs]})
    if found.best is None:
        console.line(f"No rate holds a p99 of {arguments.sweep:g} ms.")
        return 1
    _show(console, found.best)
    return 0


class _Live:
    """The line that says how it goes, with the figures of the last moment."""

    def __init__(self, progress: Progress):
        self._progress = progress
        self._seen = self._completed = 0
        self._at = 0.0

    def __call__(self, record: Record, seconds: float) -> None:
        if seconds <= 0:
            self._progress("warming up", 0, 1)
            self._seen, self._completed, self._at = 0, 0, 0.0
            return
        new = sorted(record.latencies[self._seen :])
        rate = (record.completed - self._completed) / max(1e-9, seconds - self._at)
        self._seen, self._completed, self._at = self._seen + len(new), record.completed, seconds
        p99 = f", p99 {_ms(new[int(len(new) * 0.99)])} ms" if new else ""
        bad = sum(record.refused.values()) + sum(record.errors.values())
        self._progress(f"{seconds:.1f} s: {rate:,.0f} a second{p99}" + (f", {bad:,} failed" if bad else ""), 0, 1)


# -- what is shown ---------------------------------------------------------------------------------------


def _show(console: Console, outcome: Outcome) -> None:
    offered = f", {outcome.rate:,.6g} offered" if outcome.rate is not None else ""
    console.title(f"{outcome.model} at {outcome.url}, {outcome.protocol}, {outcome.connections} connections")
    console.pairs([
        ("throughput", f"{outcome.throughput:,.0f} requests a second{offered}"),
        ("requests", f"{outcome.sent:,} in {outcome.seconds:.4g} s, {outcome.succeeded:,} answered, {outcome.failed:,} failed"),
        ("generator", f"{outcome.cpu:.0%} of a processor" + _lateness(outcome)),
    ])  # fmt: skip
    console.heading("Milliseconds" + (" from when a request was due" if outcome.rate is not None else ""))
    rows = [("answered", outcome.latency), ("refused", outcome.refusal)]
    console.table(
        ("", "requests", "mean", "p50", "p90", "p99", "p99.9", "most"), [_row(n, v) for n, v in rows if v.count], right=range(1, 8)
    )
    bad = [(k, n) for k, n in sorted({**outcome.refused, **outcome.errors}.items())]
    if bad:
        console.heading("Without a result")
        console.table(("", "requests", ""), [(k, f"{n:,}", outcome.reasons.get(k, "")) for k, n in bad], right=(1,))
    if outcome.unconnected:
        console.heading("Connections that could not be opened")
        console.table(("", "times"), [(k, f"{n:,}") for k, n in sorted(outcome.unconnected.items())], right=(1,))
    if outcome.saturated:
        console.line()
        console.line("The generator had no time left: the server may be faster than these figures say.")


def _row(name: str, v: Latency) -> tuple[str, ...]:
    return name, f"{v.count:,}", *(_ms(s) for s in (v.mean, v.p50, v.p90, v.p99, v.p999, v.most))


def _lateness(outcome: Outcome) -> str:
    return f", p99 of its own lateness {_ms(outcome.late.p99)} ms" if outcome.late.count else ""


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.2f}"


# -- arguments -------------------------------------------------------------------------------------------


def _shapes(texts: Sequence[str]) -> dict[str, list[int]]:
    found = {}
    for text in texts:
        name, equals, sizes = text.partition("=")
        parts = [p.strip() for p in sizes.split(",") if p.strip()]
        if not equals or not all(p.isdigit() for p in parts):
            raise ValueError(message("bench-serve", "--shape is no shape", repr(text), "INPUT=N,N,…"))
        found[name.strip()] = [int(p) for p in parts]
    return found


def _key(path: str | None) -> str | None:
    if path is None:
        return os.environ.get("FANAL_API_KEY") or None
    return next((line.strip() for line in Path(path).read_text().splitlines() if line.strip()), None)


def _write(path: str | None, found: Any) -> None:
    if path is not None:
        write_atomically(Path(path), json.dumps(found, indent=2).encode() + b"\n")
