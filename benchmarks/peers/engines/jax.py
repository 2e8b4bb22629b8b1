"""JAX: the whole step under `jit`, its state donated; `optax.adamw`.

Steps follow one another as in a training loop: only the last one's loss is waited for. Each answer
is waited for.
"""

from __future__ import annotations

import numpy as np

from benchmarks.peers.engines import channels
from benchmarks.peers.engines.task import Runner, Task, turns
from benchmarks.peers.losses import BETAS, DECAY, EPSILON, RATE
from benchmarks.peers.weights import laid_out


def load(threads: int) -> str:
    """Import it (threads are bounded by the process's affinity and XLA_FLAGS)."""
    import jax

    jax.numpy.zeros(1).block_until_ready()  # the client starts lazily: part of getting it in
    return jax.__version__


def make(task: Task) -> Runner:
    """A runner."""
    return _training(task) if task.train else _answering(task)


def _training(task: Task) -> Runner:
    import jax
    import jax.numpy as jnp
    import optax

    from benchmarks.peers.engines.jax_ops import AXES, LOSSES, Ops

    arrays = {name: jnp.array(a) for name, a in laid_out(task.weights, AXES).items()}
    buffers = {name: a for name, a in arrays.items() if name in task.weights.buffers}
    params = {name: a for name, a in arrays.items() if name not in buffers}
    feed = turns(
        [tuple(tuple(map(jnp.array, part)) for part in batch) for batch in channels.last(task)]
    )
    adamw = optax.adamw(RATE, *BETAS, eps=EPSILON, weight_decay=DECAY)
    loss_of = LOSSES[task.case.loss]

    def loss(params, buffers, inputs, targets):  # type: ignore[no-untyped-def]
        o = Ops({**params, **buffers}, train=True)
        return loss_of(task.case.forward(o, *inputs), *targets), o.updates

    def step(params, buffers, state, inputs, targets):  # type: ignore[no-untyped-def]
        (value, buffers), grads = jax.value_and_grad(loss, has_aux=True)(
            params, buffers, inputs, targets
        )
        updates, state = adamw.update(grads, state, params)
        return optax.apply_updates(params, updates), buffers, state, value

    compiled = jax.jit(step, donate_argnums=(0, 1, 2))
    held = [params, buffers, adamw.init(params), None]

    def run(steps: int) -> None:
        for _ in range(steps):
            held[:] = compiled(*held[:3], *next(feed))
        held[3].block_until_ready()

    return Runner(run, lambda: np.asarray(held[3]))


def _answering(task: Task) -> Runner:
    import jax
    import jax.numpy as jnp

    from benchmarks.peers.engines.jax_ops import AXES, Ops

    weights = {name: jnp.array(a) for name, a in laid_out(task.weights, AXES).items()}
    inputs = tuple(map(jnp.array, channels.last(task)[0][0]))
    compiled = jax.jit(lambda weights, *xs: task.case.forward(Ops(weights, train=False), *xs))
    last = [None]

    def run(steps: int) -> None:
        for _ in range(steps):
            last[0] = compiled(weights, *inputs).block_until_ready()

    return Runner(run, lambda: channels.first(task, np.asarray(last[0])))
