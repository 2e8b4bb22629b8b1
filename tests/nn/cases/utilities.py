"""nn.utils: norms of gradients, reparametrisations, pruning, fusion, functional calls."""

from __future__ import annotations

from typing import Any

from tests.nn.cases.case import Cases, M, x

CASES = Cases()
c = CASES
inf = float("inf")
linear = M("Linear", (4, 3))
net = M("Sequential", (linear, M("Tanh"), M("Linear", (3, 2))))


def clipped(library: Any, module: Any, x: Any, name: str, *args: Any, **options: Any) -> Any:
    """The gradients after clipping, and what the function returned."""
    module.zero_grad()
    module(x.detach()).pow(2).sum().backward()
    found = getattr(library.nn.utils, name)(module.parameters(), *args, **options)
    grads = [p.grad.clone() for p in module.parameters()]
    module.zero_grad()
    return *grads, found


for norm in (2.0, 1.0, inf, 3.0):
    c.body("clip_grad_norm_", clipped, net, x(5, 4), "clip_grad_norm_", 0.7, call={"norm_type": norm})
c.body("clip_grad_norm_", clipped, net, x(5, 4), "clip_grad_norm_", 1e6)
c.body("clip_grad_value_", clipped, net, x(5, 4), "clip_grad_value_", 0.05)


def total_norm(library: Any, *tensors: Any, **options: Any) -> Any:
    return library.nn.utils.get_total_norm(tensors, **options)


c.body("get_total_norm", total_norm, x(3, 2), x(4))
c.body("get_total_norm", total_norm, x(3, 2), x(4), call={"norm_type": inf})


def vector(library: Any, module: Any, x: Any) -> Any:
    utils = library.nn.utils
    flat = utils.parameters_to_vector(module.parameters())
    utils.vector_to_parameters(flat.detach() * 2, module.parameters())
    return flat, module(x)


c.body("vectors", vector, net, x(5, 4))


def changed(library: Any, module: Any, x: Any, path: str, *args: Any, **options: Any) -> Any:
    """A function of nn.utils on a layer, whose state dict is part of what is compared."""
    function = library.nn.utils
    for name in path.split("."):
        function = getattr(function, name)
    return function(module, *args, **options)(x)


c.body("weight_norm", changed, linear, x(5, 4), "weight_norm")
c.body("weight_norm", changed, linear, x(5, 4), "weight_norm", call={"dim": 1})
c.body("weight_norm", changed, linear, x(5, 4), "weight_norm", call={"dim": None})
c.body("parametrizations.weight_norm", changed, linear, x(5, 4), "parametrizations.weight_norm")
c.body("parametrizations.weight_norm", changed, M("Conv2d", (2, 3, 2)), x(1, 2, 3, 3),
       "parametrizations.weight_norm", call={"dim": 1})  # fmt: skip
for kind in ("matrix_exp", "cayley", "householder"):
    c.body("orthogonal", changed, M("Linear", (3, 3)), x(5, 3), "parametrizations.orthogonal",
           call={"orthogonal_map": kind, "use_trivialization": False}, rtol=1e-7)  # fmt: skip


def symmetric(library: Any, module: Any, x: Any) -> Any:
    nn = library.nn

    class Symmetric(nn.Module):  # type: ignore[misc,name-defined]
        def forward(self, w: Any) -> Any:
            return (w + w.mT) / 2

        def right_inverse(self, w: Any) -> Any:
            return w

    utils = nn.utils.parametrize
    utils.register_parametrization(module, "weight", Symmetric())
    assert utils.is_parametrized(module, "weight")
    first = module(x)
    module.weight = module.weight.detach() * 2
    second = module(x)
    utils.remove_parametrizations(module, "weight")
    return first, second, module(x)


c.body("parametrize", symmetric, M("Linear", (4, 4)), x(5, 4))


def pruned(library: Any, module: Any, x: Any, name: str, *args: Any, **options: Any) -> Any:
    prune = library.nn.utils.prune
    getattr(prune, name)(module, "weight", *args, **options)
    assert prune.is_pruned(module)
    return module(x), module.weight_mask


c.body("prune", pruned, linear, x(5, 4), "l1_unstructured", 0.5)
c.body("prune", pruned, linear, x(5, 4), "l1_unstructured", 3)
c.body("prune", pruned, linear, x(5, 4), "ln_structured", 1, 2, 0)
c.body("prune", pruned, linear, x(5, 4), "ln_structured", 0.5, 1, 1)
c.body("prune", pruned, linear, x(5, 4), "identity")


def pruned_twice(library: Any, module: Any, x: Any) -> Any:
    prune = library.nn.utils.prune
    first, second = module[0], module[2]
    prune.global_unstructured(
        [(first, "weight"), (second, "weight")], pruning_method=prune.L1Unstructured, amount=5
    )
    prune.ln_structured(first, "weight", 1, 2, dim=0)
    prune.remove(second, "weight")
    return module(x), first.weight_mask, second.weight


c.body("prune", pruned_twice, net, x(5, 4), tag="twice")


def fused(library: Any, module: Any, x: Any, name: str) -> Any:
    first, norm = module.eval()
    return getattr(library.nn.utils, name)(first, norm)(x), module(x)


def with_norm(layer: M, norm: str) -> M:
    return M("Sequential", (layer, M(norm, (3,))))


c.body("fusion", fused, with_norm(M("Conv2d", (2, 3, 2)), "BatchNorm2d"), x(1, 2, 4, 4),
       "fuse_conv_bn_eval")  # fmt: skip
c.body("fusion", fused, with_norm(M("Conv2d", (2, 3, 2), {"bias": False}), "BatchNorm2d"),
       x(1, 2, 4, 4), "fuse_conv_bn_eval")  # fmt: skip
c.body("fusion", fused, with_norm(linear, "BatchNorm1d"), x(5, 4), "fuse_linear_bn_eval")


def functional(library: Any, module: Any, x: Any, weight: Any) -> Any:
    call = library.nn.utils.stateless.functional_call
    before = module(x)
    other = call(module, {"0.weight": weight}, (x,))
    return before, other, module(x)


c.body("functional_call", functional, net, x(5, 4), x(3, 4))
