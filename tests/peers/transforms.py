"""The same lines on `torch.func` and `fanal.func`: results and kinds of errors side by side.

    python -m tests.peers.transforms          # prints what differs; 1 if something new does
    python -m tests.peers.transforms --chains # and transforms of transforms, a few minutes

Needs PyTorch (`pip install -e .[peers]`); no everyday test.
"""

from __future__ import annotations

import itertools
import sys
import warnings
import zlib
from typing import Any

import numpy as np

# `f` the library, `t` its transforms, `x` (3,), `m` (3, 2), `g` a 0-d one, `w` a leaf that requires grad.
LINES = """
t.jvp(lambda a: a * a.detach(), (x,), (x,))
t.jvp(in_no_grad, (x,), (x,))
t.vjp(in_no_grad, x)[1](x)
t.grad(lambda a: in_no_grad(a).sum())(x)
t.grad(lambda a: t.vmap(in_no_grad)(a).sum())(m)
t.grad(lambda a: written_detached(a))(x)
t.grad(lambda a: t.vmap(written_detached)(a).sum())(m)
t.jvp(written_detached, (x,), (x,))
t.grad(lambda a: a.mul_(2).sum())(x)
t.grad(lambda a: (a * 1).mul_(2).sum())(x)
t.jvp(lambda a: a.mul_(2), (x,), (x * 1,))
(t.vmap(lambda a: a.add_(1))(x), x)
t.vmap(lambda a: x[0].add_(a))(x * 1)
(t.vmap(lambda a: (x.add_(1), a)[1])(m), x)
t.grad(lambda a: (x.add_(1), a.sum())[1])(x * 2)
t.vmap(lambda a: a.item())(x)
t.vmap(lambda a: a if a > 0 else -a)(x)
t.vmap(lambda a: a * (x * 2)[0].item())(x)
t.grad(lambda a: (a * a.sum().item()).sum())(x)
t.jvp(lambda a: (a * a.sum().item()).sum(), (x,), (x,))
t.jvp(lambda a: a.argmax(), (x,), (x,))
t.jvp(lambda a: f.ones(2), (x,), (x,))
t.jvp(lambda a: f.ones(2), (x,), (x,), strict=True)
t.grad(lambda a: ((w * a).sum().backward(), a.sum())[1])(x)
t.grad(lambda a: (f.autograd.grad((w * a).sum(), w, create_graph=True)[0] * a).sum())(x)
t.grad(lambda a: (a * w).sum())(x).requires_grad
t.grad_and_value(lambda a: (a * a).sum())(x)[1].requires_grad
t.grad_and_value(lambda a: (a * a * w).sum())(x)[1].requires_grad
t.vmap(lambda a: a + f.rand(3))(x)
t.vmap(lambda a: a, randomness="x")(x)
t.vmap(lambda a: a.nonzero())(m)
t.vmap(lambda a: a[a > 0])(m)
t.vmap(masked)(m)
t.vmap(lambda a, b: a + b, in_dims=(0, 1))(m, m)
t.vmap(lambda a, b: a + b, in_dims=(None, None))(m, m)
t.vmap(lambda: x)()
t.vmap(lambda a, b: a * b)(x, 2)
t.vmap(lambda a: a, in_dims="a")(x)
t.vmap(lambda a: a, in_dims=[0])(x)
t.vmap(lambda a: a, in_dims=(0, 0))(x)
t.vmap(lambda a: a["x"], in_dims=({"x": 0, "y": None},))({"x": x})
t.vmap(lambda a: a, in_dims=(0.5,))(x)
t.vmap(lambda a: a, in_dims=3)(x)
t.vmap(lambda a: a * 2, in_dims=-1, out_dims=-1)(m)
t.vmap(lambda a: 3.0)(x)
t.vmap(lambda a: None)(x)
t.vmap(lambda a: a, out_dims=None)(x)
t.vmap(lambda a: w, out_dims=None)(x)
t.vmap(lambda a: (a, 3.0), out_dims=(0, None))(x)
t.vmap(lambda a: (a, a), out_dims=(0, 0, 0))(x)
t.vmap(lambda a: a, out_dims=(0, 0))(x)
t.vmap(lambda a: a, out_dims="a")(x)
t.vmap(lambda a: a, out_dims=2)(x)
t.vmap(lambda a: w)(x)
t.vmap(lambda a: a, chunk_size=0)(x)
t.vmap(lambda a: a * 2, chunk_size=2)(m)
t.vmap(lambda a: a * 2)(f.ones(0, 3))
t.vmap(lambda a, s: a * s)(x, s=x)
t.grad(lambda a: a)(x)
t.grad(lambda a: 3.0)(x)
t.grad(lambda a: a.sum())(f.tensor([1, 2]))
t.grad(lambda a: a)(3.0)
t.grad(lambda a: a.sum(), argnums=2)(x)
t.grad(lambda a: a.sum(), argnums=(0, 0))(x)
t.grad(lambda a: a.sum(), argnums=())(x)
t.grad(lambda a: a.sum(), argnums=[0])(x)
t.grad(lambda a: a.sum(), has_aux=True)(x)
t.grad(lambda a: (a.sum(), "hi"), has_aux=True)(x)
t.grad(lambda a: (a.sum(), [a, {"k": a}]), has_aux=True)(x)
t.grad(lambda a: f.ones(()))(x)
t.grad(lambda a, b=2: (a * b).sum())(x, b=x)
t.grad(lambda d: (d["a"] * d["b"][0]).sum())({"a": x, "b": [x]})
t.vjp(lambda a: a.argmax(), x)
t.vjp(lambda a: a, x)[1]((x,))
t.vjp(lambda a: a, x)[1](f.ones(2))
t.vjp(lambda a: None, x)
t.vjp(lambda a: 3.0, x)
t.jvp(lambda a: a * 2, (x,), (f.ones(2),))
t.jvp(lambda a: a * 2, (x,), ())
t.jvp(lambda a: a * 2, x, x)
t.jvp(lambda a: a * 2, (f.tensor([1, 2]),), (f.tensor([1, 1]),))
t.jvp(lambda: x, (), ())
t.jacrev(lambda a: (a * 2, a), has_aux=True)(x)
t.jacrev(lambda a, b: a * b, argnums=(0,))(x, x)
t.jacrev(lambda a: {"o": a["x"] * 2})({"x": x})
t.jacfwd(lambda a: a.argmax())(x)
t.jacfwd(lambda a: {"o": a["x"] * 2})({"x": x})
t.hessian(lambda a, b: (a * a * b).sum(), argnums=(0, 1))(x, x)
t.linearize(lambda a: a * a, x)[1](x)
t.linearize(lambda a: a * a, x)[1](f.ones(2))
t.functional_call(layer, {"weight": f.ones(2, 3), "bias": f.zeros(2)}, x)
t.functional_call(layer, {"weight": f.ones(2, 3)}, (x,), strict=True)
t.functional_call(layer, ({"weight": f.ones(2, 3)}, {"weight": f.ones(2, 3)}), (x,))
t.functional_call(layer, 3, (x,))
t.stack_module_state([])
"""

