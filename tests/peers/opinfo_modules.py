"""PyTorch's databases of modules and optimisers (`module_db`, `optim_db`) on both libraries.

A module gets the other's state dict, then results, gradients of input and parameters, and buffers
are compared, in training and evaluation. An optimiser takes ten steps on the same parameters.
"""

from __future__ import annotations

import contextlib
import time
import warnings
from typing import Any

import torch
from torch.testing._internal.common_modules import ModuleErrorEnum, module_db
from torch.testing._internal.common_optimizers import OptimizerErrorEnum, optim_db

import fanal
from tests.peers.opinfo import Tally, builtin, gradients, kind_of, moving, tensors_in, text_of
from tests.peers.opinfo_bridge import Bridge, Unsupported, differences, far

DTYPES = (torch.float64, torch.float32, torch.bfloat16)


def show(name: str, tally: Tally, start: float, only: list[str]) -> None:
    seconds = time.perf_counter() - start
    print(f"{name:40} {tally.passed:5} passed {tally.failed:5} failed {tally.refused:4} refused"
          f" {seconds:6.1f} s", flush=True)  # fmt: skip
    for line, count in tally.details.most_common(40 if only else 5):
        print(f"      {count} × {line[:330]}", flush=True)


def convert_state(module: torch.nn.Module, ours: Any) -> None:
    bridge = Bridge()
    ours.load_state_dict({k: bridge(v.detach()) for k, v in module.state_dict().items()})


def arguments(value: Any, convert: Bridge) -> Any:
    """A constructor's arguments; a module among them is made from its own."""
    if isinstance(value, torch.nn.TransformerEncoderLayer):
        first = value.self_attn
        return fanal.nn.TransformerEncoderLayer(
            first.embed_dim, first.num_heads, value.linear1.out_features, value.dropout.p,
            batch_first=first.batch_first, norm_first=value.norm_first,
            bias=value.linear1.bias is not None, activation=value.activation.__name__,
        )  # fmt: skip
    if isinstance(value, tuple):
        return tuple(arguments(v, convert) for v in value)
    return {k: arguments(v, convert) for k, v in value.items()} if isinstance(value, dict) else convert(value)


def modules(only: list[str], errors: bool = False) -> dict[str, Tally]:
    """All of `module_db`."""
    tallies: dict[str, Tally] = {}
    for info in module_db:
        name = info.name
        if only and name not in only and name.removeprefix("nn.") not in only:
            continue
        tally, start = tallies.setdefault(name, Tally()), time.perf_counter()
        if "quantized" in name:
            tally.refused += 1
            continue
        cls = getattr(fanal.nn, info.module_cls.__name__, None)
        if cls is None:
            tally.fail("missing", "")
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    _errors(info, cls, tally) if errors else _module(info, cls, tally)
                except Exception as error:
                    tally.fail(f"CHECKER {kind_of(error)}", "")
        show(name, tally, start, only)
    return tallies


def _module(info: Any, cls: Any, tally: Tally) -> None:
    for kind in DTYPES:
        if kind not in info.dtypes and kind is not torch.bfloat16:
            continue
        for training in (True, False):
            if not training and not info.train_and_eval_differ:
                continue
            torch.manual_seed(3)
            inputs = info.module_inputs_func(info, device="cpu", dtype=kind,
                                             requires_grad=True, training=training)  # fmt: skip
            for case in inputs:
                try:
                    _case(info, cls, tally, case, kind, training)
                except Unsupported:
                    tally.refused += 1


def _case(info: Any, cls: Any, tally: Tally, case: Any, kind: Any, training: bool) -> None:
    made, convert = case.constructor_input, Bridge()
    label = f"{kind} train={training} ({text_of(made.args)}, {text_of(made.kwargs)})"
    try:
        theirs = info.module_cls(*made.args, **made.kwargs).to("cpu", kind).train(training)
    except Exception:
        return
    random = "Lazy" in info.name or "ropout" in info.name or "RReLU" in info.name or "Fractional" in info.name
    try:
        ours = cls(*arguments(made.args, convert), **arguments(made.kwargs, convert)).to(convert(kind)).train(training)
        if list(theirs.state_dict()) != list(ours.state_dict()):
            return tally.fail(f"state_dict: {list(ours.state_dict())[:8]}", label)
        if "Lazy" not in info.name:
            convert_state(theirs, ours)
    except Unsupported:
        raise
    except Exception as error:
        return tally.fail("construction " + kind_of(error), label)
    if case.forward_input is None:
        tally.passed += 1
        return
    given = case.forward_input
    label += f" <= ({text_of(given.args)}, {text_of(given.kwargs)})"
    args, kwargs = convert(given.args), convert(given.kwargs)
    try:
        expected = theirs(*given.args, **given.kwargs)
    except Exception:
        return
    try:
        got = ours(*args, **kwargs)
    except Unsupported:
        raise
    except Exception as error:
        return tally.fail("forward " + kind_of(error), label)
    # In bfloat16 the two round at other places: no values.
    values = not random and kind is not torch.bfloat16
    tally.check(differences(expected, got, "", values), label)
    buffers = [dict(m.named_buffers()) for m in (theirs, ours)]
    tally.check(differences(*buffers, "", values), "buffers " + label)
    if kind is not torch.float64 or random:
        return
    leaves = moving((given.args, given.kwargs), torch) + list(theirs.parameters())
    mine = moving((args, kwargs), fanal) + list(ours.parameters())
    outputs = [t for t in tensors_in(expected, torch) if t.requires_grad]
    if not outputs or not leaves:
        return
    try:
        wanted = gradients(leaves, outputs, torch, lambda t: t)
    except Exception:
        return
    try:
        found = gradients(
            mine, [t for t in tensors_in(got, fanal) if t.requires_grad], fanal, Bridge()
        )
    except Exception as error:
        return tally.fail("gradient " + kind_of(error), label)
    for e, g in zip(wanted, found, strict=True):
        if (e is None) != (g is None):
            other = e if g is None else g
            if bool((other != 0).any()):
                return tally.fail(f"gradient: {g}, expected {e}"[:120], label)
        elif e is not None and (problem := far(e, g, "gradient ", scale=10)):
            return tally.fail(problem, label)
    tally.passed += 1


