"""ONNX Runtime: the model as `export.py` wrote it, all graph optimisations, inputs and outputs
bound."""

from __future__ import annotations

import numpy as np

from benchmarks.peers.engines.task import Runner, Task
from benchmarks.peers.export import model_path


def load(threads: int) -> str:
    """Import it."""
    import onnxruntime

    return onnxruntime.__version__


def make(task: Task) -> Runner:
    """A runner."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.intra_op_num_threads, options.inter_op_num_threads = task.threads, 1
    path = model_path(task.folder, task.batch)
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    for spec, array in zip(session.get_inputs(), task.data[0][0]):
        binding.bind_ortvalue_input(spec.name, ort.OrtValue.ortvalue_from_numpy(array))
    binding.bind_output(session.get_outputs()[0].name, "cpu")

    def run(steps: int) -> None:
        for _ in range(steps):
            session.run_with_iobinding(binding)

    return Runner(run, lambda: np.asarray(binding.get_outputs()[0].numpy()))
