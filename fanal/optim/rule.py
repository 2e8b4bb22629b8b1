"""From the formula for one parameter to one native program for a group of them.

An optimiser's mathematics is a `Rule`: `numbers` computes what all elements of a parameter share (a
corrected step size) from the state's counters and the options, in float64; `one` computes a
parameter's and its moments' new values, in float32 at least. `Stepper` collects the parameters that
have a gradient and hands everything to `update`, which writes the results in place.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import repeat
from operator import is_
from types import SimpleNamespace
from typing import Any, NamedTuple

from fanal.autograd.mode import mode
from fanal.core import dispatch, dtypes
from fanal.core.cache import BoundedCache
from fanal.core.dispatch import recorder, tracing
from fanal.core.dtypes import DType
from fanal.core.stages import stage
from fanal.graph.ir import Builder, Value
from fanal.ops.layout import slice_dim
from fanal.ops.promotion import cast
from fanal.ops.shape import reshaped
from fanal.optim.optimizer import Group, Optimizer, with_closure
from fanal.optim.options import with_defaults
from fanal.optim.states import States
from fanal.tensor import creation
from fanal.tensor.layout import layout
from fanal.tensor.tensor import Tensor, allocate, new_tensor
from fanal.tensor.update import update

State = dict[str, Any]
_TYPES = 4096  # of parameters, whose formulas are kept


class Rule:
    """What a step computes: a function for `update`, made of two.

    numbers(columns, options, flags) → (new columns, coefficients): columns are the 0-d states of n
    parameters side by side, (n,) in float32; options are 0-d in float64; a coefficient is 0-d or
    (n,), and reaches `one` as a 0-d value in the parameter's computing dtype.

    one(p, g, moments, coefficients, flags) → (new p, new moments).
    """

    def __init__(
        self,
        name: str,
        numbers: Callable[..., tuple[list[Value], dict[str, Value]]],
        one: Callable[..., tuple[Value, list[Value]]],
    ):
        self.__name__, self.numbers, self.one = name, numbers, one
        self._graphs: BoundedCache = BoundedCache(_TYPES)

    def __call__(self, params: list[Value], *rest: Any, options: tuple[str, ...], flags: Any) -> Any:
        end = len(rest) - len(options)
        *moments, columns, grads = rest[:end]
        given = SimpleNamespace(**dict(zip(options, rest[end:], strict=True)))
        new_columns, coefficients = self.numbers(columns, given, flags)
        new_params: list[Value] = []
        new_moments: list[list[Value]] = [[] for _ in moments]
        for i, (p, g) in enumerate(zip(params, grads, strict=True)):
            wide = computing_dtype(p.dtype)
            k = {name: element(cast(v, wide), i) for name, v in coefficients.items()}
            p, *found = self._stepped(p, g, [m[i] for m in moments], k, flags)
            new_params.append(p)
            for some, value in zip(new_moments, found, strict=True):
                some.append(value)
        return new_params, *new_moments, new_columns

    def _stepped(
        self, p: Value, g: Value, moments: list[Value], k: dict[str, Value], flags: Any
    ) -> list[Value]:
        """One parameter's new value and moments. Parameters of the same types share the tracing."""
        given = [p, g, *moments, *k.values()]
        key = (tuple([v.type for v in given]), tuple(k), flags)
        graph = self._graphs.get(key)
        if graph is None:
            builder = Builder()
            inputs = [builder.input(v.dtype, v.shape) for v in given]

            def body() -> list[Value]:
                numbers = SimpleNamespace(**dict(zip(k, inputs[2 + len(moments) :], strict=True)))
                wide = computing_dtype(p.dtype)
                x, d, *mine = inputs[: 2 + len(moments)]
                d = cast(-d if flags.maximize else d, wide)
                mine = [cast(m, wide) for m in mine]
                x, found = self.one(cast(x, wide), d, mine, numbers, flags)
                return [x, *found]

            graph = self._graphs[key] = builder.graph(builder.trace(body))
        found: list[Value] = dispatch.state.tracer.inlined(graph, given)
        return found


