"""Language models with large vocabularies: time and memory of a training step, and of the loss alone.

    python -m benchmarks.vocabulary [--libraries fanal,torch] [--sizes 256x4096x50257] [--rounds 2]

Two transformer layers and a head tied to the embedding, sequences of 128, SGD, one thread; sizes are
width × tokens × vocabulary. Each measurement is a process of its own, in turns; the time is the least of
all calls but the first two, memory is by how much the process's peak grows over these calls. Libraries:
fanal (compiled), torch, torch-compile; those that are not installed are left out.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.memory import resident

ROOT = Path(__file__).parent.parent
LAYERS, LENGTH, HEAD, CALLS = 2, 128, 64, 6
SIZES = (
    "256x1024x2048", "256x1024x8192", "256x4096x8192", "256x2048x32768", "256x4096x50257",
    "768x2048x32768",
)  # fmt: skip


def model_of(m: Any, width: int, vocabulary: int) -> Any:
    """The model, with weights of a usual size."""
    nn, F = m.nn, m.nn.functional

    class Block(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x: Any) -> Any:
            b, t, d = x.shape
            q, k, v = self.qkv(self.first(x)).view(b, t, 3, d // HEAD, HEAD).permute(2, 0, 3, 1, 4).unbind(0)
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(y.transpose(1, 2).reshape(b, t, d))
            return x + self.down(F.gelu(self.up(self.second(x))))

    class Model(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(LENGTH, width)
            self.blocks = nn.ModuleList([Block() for _ in range(LAYERS)])
            self.norm = nn.LayerNorm(width)
            self.head = nn.Linear(width, vocabulary, bias=False)
            self.head.weight = self.tokens.weight
            with m.no_grad():
                for table in (self.tokens, self.places):
                    table.weight.mul_(0.02)

        def forward(self, x: Any) -> Any:
            x = self.tokens(x) + self.places(m.arange(LENGTH))
            for block in self.blocks:
                x = block(x)
            return self.head(self.norm(x)).view(-1, vocabulary)

    return Model()


def measure(library: str, width: int, tokens: int, vocabulary: int, train: bool) -> dict[str, float]:
    """Milliseconds and MiB of one case, in this process."""
    m = importlib.import_module(library.split("-")[0])
    importlib.import_module(f"{m.__name__}.nn.functional")
    m.set_num_threads(1)
    m.manual_seed(0)
    model = model_of(m, width, vocabulary)
    optimizer = m.optim.SGD(model.parameters(), lr=0.01)
    x, y = (m.randint(0, vocabulary, (tokens // LENGTH, LENGTH)) for _ in range(2))

    def loss(x: Any, y: Any) -> Any:
        return m.nn.functional.cross_entropy(model(x), y.view(-1))

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        found = loss(x, y)
        found.backward()
        optimizer.step()
        return found

    call: Any = step if train else loss
    if library != "torch":
        call = m.compile(call)
    times = []
    start = resident("VmHWM")
    with contextlib.nullcontext() if train else m.inference_mode():
        for _ in range(CALLS):
            begun = time.perf_counter()
            call(x, y)
            times.append(time.perf_counter() - begun)
    return {"ms": 1e3 * min(times[2:]), "MiB": resident("VmHWM") - start}


def measured(library: str, size: str, kind: str) -> dict[str, float]:
    """The same in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.vocabulary", "--one", library, size, kind]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{library} {size} {kind} failed:\n{done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Measure, and print a line for each case."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else "")
    parser.add_argument("--libraries", default="fanal,torch")
    parser.add_argument("--sizes", default=",".join(SIZES))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        library, size, kind = options.one
        print(json.dumps(measure(library, *map(int, size.split("x")), kind == "train")))
        return
    libraries = [
        name for name in options.libraries.split(",") if importlib.util.find_spec(name.split("-")[0])
    ]
    for size in options.sizes.split(","):
        for kind in ("train", "loss"):
            rounds = [{n: measured(n, size, kind) for n in libraries} for _ in range(options.rounds)]
            parts = []
            for n in libraries:
                ms, mib = (min(r[n][what] for r in rounds) for what in ("ms", "MiB"))
                parts.append(f"{n} {ms:.0f} ms {mib:.0f} MiB")
            print(f"{size:16} {kind:6} {'; '.join(parts)}", flush=True)


if __name__ == "__main__":
    main()
