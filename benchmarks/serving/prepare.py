"""Makes what the servers of a case need, in a process of its own: `python -m benchmarks.serving.prepare CASE FOLDER`.

weights.npz (what all start from), model.fanal, inputs.npy, answers.npy (Fanal's, in eager mode), facts.json.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.peers import weights
from benchmarks.serving.networks import NETWORKS, SECONDS, Network

WIDTHS = range(512, 8192 + 1, 256)


def prepare(network: Network, folder: Path) -> None:
    """Write all of it."""
    import fanal
    from fanal.export import Dim, export, save

    folder.mkdir(parents=True, exist_ok=True)
    fanal.set_num_threads(1)
    width = wide_enough(network) if network.sized else 0
    module = network.build(fanal, width).eval()
    weights.make(module, folder / "weights.npz")
    held = weights.load(folder / "weights.npz").arrays
    module.load_state_dict({k: fanal.from_numpy(v) for k, v in held.items()})
    rows = network.inputs()
    x = fanal.from_numpy(rows)

    def predict(x: fanal.Tensor) -> fanal.Tensor:
        return module(x)

    batch = Dim("batch", max=256)
    program = export(predict, (x[:8],), dynamic_shapes={"x": {0: batch}}, output_names=["logits"], name=network.name)
    save(program, folder / "model.fanal")
    np.save(folder / "inputs.npy", rows)
    with fanal.no_grad():
        np.save(folder / "answers.npy", module(x).numpy())
    facts = {"width": width, "row_seconds": row_seconds(network, width)}
    (folder / "facts.json").write_text(json.dumps(facts) + "\n")


def wide_enough(network: Network) -> int:
    """The first width at which a row takes long enough on this machine."""
    for width in WIDTHS:
        if row_seconds(network, width) >= SECONDS:
            return width
    return WIDTHS[-1]


def row_seconds(network: Network, width: int) -> float:
    """Seconds of one row on one thread, compiled; the best of some."""
    import fanal

    model = fanal.compile(network.build(fanal, width).eval())
    x = fanal.from_numpy(network.inputs()[:1])
    taken = []
    with fanal.no_grad():
        for _ in range(30):
            start = time.perf_counter()
            model(x)
            taken.append(time.perf_counter() - start)
    return min(taken)


if __name__ == "__main__":
    prepare(NETWORKS[sys.argv[1]], Path(sys.argv[2]))
