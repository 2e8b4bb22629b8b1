"""Who is compared, and how each is set up: the settings here are what the page shows.

A peer is a framework in one mode. Settings are those that its documentation recommends for a CPU;
where it leaves a choice, the one that was faster here in most cases. Everyone computes in float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ALL = ("train", "infer1", "infer32")


@dataclass(frozen=True)
class Peer:
    """A framework in one mode."""

    name: str
    label: str
    engine: str  # module in engines/
    framework: str  # what is imported
    packages: tuple[str, ...]  # what a user installs for it
    settings: str
    options: Mapping[str, Any] = field(default_factory=dict)
    times: tuple[str, ...] = ALL
    ours: bool = False
    convolutions: bool = False  # whether it is another form for cases of 2-d convolutions only

    @property
    def trains(self) -> bool:
        """Whether it can take a training step."""
        return "train" in self.times


_TORCH = "set_num_threads, float32 precision 'highest', channels-last images, AdamW(fused=True)"
_TENSORFLOW = (
    "channels-last, oneDNN on, fused batch norm and Adam kernels, weights frozen in inference"
)

PEERS = (
    Peer(
        "fanal", "Fanal", "fanal", "fanal", ("fanal",),
        "fanal.compile on the whole step (or on the model), set_num_threads",
        {"compile": True}, ours=True,
    ),
    Peer(
        "fanal-eager", "Fanal eager", "fanal", "fanal", ("fanal",),
        "as written, set_num_threads", ours=True,
    ),
    Peer(
        "fanal-winograd", "Fanal (Winograd)", "fanal", "fanal", ("fanal",),
        "fanal.compile(model, options={'winograd': True}): 3×3 convolutions by Winograd's algorithm, "
        "which is off by default and no part of the ratios to peers",
        {"compile": True, "winograd": True}, times=("infer1", "infer32"), ours=True, convolutions=True,
    ),
    Peer("torch-eager", "PyTorch", "torch", "torch", ("torch",), _TORCH + ", inference_mode"),
    Peer(
        "torch-compile", "torch.compile", "torch", "torch", ("torch",),
        _TORCH + "; torch.compile(model), its default mode in training; freezing and mode "
        "max-autotune-no-cudagraphs in inference; nn.LSTM stays eager in it",
        {"compile": True},
    ),
    Peer(
        "jax", "JAX", "jax", "jax", ("jax", "optax"),
        "jit of the whole step, donated state, channels-last, optax.adamw, float32 by default",
    ),
    Peer(
        "tensorflow", "TensorFlow", "tensorflow", "tensorflow", ("tensorflow-cpu",),
        "tf.function of the whole step, " + _TENSORFLOW,
    ),
    Peer(
        "tensorflow-xla", "TensorFlow XLA", "tensorflow", "tensorflow", ("tensorflow-cpu",),
        "tf.function(jit_compile=True) of the whole step, " + _TENSORFLOW, {"jit": True},
    ),
    Peer(
        "onnxruntime", "ONNX Runtime", "onnxruntime", "onnxruntime", ("onnxruntime",),
        "exported by torch.onnx, ORT_ENABLE_ALL, sequential, intra-op threads, bound inputs and "
        "outputs",
        times=("infer1", "infer32"),
    ),
    Peer(
        "openvino", "OpenVINO", "openvino", "openvino", ("openvino",),
        "exported by torch.onnx, LATENCY hint, one stream, precision hint f32, shared inputs",
        times=("infer1", "infer32"),
    ),
)  # fmt: skip
NAMES = tuple(peer.name for peer in PEERS)

# What a model becomes to be shipped: compared by `python -m benchmarks.edge`, on one thread.
SHIPPED = (
    Peer(
        "library", "Fanal library", "library", "fanal", ("fanal",),
        "fanal.export, fanal.edge.build: a native library with its weights in panels, called through ctypes",
        times=("infer1",), ours=True,
    ),
    Peer(
        "library-folded", "Fanal library (folded)", "library", "fanal", ("fanal",),
        "the same with fold_batch_norm=True, as all others fold theirs: other roundings than eager mode's",
        {"fold_batch_norm": True}, times=("infer1",), ours=True,
    ),
    Peer(
        "litert", "LiteRT", "litert", "ai_edge_litert", ("ai-edge-litert",),
        "converted by tf.lite from a frozen tf.function, XNNPACK delegate (the default), one tensor in, one out",
        times=("infer1",),
    ),
    Peer(
        "executorch", "ExecuTorch", "executorch", "executorch", ("executorch",),
        "torch.export, lowered to XNNPACK (to_edge_transform_and_lower), the Python runtime's method",
        times=("infer1",),
    ),
)  # fmt: skip


def named(name: str) -> Peer:
    """The peer of that name."""
    for peer in (*PEERS, *SHIPPED):
        if peer.name == name:
            return peer
    raise ValueError(f"[peers] no such peer: got {name!r}; expected one of {', '.join(NAMES)}.")