def some_of(indices: list[int], params: Any, grads: Any, states: Any) -> tuple[Any, Any, Any]:
    """The parameters at some indices, with their gradients and states."""
    return (
        [params[i] for i in indices], [grads[i] for i in indices], [states[i] for i in indices]
    )


class Flags:
    """Static options of a rule, hashable and never built twice: `Flags.of(amsgrad=True).amsgrad`."""

    _interned: dict[Any, Flags] = {}

    def __init__(self, flags: dict[str, Any]):
        self.__dict__.update(flags)

    @classmethod
    def of(cls, **flags: Any) -> Any:
        """The flags of these values."""
        key = tuple(flags.items())
        found = cls._interned.get(key)
        return found or cls._interned.setdefault(key, cls(flags))


def computing_dtype(dtype: DType) -> DType:
    """Narrow floats are updated in float32 and rounded once, when they are stored."""
    return dtype if dtype.itemsize >= 4 else dtypes.float32


def element(v: Value, i: int) -> Any:
    """Element i of a vector, or a 0-d value itself, as a 0-d value."""
    return reshaped(slice_dim(v, 0, i, i + 1), ()) if v.ndim else v


def wide(v: Value) -> Any:
    """A value in float64."""
    return cast(v, dtypes.float64)


class Known(NamedTuple):
    """What a group's last step found: see `Stepper._active`."""

    ids: list[int]
    absent: list[bool]
    names: tuple[str, ...]
    state: States
    changes: int
    params: list[Tensor]
    states: list[State]


