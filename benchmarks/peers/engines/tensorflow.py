"""TensorFlow: the whole step in a `tf.function`, with and without `jit_compile`.

AdamW is the decay and TensorFlow's own fused Adam kernel, one call for each weight, which is what
the optimiser of Keras comes down to. Answers have their weights as constants (a frozen graph).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.peers.engines import channels
from benchmarks.peers.engines.task import Runner, Task, turns
from benchmarks.peers.losses import BETAS, DECAY, EPSILON, RATE
from benchmarks.peers.weights import laid_out


def load(threads: int) -> str:
    """Import it."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    return tf.__version__


def make(task: Task) -> Runner:
    """A runner; `task.options["jit"]` asks for XLA."""
    return _training(task) if task.train else _answering(task)


def _training(task: Task) -> Runner:
    import tensorflow as tf

    from benchmarks.peers.engines.tensorflow_ops import AXES, LOSSES, Ops

    values = {name: tf.Variable(a) for name, a in laid_out(task.weights, AXES).items()}
    params = [v for name, v in values.items() if name not in task.weights.buffers]
    feed = turns(
        [tuple(tuple(map(tf.constant, part)) for part in batch) for batch in channels.last(task)]
    )
    update, loss_of = _adamw(tf, params), LOSSES[task.case.loss]

    jit = bool(task.options.get("jit"))

    @tf.function(jit_compile=jit, autograph=False)
    def step(inputs: Any, targets: Any) -> Any:
        o = Ops(values, train=True, unroll=not jit)
        with tf.GradientTape() as tape:
            loss = loss_of(task.case.forward(o, *inputs), *targets)
        for name, value in o.updates.items():
            values[name].assign(value)
        update(tape.gradient(loss, params))
        return loss

    return _repeated(lambda: step(*next(feed)), lambda loss: loss.numpy())


def _adamw(tf: Any, params: list[Any]) -> Any:
    """What to do with the gradients."""
    first, second = ([tf.Variable(tf.zeros_like(p)) for p in params] for _ in range(2))
    powers = [tf.Variable(beta) for beta in BETAS]

    def update(grads: list[Any]) -> None:
        for p, m, v, g in zip(params, first, second, grads):
            p.assign(p * (1 - RATE * DECAY))
            tf.raw_ops.ResourceApplyAdam(
                var=p.handle, m=m.handle, v=v.handle, beta1_power=powers[0], beta2_power=powers[1],
                lr=RATE, beta1=BETAS[0], beta2=BETAS[1], epsilon=EPSILON,
                grad=tf.convert_to_tensor(g),
            )  # fmt: skip
        for power, beta in zip(powers, BETAS):
            power.assign(power * beta)

    return update


def _answering(task: Task) -> Runner:
    import tensorflow as tf

    from benchmarks.peers.engines.tensorflow_ops import AXES, Ops

    weights = {name: tf.constant(a) for name, a in laid_out(task.weights, AXES).items()}
    inputs = tuple(map(tf.constant, channels.last(task)[0][0]))
    jit = bool(task.options.get("jit"))

    @tf.function(jit_compile=jit, autograph=False)
    def answer(*inputs: Any) -> Any:
        o = Ops(weights, train=False, unroll=not jit or task.batch > 1)
        return task.case.forward(o, *inputs)

    call = answer.get_concrete_function(*inputs)
    return _repeated(
        lambda: call(*inputs), lambda output: channels.first(task, output.numpy()), wait=True
    )


def _repeated(call: Any, value: Any, wait: bool = False) -> Runner:
    last: list[Any] = [None]

    def run(steps: int) -> None:
        for _ in range(steps):
            last[0] = call()
            if wait:
                last[0].numpy()
        last[0].numpy()

    return Runner(run, lambda: np.asarray(value(last[0])))
