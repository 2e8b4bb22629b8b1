"""`export`: a module or a function as a program that needs no Python, with PyTorch's signature."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from fanal.core import pytree
from fanal.core.errors import message
from fanal.export.call import Call
from fanal.export.dims import DimSymbols
from fanal.export.naming import Names
from fanal.export.program import Program, Range, TensorSpec
from fanal.export.running import Runner
from fanal.export.shapes import open_dims
from fanal.export.taking import ExportError
from fanal.nn import Module
from fanal.tensor.tensor import Tensor


def export(
    mod: Callable[..., Any], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None, *,
    dynamic_shapes: Any = None, strict: bool = False, name: str | None = None,
    signature: str = "predict", output_names: Sequence[str] | None = None,
    labels: Mapping[str, Sequence[str]] | None = None, card: Mapping[str, Any] | None = None,
) -> ExportedProgram:  # fmt: skip
    """Capture a module or a function whole, as `torch.export.export`. Nothing is computed, no state changes.

    mod: a module (in the mode, train or eval, that it is in) or a function, which may be a training step
    with `backward()` and an optimiser: what it reads and writes becomes named state.
    args, kwargs: an example of its arguments. Tensors become inputs, everything else is fixed.
    dynamic_shapes: which dimensions stay open: a dict {argument: {dimension: Dim}}, or a tuple by position.
    name: the program's (else the class's or the function's); signature: this function's ("predict").
    output_names: of the results; labels: {output: names of the positions of its last dimension}.
    card: licence, author, description, metrics: what somebody who gets the file should know.
    strict: accepted for PyTorch's sake; capture is always whole.

    Raises ExportError where the function can't leave Python, with the user's line and the remedy.
    """
    inner = _written(mod)
    program = ExportedProgram(
        name or getattr(inner, "__name__", type(inner).__name__).strip("<>"), DimSymbols(), (), {}, {}, dict(card or {})
    )
    return program.add(
        signature, mod, args, kwargs, dynamic_shapes=dynamic_shapes, output_names=output_names, labels=labels
    )


class ExportedProgram(Program):
    """A program that was captured here: functions can be added that share its state and dimensions."""

    _names: Names | None = None
    _runners: dict[str, Runner] | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call its only signature, or "predict"."""
        return self.runner()(*args, **kwargs)

    def runner(self, signature: str | None = None) -> Runner:
        """A signature as a function: `program.runner("train")(x, y)`."""
        if signature is None:
            signature = next(iter(self.signatures)) if len(self.signatures) == 1 else "predict"
        if signature not in self.signatures:
            raise KeyError(message("export", "no signature of that name", repr(signature), ", ".join(self.signatures)))
        if self._runners is None:
            self._runners = {}
        found = self._runners.get(signature)
        if found is None:
            found = self._runners[signature] = Runner(self, self.signatures[signature])
        return found

    def module(self) -> Callable[..., Any]:
        """The program's main function, as `torch.export.ExportedProgram.module`."""
        return self.runner()

    def run(self, inputs: Mapping[str, Tensor], signature: str | None = None) -> dict[str, Tensor]:
        """Outputs by name for inputs by name."""
        return self.runner(signature).run(inputs)

    @property
    def state_dict(self) -> dict[str, Tensor]:
        """The tensors that the program holds, by name."""
        return dict(self.state)

    def add(
        self, signature: str, mod: Callable[..., Any], args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None, *, dynamic_shapes: Any = None,
        output_names: Sequence[str] | None = None, labels: Mapping[str, Sequence[str]] | None = None,
    ) -> ExportedProgram:  # fmt: skip
        """Capture another function under a name of its own; arguments as of `export`. Returns the program."""
        if not isinstance(args, tuple):
            raise TypeError(message("export", "args is no tuple", type(args).__name__, "a tuple", hint="(x,)"))
        if not isinstance(signature, str) or not signature.isidentifier():
            raise ValueError(message("export", "no name of a signature", repr(signature), "an identifier"))
        if signature in self.signatures:
            raise ValueError(message("export", "there is a signature of that name", repr(signature)))
        symbols = self.symbols
        if self._names is None:
            self._names = Names()
        function = _written(mod)
        named = dict(kwargs or {})
        arguments = bound(function, args, named)
        leaves, _ = pytree.flatten((args, named))
        tensors = [x for x in leaves if isinstance(x, Tensor)]
        if len({id(t) for t in tensors}) < len(tensors):
            raise ExportError(message("export", "one tensor is given as two arguments", hint="x.clone() for one"))
        self._names.add(function)
        call = Call(function, args, named, signature, input_names(arguments, tensors), output_names)
        made, state = call.captured(tensors, open_dims(dynamic_shapes, arguments), symbols, self._names)
        self.signatures[signature] = replace(made, outputs=labelled(made.outputs, labels or {}))
        for name, t in state.items():
            self.state.setdefault(name, t)
        self.dims = tuple(Range(name, *symbols.range_of(name)) for name in symbols.by_name)
        return self


def _written(mod: Any) -> Any:
    """The module or function that somebody wrote, of one that was compiled."""
    return mod if isinstance(mod, Module) else getattr(mod, "function", mod)


def bound(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Arguments by the names of the function's parameters; `*args` are named x_0, x_1."""
    target = function.forward if isinstance(function, Module) else function
    try:
        given = inspect.signature(target).bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(message("export", "the example does not fit the function", str(error))) from None
    except ValueError:  # a builtin
        return {**{f"x{i}": a for i, a in enumerate(args)}, **kwargs}
    found: dict[str, Any] = {}
    parameters = given.signature.parameters
    for name, value in given.arguments.items():
        kind = parameters[name].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            found.update({f"{name}_{i}": x for i, x in enumerate(value)})
        elif kind is inspect.Parameter.VAR_KEYWORD:
            found.update(value)
        else:
            found[name] = value
    return found


def input_names(arguments: Mapping[str, Any], tensors: Sequence[Tensor]) -> list[str]:
    """Names of the tensors among arguments: the parameter's, with the path in it."""
    found: dict[int, str] = {}

    def visit(path: str, x: Any) -> None:
        if isinstance(x, Tensor):
            found[id(x)] = path
            return
        children = pytree.children_of(x)
        if children is not None:
            for key, inner in zip(*children, strict=True):
                visit(f"{path}_{key}", inner)

    for name, value in arguments.items():
        visit(name, value)
    return [found[id(t)] for t in tensors]


def labelled(outputs: Sequence[TensorSpec], labels: Mapping[str, Sequence[str]]) -> tuple[TensorSpec, ...]:
    """Outputs with the names of their last dimension's positions."""
    by_name = {o.name: o for o in outputs}
    for name, given in labels.items():
        if name not in by_name:
            raise ValueError(message("export", "labels for an output that there is not", repr(name), ", ".join(by_name)))
        shape = by_name[name].shape
        if not shape or shape[-1] != len(given):
            raise ValueError(message("export", f"labels of {name!r}", len(given), f"{shape[-1] if shape else 0} of them"))
        by_name[name] = replace(by_name[name], labels=tuple(map(str, given)))
    return tuple(by_name.values())


__all__ = ["ExportedProgram", "export"]