class Stepper(Optimizer):
    """An optimiser whose step is a rule. Subclasses say what it needs:

    rule, `_moments(group)` (names of states in a parameter's shape), `_columns` (names of 0-d
    states), `_options(group)` (numbers for the rule), `_flags(group)`.
    """

    rule: Rule
    _columns: tuple[str, ...] = ("step",)

    def _moments(self, group: Group) -> tuple[str, ...]:
        raise NotImplementedError

    def _options(self, group: Group) -> dict[str, float]:
        raise NotImplementedError

    def _flags(self, group: Group) -> Flags:
        raise NotImplementedError

    def _first(self, group: Group, name: str, p: Tensor) -> Any:
        """The value of a state before the first step."""
        if name in self._columns:
            return creation.tensor(0.0, dtype=counter_dtype())
        return creation.zeros_like(p.detach())

    def _new_state(self, group: Group, p: Tensor) -> State:
        names = (*self._columns, *self._moments(group))
        return {name: self._first(group, name, p) for name in names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        with_defaults(self.param_groups, self.defaults)
        self.__dict__.pop("_prepared_state", None)
        self.__dict__.pop("_known_groups", None)

    def prepare(self) -> None:
        """Make the state of all parameters now, not at the first step (for capturing a step)."""
        for group in self.param_groups:
            for p in group["params"]:
                if not self.state.get(p) and id(p) not in self._prepared:
                    self._prepared[id(p)] = self._new_state(group, p)

    def begin(self) -> None:
        """Give all parameters the state that they have before a step that is like all later ones."""
        self.prepare()
        for group in self.param_groups:
            for p in group["params"]:
                state: State = self.state[p]
                found = self._prepared.pop(id(p), None)
                if not state and found:
                    state.update(found)

    @property
    def _prepared(self) -> dict[int, State]:
        found: dict[int, State] = self.__dict__.setdefault("_prepared_state", {})
        return found

    def _state(self, group: Group, p: Tensor) -> State:
        state: State = self.state[p]
        if not state:
            prepared = self.__dict__.get("_prepared_state")
            found = prepared.pop(id(p), None) if prepared else None
            with tracing(None):  # a step that is captured finds its state, as all later ones do
                state.update(found or self._new_state(group, p))
        return state

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; `closure` computes the loss anew, and its result is returned."""
        loss = with_closure(closure)
        before = mode.enabled
        mode.enabled = bool(self.defaults.get("differentiable"))
        try:
            for group in self.param_groups:
                self._step_group(group)
        finally:
            mode.enabled = before
        return loss

    def _step_group(self, group: Group) -> None:
        params, grads, states = self._active(group)
        if not params:
            return
        if len(params) > 1 and len(set(map(id, params))) < len(params):
            for i in range(len(params)):  # a parameter that stands there twice is stepped twice
                self._apply(group, *some_of([i], params, grads, states))
        else:
            self._apply(group, params, grads, states)

    def _active(self, group: Group) -> tuple[list[Tensor], list[Tensor], list[State]]:
        """The parameters that have a gradient, their gradients and states.

        Looking the states up takes longer than all else, so they are remembered for as long as the
        same parameters have gradients and no state has come or gone.
        """
        given = group["params"]
        listening = recorder()
        if listening is not None:
            for p in given:
                listening.grad_read(p)
        found = [p._grad for p in given]
        absent = list(map(is_, found, repeat(None)))
        grads: list[Any] = [g for g in found if g is not None] if any(absent) else found
        state, names = self.state, self._moments(group)
        known = self._known.get(id(group))
        if (
            known is not None and known.absent == absent and known.ids == list(map(id, given))
            and known.state is state and known.changes == state.changes and known.names == names
        ):  # fmt: skip
            return known.params, grads, known.states
        params = [p for p, none in zip(given, absent, strict=True) if not none]
        with stage("states"):
            states = [self._state(group, p) for p in params]
        if type(state) is States:
            self._known[id(group)] = Known(
                list(map(id, given)), absent, names, state, state.changes, params, states
            )
        return params, grads, states

    @property
    def _known(self) -> dict[int, Known]:
        return self.__dict__.setdefault("_known_groups", {})

    def _apply(
        self, group: Group, params: list[Tensor], grads: list[Tensor], states: list[State],
        **changed: float,
    ) -> None:  # fmt: skip
        """Step parameters that all have a gradient and a state: one program."""
        options = {**self._options(group), **changed}
        listening = recorder()
        if listening is not None:
            options = listening.live(self, group, changed, options)
        targets = [params]
        targets += [[s[name] for s in states] for name in self._moments(group)]
        targets.append([packed(states, name) for name in self._columns])
        update(
            self.rule, targets, [grads], tuple(options.values()),
            options=tuple(options), flags=self._flags(group),
        )  # fmt: skip


def counter_dtype() -> DType:
    """The dtype of 0-d states."""
    default = dtypes.get_default_dtype()
    return default if default is dtypes.float64 else dtypes.float32


def packed(states: list[State], name: str) -> Tensor:
    """The 0-d states of several parameters as one vector, (n,), of the same memory.

    They are moved next to one another when they are not; each stays the tensor that it was.
    """
    try:
        pointers = [s[name]._ptr for s in states]
    except AttributeError:  # a number, from an old checkpoint
        return _moved_together(states, name)
    first = states[0][name]
    l = first._layout
    end = first._ptr + len(states) * l.dtype.itemsize
    if pointers == list(range(first._ptr, end, l.dtype.itemsize)):
        return new_tensor(first._storage, layout(l.dtype, (len(states),), (1,)), first._ptr)
    return _moved_together(states, name)


def _moved_together(states: list[State], name: str) -> Tensor:
    with tracing(None):
        return _packed_anew(states, name)


def _packed_anew(states: list[State], name: str) -> Tensor:
    values = [float(s[name]) for s in states]
    dtype = counter_dtype()
    whole = allocate(layout(dtype, (len(states),)))
    whole.copy_(creation.tensor(values, dtype=dtype))
    single = layout(dtype, ())
    for i, state in enumerate(states):
        pointer = whole._ptr + i * dtype.itemsize
        if type(state[name]) is Tensor:
            t = state[name]
            t._storage, t._layout, t._ptr = whole._storage, single, pointer
        else:
            state[name] = new_tensor(whole._storage, single, pointer)
    return whole

