"""Runs PyTorch's own operator database (`op_db` in the installed wheel) on PyTorch and on Fanal.

`python -m tests.peers.opinfo [--only name,...] [--errors] [--modules] [--samples 12] [--details F]`
prints for each operator how many samples passed, failed and were refused. A sample is one call:
the function, the method, the in-place method or `out=`, in one dtype; float64 samples are compared
in their gradients as well. Random operators are compared by dtype and shape only. `--errors` runs
the database's wrong calls, which must raise errors of the same type.

Needs PyTorch and `expecttest`. Absent on purpose: complex, sparse and quantised tensors, and what
`docs/coverage.md` lists.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import dataclasses
import faulthandler
import json
import sys
import time
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch.testing._internal.common_methods_invocations import op_db

import fanal
from tests.peers.opinfo_bridge import (
    WIDER,
    Bridge,
    Unsupported,
    differences,
    far,
    named,
    rebound,
    widened,
)  # fmt: skip

DTYPES = (
    torch.float64, torch.float32, torch.int64, torch.bool, torch.bfloat16, torch.float16,
    torch.int32, torch.uint8,
)  # fmt: skip
# Not in Fanal on purpose.
ABSENT = (
    "complex", "view_as_", "stft", "istft", "sparse", "polar", "cdouble", "cfloat", "chalf", "fft.",
    "jiterator", "to_sparse", "torch._scaled", "torch.ops", "_flash", "hash_tensor", "masked.",
    "_segment", "_unsafe", "_chunk_cat", "native_dropout_backward", "_native", "_batch_norm",
    "_softmax_backward", "max_pool2d_with_indices_backward", "_upsample", "linear_cross",
)  # fmt: skip
RANDOM = {
    "bernoulli", "cauchy", "exponential", "geometric", "log_normal", "uniform", "normal", "randn",
    "rand_like", "randn_like", "randint", "randint_like", "randperm", "multinomial", "poisson",
    "empty", "empty_like", "empty_permuted", "empty_strided", "new_empty", "new_empty_strided",
    "nn.functional.dropout", "nn.functional.dropout2d", "nn.functional.dropout3d",
    "nn.functional.alpha_dropout", "nn.functional.feature_alpha_dropout", "nn.functional.rrelu",
    "nn.functional.fractional_max_pool2d", "nn.functional.fractional_max_pool3d",
    "nn.functional.gumbel_softmax", "resize_", "resize_as_", "svd_lowrank", "pca_lowrank",
}  # fmt: skip
# Results are unique only up to signs or bases: compared as their samples' own functions see them.
GAUGE = {
    "linalg.eigh", "linalg.svd", "svd", "linalg.qr", "qr", "linalg.eig", "symeig", "geqrf",
    "linalg.lu_factor", "linalg.lu_factor_ex", "linalg.householder_product",
}  # fmt: skip
# Which of equal elements is meant is not defined: the places (second result) are not compared.
TIES = {"sort", "argsort", "topk", "kthvalue", "mode", "median", "nanmedian", "msort"}


@dataclasses.dataclass
class Tally:
    """What happened to one operator's calls."""

    passed: int = 0
    refused: int = 0
    failed: int = 0
    details: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)

    def fail(self, what: str, sample: str) -> None:
        self.failed += 1
        self.details[f"{what}  <- {sample}"] += 1

    def check(self, what: str | None, sample: str) -> None:
        if what is None:
            self.passed += 1
        else:
            self.fail(what, sample)


def text_of(value: Any) -> str:
    """Arguments as text: shapes in the place of tensors."""
    if isinstance(value, torch.Tensor):
        kind = str(value.dtype).removeprefix("torch.")
        strides = "" if value.is_contiguous() else f" strides {value.stride()}"
        return f"{kind}{list(value.shape)}{strides}"
    if isinstance(value, list | tuple):
        return "(" + ", ".join(text_of(v) for v in value) + ")"
    if isinstance(value, dict):
        return ", ".join(f"{k}={text_of(v)}" for k, v in value.items())
    return repr(value)[:60]


