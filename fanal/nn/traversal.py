"""Walking the tree of modules: children, parameters and buffers, each once, by path."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from fanal.core.errors import message, nearest


class Traversal:
    """The part of Module that looks things up."""

    _parameters: dict[str, Any]
    _buffers: dict[str, Any]
    _modules: dict[str, Any]

    def children(self) -> Iterator[Any]:
        """The direct children, each once."""
        for _, module in self.named_children():
            yield module

    def named_children(self) -> Iterator[tuple[str, Any]]:
        """The direct children with their names."""
        seen = set()
        for name, module in self._modules.items():
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def modules(self) -> Iterator[Any]:
        """This module and all below it, each once."""
        for _, module in self.named_modules():
            yield module

    def named_modules(
        self, memo: set[Any] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Any]]:
        """This module (under `prefix`) and all below it with their paths."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                path = f"{prefix}.{name}" if prefix else name
                yield from module.named_modules(memo, path, remove_duplicate)

    def _named_members(
        self,
        get_members_fn: Callable[[Any], Any],
        prefix: str = "",
        recurse: bool = True,
        remove_duplicate: bool = True,
    ) -> Iterator[tuple[str, Any]]:
        seen = set()
        modules: Any = [(prefix, self)]
        if recurse:
            modules = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
        for path, module in modules:
            for name, member in get_members_fn(module):
                if member is None or member in seen:
                    continue
                if remove_duplicate:
                    seen.add(member)
                yield (f"{path}.{name}" if path else name), member

    def parameters(self, recurse: bool = True) -> Iterator[Any]:
        """The parameters of this module and (with `recurse`) of all below it, each once."""
        for _, p in self.named_parameters(recurse=recurse):
            yield p

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Any]]:
        """The parameters with their paths."""
        yield from self._named_members(
            lambda m: m._parameters.items(), prefix, recurse, remove_duplicate
        )

    def buffers(self, recurse: bool = True) -> Iterator[Any]:
        """The buffers of this module and (with `recurse`) of all below it, each once."""
        for _, b in self.named_buffers(recurse=recurse):
            yield b

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Any]]:
        """The buffers with their paths."""
        yield from self._named_members(
            lambda m: m._buffers.items(), prefix, recurse, remove_duplicate
        )

    def apply(self, fn: Callable[[Any], Any]) -> Any:
        """Call `fn` with every module, children first."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    # -- by path -------------------------------------------------------------------------------------

    def get_submodule(self, target: str) -> Any:
        """The module at a path (`"layers.2"`); AttributeError if there is none."""
        found: Any = self
        for name in target.split(".") if target else []:
            if not hasattr(found, name):
                raise AttributeError(
                    message(
                        "get_submodule", f"{type(found).__name__} has no attribute {name!r}",
                        repr(target), hint=" or ".join(nearest(name, found._modules)),
                    )
                )
            found = getattr(found, name)
            if not isinstance(found, Traversal):
                raise AttributeError(
                    message("get_submodule", f"{name!r} is not a module", repr(target))
                )
        return found

    def set_submodule(self, target: str, module: Any, strict: bool = False) -> None:
        """Replace the module at a path; with `strict` there must be one already."""
        if target == "":
            raise ValueError("Cannot set the submodule without a target name!")
        path, _, name = target.rpartition(".")
        if not isinstance(module, Traversal):
            raise ValueError(message("set_submodule", "not a module", type(module).__name__))
        parent = self.get_submodule(path)
        if strict and not hasattr(parent, name):
            raise AttributeError(
                message("set_submodule", f"{type(parent).__name__} has no attribute {name!r}")
            )
        if hasattr(parent, name) and not isinstance(getattr(parent, name), Traversal):
            raise AttributeError(message("set_submodule", f"{name!r} is not a module"))
        setattr(parent, name, module)

    def get_parameter(self, target: str) -> Any:
        """The parameter at a path; AttributeError if there is none."""
        return self._member(target, "_parameters", "parameter")

    def get_buffer(self, target: str) -> Any:
        """The buffer at a path; AttributeError if there is none."""
        return self._member(target, "_buffers", "buffer")

    def _member(self, target: str, table: str, what: str) -> Any:
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if not hasattr(module, name):
            raise AttributeError(
                message(
                    f"get_{what}", f"{type(module).__name__} has no attribute {name!r}",
                    repr(target), hint=" or ".join(nearest(name, getattr(module, table))),
                )
            )
        from fanal.nn.parameter import Parameter

        found = getattr(module, name)
        fits = isinstance(found, Parameter) if what == "parameter" else name in module._buffers
        if not fits:
            raise AttributeError(message(f"get_{what}", f"{name!r} is not a {what}", repr(target)))
        return found