def _errors(info: Any, cls: Any, tally: Tally) -> None:
    if info.module_error_inputs_func is None:
        return
    cases = info.module_error_inputs_func(
        info, device="cpu", dtype=torch.float32, requires_grad=False, training=True
    )
    for case in cases:
        made, convert = case.module_error_input.constructor_input, Bridge()
        given = case.module_error_input.forward_input
        label = f"({text_of(made.args)}, {text_of(made.kwargs)})"
        try:
            module = cls(*convert(made.args), **convert(made.kwargs))
            if case.error_on is ModuleErrorEnum.FORWARD_ERROR:
                args, kwargs = convert(given.args), convert(given.kwargs)
                label += f" <= ({text_of(given.args)}, {text_of(given.kwargs)})"
                module(*args, **kwargs)
        except Exception as error:
            right = isinstance(error, builtin(case.error_type))
            tally.check(None if right else f"{kind_of(error)} not {case.error_type}", label)
        else:
            tally.fail(f"no error: {case.error_type.__name__} {case.error_regex[:80]}", label)


def optimizers(only: list[str]) -> dict[str, Tally]:
    """All of `optim_db`."""
    tallies: dict[str, Tally] = {}
    for info in optim_db:
        name = info.optim_cls.__name__
        if only and name not in only:
            continue
        tally, start = tallies.setdefault(name, Tally()), time.perf_counter()
        cls = getattr(fanal.optim, name, None)
        if cls is None:
            tally.fail("missing", "")
        elif name != "SparseAdam":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                _optimizer(info, cls, tally)
        show(name, tally, start, only)
    return tallies


def _optimizer(info: Any, cls: Any, tally: Tally) -> None:
    for case in info.optim_inputs_func(device="cpu"):
        for flag in ({}, *({f: True} for f in info.supported_impls)):
            kwargs = {**case.kwargs, **flag}
            label = f"{case.desc} {text_of(kwargs)}"
            torch.manual_seed(5)
            start = [torch.randn(4, 3, dtype=torch.float64), torch.randn(3, dtype=torch.float64)]
            try:
                expected = _steps(torch, info.optim_cls, start, kwargs, lambda t: t)
            except Exception:
                continue
            try:
                found = _steps(fanal, cls, start, Bridge()(kwargs), Bridge())
            except Exception as error:
                tally.fail(kind_of(error), label)
                continue
            tally.check(differences(expected, found), label)
    for case in info.optim_error_inputs_func(device="cpu", dtype=torch.float32):
        wrong, label = case.optimizer_error_input, "error "
        label += f"{wrong.desc} {text_of(wrong.kwargs)}"
        convert = Bridge()
        if any(t.is_complex() for t in tensors_in(wrong.params, torch)):
            tally.refused += 1
            continue
        if wrong.params is None:
            wrong.params = [torch.nn.Parameter(torch.ones(2))]
        try:
            theirs = info.optim_cls(wrong.params, **wrong.kwargs)
            if case.error_on is not OptimizerErrorEnum.CONSTRUCTION_ERROR:
                theirs.step()
            continue
        except Exception as error:
            kind = builtin(type(error))
            reason = str(error)[:80]
        try:
            made = cls(convert(wrong.params), **convert(wrong.kwargs))
            if case.error_on is not OptimizerErrorEnum.CONSTRUCTION_ERROR:
                made.step()
        except Exception as error:
            right = isinstance(error, kind)
            tally.check(None if right else f"{kind_of(error)} not {kind} ({reason})", label)
        else:
            tally.fail(f"no error: {kind.__name__} ({reason})", label)


def _steps(library: Any, cls: Any, start: list[Any], kwargs: Any, convert: Any) -> list[Any]:
    """Parameters after ten steps down a bowl."""
    parameters = [library.nn.Parameter(convert(t.clone())) for t in start]
    optimizer = cls(parameters, **kwargs)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = sum(((p - 1.5) ** 4).mean() + (p * 0.3).sum() ** 2 for p in parameters)
        loss.backward()
        return loss

    # A step that is recorded may not write to leaves outside of no_grad.
    quiet = library.no_grad if kwargs.get("differentiable") else contextlib.nullcontext
    for _ in range(10):
        loss = closure()
        with quiet():
            optimizer.step() if kwargs.get("differentiable") else optimizer.step(closure)
    return [p.detach() for p in parameters] + [loss.detach()]