# Where Fanal does more, or another thing that is meant.
MEANT = {
    "t.grad(lambda a: (x.add_(1), a.sum())[1])(x * 2)": "writes to tensors from outside are allowed",
    "t.grad(lambda a: (f.autograd.grad((w * a).sum(), w, create_graph=True)[0] * a).sum())(x)":
        "there is one tape for all levels",
    "t.vmap(masked)(m)": "a mask with one value needs no shape that depends on elements",
}


class Library:
    """One of the two, with the names that lines use."""

    def __init__(self, name: str) -> None:
        if name == "torch":
            import torch as f
            import torch.func as t
        else:
            import fanal as f  # type: ignore[no-redef]
            import fanal.func as t  # type: ignore[no-redef]
            import fanal.nn  # noqa: F401
        self.f, self.t = f, t
        f.set_default_dtype(f.float64)

    def names(self) -> dict[str, Any]:
        """Fresh values for one line."""
        f = self.f

        def in_no_grad(a: Any) -> Any:
            with f.no_grad():
                c = a * a
            return a * 3 - c

        def written_detached(a: Any) -> Any:
            b = a * 2
            b.detach().mul_(10)
            return (b * b).sum()

        def masked(a: Any) -> Any:
            b = a.clone()
            b[a > 0] = 5.0
            return b

        layer = f.nn.Linear(3, 2)
        return {
            "f": f, "t": self.t, "x": f.tensor([1.0, 2.0, 3.0]), "layer": layer,
            "m": f.tensor([[1.0, -2.0], [3.0, 0.5], [-0.1, 2.0]]), "in_no_grad": in_no_grad,
            "w": f.tensor([0.5, 1.5, -1.0], requires_grad=True), "masked": masked,
            "written_detached": written_detached,
        }  # fmt: skip

    def run(self, line: str) -> Any:
        """The result as arrays, or the name of the error."""
        try:
            return self.plain(eval(line, self.names()))
        except Exception as error:
            return f"{next(c for c in type(error).__mro__ if c.__module__ == 'builtins').__name__}"

    def plain(self, result: Any) -> Any:
        if isinstance(result, self.f.Tensor):
            return np.asarray(result.detach().numpy())
        if isinstance(result, dict):
            return {k: self.plain(v) for k, v in result.items()}
        if isinstance(result, tuple | list):
            return [self.plain(v) for v in result]
        return result


