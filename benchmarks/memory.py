"""A training run of one library; prints by how many MiB its peak memory exceeds that after import.

    python -m benchmarks.memory fanal|torch convolutions|transformer
"""

from __future__ import annotations

import importlib
import sys


def resident(field: str) -> float:
    """MiB resident: now (VmRSS) or at most so far (VmHWM; getrusage would count the parent's)."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(field)) / 1024


def convolutions(m, nn, F):  # type: ignore[no-untyped-def]
    """A small residual-like network on 32 images of 3×64×64."""
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.BatchNorm2d(64), nn.ReLU(),
        nn.Conv2d(64, 128, 3, stride=2, padding=1), nn.BatchNorm2d(128), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10),
    )  # fmt: skip
    return model, m.randn(32, 3, 64, 64), m.randint(0, 10, (32,))


def transformer(m, nn, F):  # type: ignore[no-untyped-def]
    """Four encoder layers of width 256 on 8 sequences of 128."""
    layer = nn.TransformerEncoderLayer(256, 8, 1024, dropout=0.0, batch_first=True)

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.TransformerEncoder(layer, 4)
            self.head = nn.Linear(256, 1000)

        def forward(self, x):  # type: ignore[no-untyped-def]
            return self.head(self.body(x)).flatten(0, 1)

    return Model(), m.randn(8, 128, 256), m.randint(0, 1000, (8 * 128,))


def main() -> None:
    """Train five steps."""
    library, kind = sys.argv[1:]
    m = importlib.import_module(library)
    nn = importlib.import_module(f"{library}.nn")
    F = importlib.import_module(f"{library}.nn.functional")
    m.set_num_threads(1)
    start = resident("VmRSS")
    model, x, y = globals()[kind](m, nn, F)
    optimizer = m.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(5):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    print(round(resident("VmHWM") - start, 1))


if __name__ == "__main__":
    main()
