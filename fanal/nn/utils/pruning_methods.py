"""Which elements of a tensor pruning keeps: masks by magnitude, at random, by whole slices.

A method multiplies a parameter by its mask before each forward; the parameter goes on as
`weight_orig`, the mask as the buffer `weight_mask`. Masks are chosen once, by sorting scores.
"""

from __future__ import annotations

import numbers
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

from fanal.core import dtypes
from fanal.linalg import vector_norm
from fanal.nn.module import Module
from fanal.ops.ordering import argsort
from fanal.ops.pointwise import abs as absolute
from fanal.ops.scattering import index_fill
from fanal.ops.shape import movedim
from fanal.random.sampling import rand
from fanal.tensor.creation import ones_like
from fanal.tensor.tensor import Tensor


def _slices(t: Any, dim: int) -> Any:
    """The slices of a dimension as the rows of a matrix."""
    count = t.shape[dim]
    return movedim(t, dim, 0).reshape(count, t.numel() // max(count, 1))


def _without(mask: Any, dim: int, scores: Any, count: int) -> Any:
    """The mask with zeros in the `count` slices of the lowest scores, the first of equal ones."""
    return index_fill(mask, dim, argsort(scores, stable=True)[:count], 0)


class BasePruningMethod(ABC):
    """A forward pre-hook that masks one parameter; subclasses define `compute_mask`."""

    PRUNING_TYPE = "unstructured"
    _tensor_name: str

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self._tensor_name, self.apply_mask(module))

    @abstractmethod
    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """1 where an element of t stays, 0 where it goes; what `default_mask` dropped stays so."""

    def apply_mask(self, module: Module) -> Any:
        """The parameter times its mask."""
        mask = getattr(module, self._tensor_name + "_mask")
        orig = getattr(module, self._tensor_name + "_orig")
        return mask.to(orig.dtype) * orig

    @classmethod
    def apply(
        cls, module: Module, name: str, *args: Any, importance_scores: Any = None, **kwargs: Any
    ) -> BasePruningMethod:
        """Prune a parameter; one that is pruned already is pruned further."""
        method = cls._joined(module, name, cls(*args, **kwargs))
        orig = getattr(module, name)
        scores = orig if importance_scores is None else importance_scores
        if tuple(scores.shape) != tuple(orig.shape):
            raise AssertionError(
                f"importance_scores should have the same shape as parameter {name} of {module}"
            )
        if isinstance(method, PruningContainer):
            default = getattr(module, name + "_mask").detach().clone()
        else:
            default = ones_like(orig.detach())
        # Computed before the module is touched, so that an error leaves it as it was.
        mask = method.compute_mask(scores, default)
        if not isinstance(method, PruningContainer):
            del module._parameters[name]
            module.register_parameter(name + "_orig", orig)
        module.register_buffer(name + "_mask", mask)
        setattr(module, name, method.apply_mask(module))
        module.register_forward_pre_hook(method)
        return method

    @staticmethod
    def _joined(module: Module, name: str, method: BasePruningMethod) -> BasePruningMethod:
        """The method alone, or behind those that prune the parameter already."""
        method._tensor_name = name
        for number, hook in list(module._forward_pre_hooks.items()):
            if isinstance(hook, BasePruningMethod) and hook._tensor_name == name:
                del module._forward_pre_hooks[number]
                container = hook if isinstance(hook, PruningContainer) else PruningContainer(hook)
                container.add_pruning_method(method)
                return container
        return method

    def prune(
        self, t: Tensor, default_mask: Tensor | None = None, importance_scores: Any = None
    ) -> Any:
        """A tensor itself pruned, without a module."""
        scores = t if importance_scores is None else importance_scores
        if tuple(scores.shape) != tuple(t.shape):
            raise AssertionError("importance_scores should have the same shape as tensor t")
        default = ones_like(t.detach()) if default_mask is None else default_mask
        return t * self.compute_mask(scores, default)

    def remove(self, module: Module) -> None:
        """Make the pruning permanent: the parameter itself gets the masked values."""
        weight = self.apply_mask(module)
        name = self._tensor_name
        if hasattr(module, name):
            delattr(module, name)
        orig = module._parameters[name + "_orig"]
        orig.data = weight.detach()
        delattr(module, name + "_orig")
        delattr(module, name + "_mask")
        setattr(module, name, orig)


