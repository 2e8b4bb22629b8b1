"""OpenVINO: the same exported model, compiled for latency, computing in float32."""

from __future__ import annotations

import numpy as np

from benchmarks.peers.engines.task import Runner, Task
from benchmarks.peers.export import model_path


def load(threads: int) -> str:
    """Import it."""
    import openvino

    return openvino.__version__.split("-")[0]


def make(task: Task) -> Runner:
    """A runner; on processors with bfloat16 units the precision must be asked for."""
    import openvino as ov

    core = ov.Core()
    core.set_property({"CACHE_DIR": str(task.cache / "openvino")})
    compiled = core.compile_model(
        core.read_model(model_path(task.folder, task.batch)), "CPU",
        {
            "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": task.threads,
            "INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": 1,
        },
    )  # fmt: skip
    request = compiled.create_infer_request()
    for i, array in enumerate(task.data[0][0]):
        request.set_input_tensor(i, ov.Tensor(array, shared_memory=True))

    def run(steps: int) -> None:
        for _ in range(steps):
            request.infer()

    used = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    return Runner(
        run, lambda: np.array(request.get_output_tensor(0).data), [f"inference precision {used}"]
    )