def same(a: Any, b: Any) -> bool:
    """Whether two plain results agree."""
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.shape == b.shape and bool(np.allclose(a, b, 1e-7, 1e-9, equal_nan=True))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


def chains(library: Library) -> dict[str, Any]:
    """Transforms of transforms of the functions of tests/func/test_nesting."""
    f, t = library.f, library.t
    c, x = f.arange(16.0).reshape(4, 4).sin(), f.tensor([0.3, -1.2, 0.7, 1.9])
    functions = {
        "sin": lambda a: (a * c[1]).sin(), "softmax": lambda a: f.softmax(a @ c, -1),
        "cumprod": lambda a: f.cumprod(a + 2, 0), "index": lambda a: a[[2, 0, 1, 1]] * a.flip(0),
        "product": lambda a: (a.outer(a) @ c).sum(0).tanh(), "cat": lambda a: f.cat([a[2:] * a[:2], a[:2]]),
    }  # fmt: skip
    transforms = {
        "vmap": lambda h: lambda a: t.vmap(h)(f.stack([a, a * 0.5 + 0.1])),
        "grad": lambda h: t.grad(lambda a: (h(a) ** 2).sum()),
        "jacrev": lambda h: lambda a: t.jacrev(h)(a), "jacfwd": lambda h: lambda a: t.jacfwd(h)(a),
        "jvp": lambda h: lambda a: t.jvp(h, (a,), (a * 0.3 + 1.0,))[1],
        "vjp": lambda h: lambda a: (lambda o, pull: pull(o * 0 + 1.0)[0])(*t.vjp(h, a)),
    }  # fmt: skip
    found = {}
    for depth in (1, 2, 3):
        for name, chain in itertools.product(functions, itertools.product(transforms, repeat=depth)):
            key = f"{name}: {' of '.join(chain[::-1])}"
            if zlib.crc32(key.encode()) % (1, 1, 8)[depth - 1] == 0:
                h = functions[name]
                for step in chain:
                    h = transforms[step](h)
                found[key] = library.plain(h(x))
    return found


def main() -> int:
    warnings.simplefilter("ignore")
    theirs, ours = Library("torch"), Library("fanal")
    news = 0
    for line in LINES.strip().splitlines():
        a, b = theirs.run(line), ours.run(line)
        if not same(a, b):
            news += line not in MEANT
            print(f"{line}\n    torch: {a}\n    fanal: {b}\n    {MEANT.get(line, 'NEW')}")
    if "--chains" in sys.argv:
        pairs = [(k, a, b) for (k, a), b in zip(chains(theirs).items(), chains(ours).values(), strict=True)]
        for key, a, b in pairs:
            if not same(a, b):
                news += 1
                print(f"{key}\n    torch: {a}\n    fanal: {b}")
        print(f"{len(pairs)} chains")
    print("no new differences" if not news else f"{news} new differences")
    return min(news, 1)


if __name__ == "__main__":
    sys.exit(main())