def spread(samples: list[Any], most: int) -> list[Any]:
    """At most so many, evenly spaced, first and last among them."""
    if len(samples) <= most:
        return samples
    return [samples[i * (len(samples) - 1) // (most - 1)] for i in range(most)]


def counterpart(op: Any) -> Any:
    """Fanal's function for an operator; AttributeError where it has none."""
    if callable(getattr(op, "op", None)) and hasattr(op.op, "__code__"):
        return rebound(op.op)
    for name in (op.name, *(a.name for a in op.aliases)):
        with contextlib.suppress(AttributeError):
            return named(name)
    return getattr(fanal.Tensor, op.name)


def variant(function: Any) -> Any:
    """Fanal's method for PyTorch's method."""
    return None if function is None else rebound(function)


def kind_of(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0][:170] if str(error) else ''}"


def tensors_in(value: Any, library: Any) -> Iterator[Any]:
    if isinstance(value, library.Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for v in value:
            yield from tensors_in(v, library)
    elif isinstance(value, dict):
        for v in value.values():
            yield from tensors_in(v, library)


def moving(value: Any, library: Any) -> list[Any]:
    return [t for t in tensors_in(value, library) if t.requires_grad]


def gradients(leaves: list[Any], outputs: list[Any], library: Any, convert: Any) -> list[Any]:
    """Gradients of a sum of the outputs with fixed factors."""
    factors = torch.Generator().manual_seed(1)
    total = None
    for t in outputs:
        weight = convert(torch.rand(tuple(t.shape), generator=factors, dtype=torch.float64) + 0.5)
        part = (t * weight.to(t.dtype)).sum()
        total = part if total is None else total + part
    return list(library.autograd.grad(total, leaves, allow_unused=True))


class Walk:
    """One operator's samples on both libraries."""

    def __init__(self, op: Any, tally: Tally, most: int):
        self.op, self.tally, self.most = op, tally, most
        self.random = False
        self.call = counterpart(op)
        self.method, self.inplace = self.variants()

    def variants(self) -> tuple[Any, Any]:
        found = []
        for function in (self.op.get_method(), self.op.get_inplace()):
            try:
                found.append((function, variant(function)) if function is not None else None)
            except AttributeError as error:
                self.tally.fail(f"missing variant: {error}", "")
                found.append(None)
        return found[0], found[1]

    def run(self) -> None:
        supported = self.op.supported_dtypes("cpu")
        for kind in DTYPES:
            if kind not in supported:
                continue
            wants = kind is torch.float64 and self.op.supports_autograd
            torch.manual_seed(3)
            samples = list(self.op.sample_inputs("cpu", kind, requires_grad=wants))
            most = self.most if kind is torch.float64 else max(3, self.most // 3)
            for sample in spread(samples, most):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    self.sample(sample, wants)

    def sample(self, sample: Any, wants: bool) -> None:
        text = text_of((sample.input, *sample.args, sample.kwargs))
        try:
            self._sample(sample, wants, text)
        except Unsupported:
            self.tally.refused += 1

    def chance(self, args: Any, kwargs: Any) -> bool:
        """Whether this call draws random numbers."""
        given = [*(a for a in args if isinstance(a, float)), kwargs.get("dropout_p", 0.0)]
        drops = "attention" in self.op.name and any(0.0 < p < 1.0 for p in given)
        return self.op.name in RANDOM or ("dropout" in self.op.name) or drops

    def compare(self, expected: Any, got: Any) -> str | None:
        """The difference in what this operator defines."""
        values = not self.random
        if self.op.name in TIES and values:
            pairs = isinstance(expected, tuple | list) and len(expected) == 2
            one = isinstance(expected, torch.Tensor) and self.op.name != "argsort"
            if pairs:
                return differences(expected, got, "", False) or differences(expected[0], got[0])
            values = one
        return differences(expected, got, "", values, self.precise)

    def wider(self, args: Any, kwargs: Any) -> Any:
        """The result in a wider dtype, if there is one."""
        if not any(t.dtype in WIDER for t in tensors_in((args, kwargs), torch)):
            return None
        try:
            return self.op(*widened(args), **widened(kwargs))
        except Exception:
            return None

    def both(self, theirs: Any, ours: Any, text: str) -> tuple[Any, Any] | None:
        """Both results, or None if PyTorch refuses or Fanal failed (which is noted)."""
        try:
            expected = theirs()
        except Exception as error:
            try:
                ours()
            except Exception:
                return None
            self.tally.fail(f"no error: PyTorch raises {kind_of(error)}", text)
            return None
        try:
            return expected, ours()
        except Unsupported:
            raise
        except Exception as error:
            if any(t.dtype.is_complex for t in tensors_in(expected, torch)):
                raise Unsupported("complex") from error
            self.tally.fail(kind_of(error), text)
            return None

    def _sample(self, sample: Any, wants: bool, text: str) -> None:
        op, convert = self.op, Bridge()
        self.random = self.chance(sample.args, sample.kwargs)
        args = (sample.input, *sample.args)
        inputs, kwargs = convert(args), convert(sample.kwargs)
        results = self.both(
            lambda: op(*args, **sample.kwargs), lambda: self.call(*inputs, **kwargs), text
        )
        if results is None:
            return
        expected, got = results
        self.precise = self.wider(args, sample.kwargs)
        gauge = op.name in GAUGE
        if gauge:
            process = sample.output_process_fn_grad
            expected, got = process(expected), rebound(process)(got)
            self.precise = None
        self.tally.check(self.compare(expected, got), text)
        if wants and not self.random:
            self.gradient(sample, (args, sample.kwargs), (inputs, kwargs), results, text)
        if self.method is not None:
            theirs, ours = self.method
            pair = self.both(
                lambda: theirs(*args, **sample.kwargs), lambda: ours(*inputs, **kwargs),
                "method " + text,
            )  # fmt: skip
            if pair is not None and not gauge:
                self.tally.check(self.compare(*pair), "method " + text)
        if self.inplace is not None and isinstance(sample.input, torch.Tensor):
            self.in_place(sample, wants, text)
        if op.supports_out and not wants and not gauge:
            self.out(sample, expected, text)

    def gradient(self, sample: Any, theirs: Any, ours: Any, results: Any, text: str) -> None:
        process = sample.output_process_fn_grad
        outputs = [
            t for t in tensors_in(process(results[0]), torch)
            if t.requires_grad and t.is_floating_point()
        ]  # fmt: skip
        leaves = moving(theirs, torch)
        if not outputs or not leaves or any(t.numel() == 0 for t in leaves):
            return
        try:
            expected = gradients(leaves, outputs, torch, lambda t: t)
        except Exception:
            return
        label = "gradient " + text
        try:
            mine = [t for t in tensors_in(rebound(process)(results[1]), fanal) if t.dtype.kind == "f"]
            if [t.requires_grad for t in mine].count(True) != len(outputs):
                return self.tally.fail("gradient: outputs without requires_grad", label)
            mine = [t for t in mine if t.requires_grad]
            found = gradients(moving(ours, fanal), mine, fanal, Bridge())
        except Exception as error:
            return self.tally.fail(kind_of(error), label)
        for e, g in zip(expected, found, strict=True):
            if e is None or g is None:
                other = e if g is None else g
                if other is None or not bool((other != 0).any()):
                    continue
                return self.tally.fail(f"gradient: {g}, expected {e}"[:120], label)
            problem = far(e, g, "gradient ", scale=10)
            if problem:
                return self.tally.fail(problem, label)
        self.tally.passed += 1

    def in_place(self, sample: Any, wants: bool, text: str) -> None:
        theirs, ours = self.inplace
        label, convert = "in place " + text, Bridge()
        inputs, kwargs = convert(sample.args), convert(sample.kwargs)
        x, y = sample.input.clone(), convert(sample.input).clone()
        results = self.both(
            lambda: theirs(x, *sample.args, **sample.kwargs),
            lambda: ours(y, *inputs, **kwargs), label,
        )  # fmt: skip
        if results is not None:
            problem = self.compare(*results)
            if problem is None and results[0] is x and results[1] is not y:
                problem = "in place: another tensor is returned"
            self.tally.check(problem, label)

    def out(self, sample: Any, expected: Any, text: str) -> None:
        label, convert = "out " + text, Bridge()
        inputs, kwargs = convert((sample.input, *sample.args)), convert(sample.kwargs)
        wanted = list(tensors_in(expected, torch))
        single = isinstance(expected, torch.Tensor)
        theirs = tuple(torch.empty_like(t) for t in wanted)
        ours = tuple(convert(t) for t in theirs)
        results = self.both(
            lambda: self.op(sample.input, *sample.args, **sample.kwargs,
                            out=theirs[0] if single else theirs),
            lambda: self.call(*inputs, **kwargs, out=ours[0] if single else ours), label,
        )  # fmt: skip
        if results is not None:
            pair = (theirs[0], ours[0]) if single else (theirs, ours)
            self.tally.check(self.compare(*pair), label)

    def errors(self) -> None:
        """The wrong calls: an error of the same type."""
        if self.op.error_inputs_func is None:
            return
        for case in self.op.error_inputs("cpu"):
            sample, convert = case.sample_input, Bridge()
            text = text_of((sample.input, *sample.args, sample.kwargs))
            try:
                inputs = convert((sample.input, *sample.args))
                kwargs = convert(sample.kwargs)
            except Unsupported:
                self.tally.refused += 1
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    self.op(sample.input, *sample.args, **sample.kwargs)
                except Exception as error:
                    kind: Any = type(error)
                    reason = str(error).splitlines()[0][:100] if str(error) else ""
                else:
                    continue
                try:
                    self.call(*inputs, **kwargs)
                except Exception as error:
                    if isinstance(error, kind | builtin(kind)):
                        self.tally.passed += 1
                    else:
                        self.tally.fail(
                            f"{kind_of(error)} not {kind.__name__} ({reason})", "error " + text
                        )
                else:
                    self.tally.fail(f"no error: {kind.__name__} ({reason})", "error " + text)


def builtin(kind: type) -> type:
    """An error class of PyTorch's by the builtin that it derives from."""
    for c in kind.__mro__:
        if c.__module__ == "builtins":
            return c
    return kind


def operators(only: list[str]) -> Iterator[Any]:
    for op in op_db:
        if only and op.name not in only and f"{op.name}.{op.variant_test_name}" not in only:
            continue
        yield op


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", default="", help="names, separated by commas")
    parser.add_argument("--errors", action="store_true", help="the wrong calls")
    parser.add_argument("--modules", action="store_true", help="module_db in the place of op_db")
    parser.add_argument("--optimizers", action="store_true", help="optim_db in the place of op_db")
    parser.add_argument("--samples", type=int, default=12, help="most samples a dtype")
    parser.add_argument("--details", default="", help="a JSON file for what failed")
    parser.add_argument("--part", default="", help="i/n: every n-th operator")
    options = parser.parse_args()
    faulthandler.enable()
    torch.set_num_threads(1)
    fanal.set_num_threads(1)
    only = [name for name in options.only.split(",") if name]
    if options.modules or options.optimizers:
        from tests.peers import opinfo_modules

        if options.modules:
            report(opinfo_modules.modules(only, options.errors), options.details)
        else:
            report(opinfo_modules.optimizers(only), options.details)
        return
    report(walk_operators(only, options), options.details)


def walk_operators(only: list[str], options: Any) -> dict[str, Tally]:
    tallies: dict[str, Tally] = {}
    chosen = list(operators(only))
    if options.part:
        i, n = map(int, options.part.split("/"))
        chosen = chosen[i::n]
    for op in chosen:
        name = op.name + (f".{op.variant_test_name}" if op.variant_test_name else "")
        tally = tallies.setdefault(name, Tally())
        if op.name.startswith(ABSENT):
            tally.refused += 1
            continue
        start = time.perf_counter()
        try:
            walk = Walk(op, tally, options.samples)
        except AttributeError as error:
            tally.fail(f"missing: {error}", "")
            continue
        try:
            walk.errors() if options.errors else walk.run()
        except Exception as error:
            tally.fail(f"CHECKER {kind_of(error)}", "")
        seconds = time.perf_counter() - start
        print(f"{name:45} {tally.passed:5} passed {tally.failed:5} failed {tally.refused:4} refused"
              f" {seconds:6.1f} s", flush=True)  # fmt: skip
        for line, count in tally.details.most_common(4 if not only else 40):
            print(f"      {count} × {line[:330]}", flush=True)
    return tallies


def report(tallies: dict[str, Tally], details: str) -> None:
    total = Tally()
    for tally in tallies.values():
        total.passed += tally.passed
        total.failed += tally.failed
        total.refused += tally.refused
    whole = sum(not t.failed for t in tallies.values())
    print(f"\n{len(tallies)} entries, {whole} without failures; calls: {total.passed} passed, "
          f"{total.failed} failed, {total.refused} refused")  # fmt: skip
    if details:
        with open(details, "w") as file:
            json.dump({k: [t.passed, t.failed, t.refused, dict(t.details)] for k, t in tallies.items()},
                      file, indent=1)  # fmt: skip
    sys.exit(0)


if __name__ == "__main__":
    main()