class PruningContainer(BasePruningMethod):
    """Several prunings of one parameter, one after another."""

    def __init__(self, *args: BasePruningMethod) -> None:
        self._pruning_methods: tuple[BasePruningMethod, ...] = ()
        if len(args) == 1:
            self._tensor_name = args[0]._tensor_name
        for method in args:
            self.add_pruning_method(method)

    def add_pruning_method(self, method: BasePruningMethod) -> None:
        """Prune further by another method."""
        if not isinstance(method, BasePruningMethod):
            raise TypeError(f"{type(method)} is not a BasePruningMethod subclass")
        if self._tensor_name != method._tensor_name:
            raise ValueError(
                f"Can only add pruning methods acting on the parameter named '{self._tensor_name}' "
                f"to PruningContainer {self}. Found '{method._tensor_name}'"
            )
        self._pruning_methods += (method,)

    def __len__(self) -> int:
        return len(self._pruning_methods)

    def __iter__(self) -> Iterator[BasePruningMethod]:
        return iter(self._pruning_methods)

    def __getitem__(self, idx: int) -> BasePruningMethod:
        return self._pruning_methods[idx]

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """The last method's mask, of what the earlier ones left."""
        method: Any = self._pruning_methods[-1]
        mask, t = default_mask.detach().clone(), t.detach()
        if method.PRUNING_TYPE == "unstructured":
            where: Any = mask == 1
        elif method.PRUNING_TYPE == "structured":
            dim = method.dim % t.ndim
            kept = _slices(mask, dim).sum(1) != 0
            where = tuple(kept if d == dim else slice(None) for d in range(t.ndim))
        elif method.PRUNING_TYPE == "global":
            where = ...
        else:
            raise ValueError(f"Unrecognized PRUNING_TYPE {method.PRUNING_TYPE}")
        mask[where] = method.compute_mask(t[where], mask[where]).to(mask.dtype)
        return mask


class Identity(BasePruningMethod):
    """Nothing goes (a place for masks to come)."""

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        return default_mask


class _Amount(BasePruningMethod):
    amount: float

    def __init__(self, amount: float) -> None:
        if not isinstance(amount, numbers.Real):
            raise TypeError(f"Invalid type for amount: {amount}. Must be int or float.")
        whole = isinstance(amount, numbers.Integral)
        if amount < 0 or (not whole and amount > 1.0):
            raise ValueError(
                f"amount={amount} should either be a float in the range [0, 1] or a non-negative "
                "integer"
            )
        self.amount = amount

    def _count(self, size: int) -> int:
        """How many of `size` go."""
        whole = isinstance(self.amount, numbers.Integral)
        count = int(self.amount) if whole else round(float(self.amount) * size)
        if count > size:
            raise ValueError(
                f"amount={count} should be smaller than the number of parameters to prune={size}"
            )
        return count


class _Unstructured(_Amount):
    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        count = self._count(t.numel())
        if count == 0:
            return default_mask.clone()
        mask = default_mask.detach().reshape(-1)
        return _without(mask, 0, self._scores(t).reshape(-1), count).reshape(default_mask.shape)

    def _scores(self, t: Tensor) -> Any:
        raise NotImplementedError


class RandomUnstructured(_Unstructured):
    """Elements go at random."""

    def _scores(self, t: Tensor) -> Any:
        return rand(tuple(t.shape))


class L1Unstructured(_Unstructured):
    """The elements of the smallest magnitude go."""

    def _scores(self, t: Tensor) -> Any:
        return absolute(t.detach())


class _Structured(_Amount):
    PRUNING_TYPE = "structured"

    def __init__(self, amount: float, dim: int = -1) -> None:
        super().__init__(amount)
        self.dim = dim

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        if t.ndim <= 1:
            raise ValueError(
                "Structured pruning can only be applied to multidimensional tensors. Found tensor "
                f"of shape {t.shape} with {t.ndim} dims"
            )
        if self.dim >= t.ndim:
            raise IndexError(f"Invalid index {self.dim} for tensor of size {t.shape}")
        dim = self.dim % t.ndim
        count = self._count(t.shape[dim])
        if count == 0:
            return default_mask
        found: Tensor = _without(default_mask.detach(), dim, self._scores(t, dim), count)
        return found

    def _scores(self, t: Tensor, dim: int) -> Any:
        raise NotImplementedError


class RandomStructured(_Structured):
    """Whole slices of a dimension go at random."""

    def _scores(self, t: Tensor, dim: int) -> Any:
        return rand(t.shape[dim])


class LnStructured(_Structured):
    """The slices of a dimension with the smallest n-norm go."""

    def __init__(self, amount: float, n: Any, dim: int = -1) -> None:
        super().__init__(amount, dim)
        self.n = n

    def _scores(self, t: Tensor, dim: int) -> Any:
        order = 2 if self.n in ("fro", "nuc") else float(self.n)
        return vector_norm(_slices(t.detach(), dim).to(dtypes.float64), order, 1)


class CustomFromMask(BasePruningMethod):
    """A mask that is given."""

    PRUNING_TYPE = "global"

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        if tuple(default_mask.shape) != tuple(self.mask.shape):
            raise AssertionError(
                f"default_mask shape {default_mask.shape} must match self.mask shape "
                f"{self.mask.shape}"
            )
        return default_mask * self.mask.to(default_mask.dtype)
