"""LiteRT (TensorFlow Lite): the model as `python -m … CASE FOLDER` wrote it, with the XNNPACK delegate.

The conversion runs in a process of its own, since it needs TensorFlow, which an application does not.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from benchmarks.peers.engines import channels
from benchmarks.peers.engines.task import Runner, Task


def load(threads: int) -> str:
    """Import it."""
    from importlib.metadata import version

    import ai_edge_litert.interpreter  # noqa: F401

    return version("ai-edge-litert")


def make(task: Task) -> Runner:
    """A runner."""
    from ai_edge_litert.interpreter import Interpreter

    path = model_path(task.folder)
    subprocess.run(
        [sys.executable, "-m", __name__, task.case.name, str(task.folder)], check=True, stdout=subprocess.DEVNULL
    )
    interpreter = Interpreter(model_path=str(path), num_threads=task.threads)
    interpreter.allocate_tensors()
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.set_tensor(taken["index"], channels.last(task)[0][0][0])

    def run(steps: int) -> None:
        for _ in range(steps):
            interpreter.invoke()

    return Runner(run, lambda: channels.first(task, np.array(interpreter.get_tensor(given["index"]))))


def model_path(folder: Path) -> Path:
    """Where the converted model lies."""
    return folder / "model.tflite"


def convert(name: str, folder: Path) -> None:
    """Write the model at batch 1."""
    import tensorflow as tf

    from benchmarks.peers import cases
    from benchmarks.peers.engines.tensorflow_ops import AXES, Ops
    from benchmarks.peers.weights import laid_out

    task = Task(cases.load(name), False, 1, 1, folder, folder)
    weights = {key: tf.constant(a) for key, a in laid_out(task.weights, AXES).items()}
    inputs = tuple(map(tf.constant, channels.last(task)[0][0]))

    @tf.function(autograph=False, input_signature=[tf.TensorSpec(x.shape, x.dtype) for x in inputs])
    def answer(*inputs):
        return task.case.forward(Ops(weights, train=False, unroll=True), *inputs)

    converter = tf.lite.TFLiteConverter.from_concrete_functions([answer.get_concrete_function()])
    model_path(folder).write_bytes(converter.convert())


if __name__ == "__main__":
    convert(sys.argv[1], Path(sys.argv[2]))
