"""Normalisation layers, in training and evaluation."""

from __future__ import annotations

from tests.nn.cases.case import Cases, X, u, v, x

CASES = Cases()
c = CASES
shapes = {1: (4, 3, 2), 2: (2, 3, 4, 2), 3: (2, 3, 2, 2, 2)}
for d, shape in shapes.items():
    for train in (True, False):
        c.layer(f"BatchNorm{d}d", 3, on=X(shape), train=train)
        c.layer(f"BatchNorm{d}d", 3, affine=False, track_running_stats=False, on=X(shape), train=train)
    c.layer(f"LazyBatchNorm{d}d", on=X(shape))
    c.layer(f"InstanceNorm{d}d", 3, on=X(shape))
    c.layer(f"LazyInstanceNorm{d}d", on=X(shape))
    for train in (True, False):
        c.layer(f"InstanceNorm{d}d", 3, affine=True, track_running_stats=True, on=X(shape), train=train)
    c.layer(f"InstanceNorm{d}d", 3, on=X((3, 4, *shape[3:])), tag="unbatched")
c.layer("BatchNorm1d", 3, eps=0.1, momentum=0.3, on=x(5, 3))
c.layer("BatchNorm1d", 3, momentum=None, on=x(5, 3))
c.layer("BatchNorm1d", 3, bias=False, on=x(5, 3))
c.layer("BatchNorm2d", 3, track_running_stats=False, train=False, on=x(2, 3, 2, 2))
c.layer("LayerNorm", 4, on=x(2, 3, 4))
c.layer("LayerNorm", (3, 4), eps=0.1, on=x(2, 3, 4))
c.layer("LayerNorm", [4], elementwise_affine=False, on=x(3, 4))
c.layer("LayerNorm", 4, bias=False, on=x(3, 4))
c.layer("RMSNorm", 4, on=x(2, 3, 4))
c.layer("RMSNorm", (3, 4), eps=0.1, elementwise_affine=False, on=x(2, 3, 4))
c.layer("GroupNorm", 2, 4, on=x(2, 4, 3))
c.layer("GroupNorm", 1, 4, eps=0.1, on=x(2, 4, 3, 2))
c.layer("GroupNorm", 4, 4, affine=False, on=x(2, 4, 3))
c.layer("GroupNorm", 2, 4, on=x(3, 4))
c.layer("LocalResponseNorm", 3, on=x(2, 5, 3))
c.layer("LocalResponseNorm", 2, alpha=0.1, beta=0.5, k=2.0, on=x(2, 5, 3, 2))
mean, var = x(3, grad=False), u(3, low=0.5, grad=False)
c.function("batch_norm", x(4, 3), mean, var)
c.function("batch_norm", x(4, 3), mean, var, weight=x(3), bias=x(3), training=True)
c.function("batch_norm", x(4, 3), None, None, training=True, eps=0.2)
c.function("layer_norm", x(2, 3), (3,))
c.function("layer_norm", x(2, 3), (3,), weight=x(3), bias=x(3), eps=0.3)
c.function("layer_norm", v([[1e4, 1e4 + 1, 1e4 + 2]], grad=True), (3,), rtol32=1e-2)
c.function("instance_norm", x(2, 3, 4), weight=x(3), bias=x(3))
c.function("instance_norm", x(2, 3, 4), mean, var, use_input_stats=False)
c.function("group_norm", x(2, 4, 3), 2, weight=x(4), bias=x(4))
c.function("rms_norm", x(2, 3), (3,), weight=x(3))
