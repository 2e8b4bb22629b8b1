"""Train a small convolutional network on real handwritten digits, eagerly and compiled; save, reload, draw, ship.

The 1,797 scans of 8×8 pixels lie beside this file (UCI Optical Recognition of Handwritten Digits, as
bundled with scikit-learn). A fifth is held out, the same share of each digit. Everything is
ordinary code: change `fanal` to `torch` and it trains there too. The second training is the first one with
`fanal.compile` around its step: the same bits, in less time. At the end it leaves Python (`digits_leave.py`): a file, a
native library called through ctypes and from C, WebAssembly; and it is served to clients (`digits_serve.py`).

    python examples/digits.py [--epochs 20] [--seed 0] [--out out]
"""

from __future__ import annotations

import argparse
import csv
import functools
import gzip
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

STARTED = time.perf_counter()

import fanal  # noqa: E402 - the time of the import is part of what the demo shows
import fanal.nn as nn  # noqa: E402
import fanal.nn.functional as F  # noqa: E402
from fanal.backends.native import kernels  # noqa: E402
from fanal.data import DataLoader, TensorDataset  # noqa: E402

HERE = Path(__file__).parent


class Digits(nn.Module):
    """Two convolutions with batch norm, a pooling, two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(32)
        self.conv2 = nn.Conv2d(32, 64, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(64)
        self.hidden = nn.Linear(64 * 4 * 4, 128)
        self.out = nn.Linear(128, 10)
        self.dropout = nn.Dropout(0.3)

    def forward(self, x: fanal.Tensor) -> fanal.Tensor:
        """(batch, 1, 8, 8) → (batch, 10) logits."""
        x = F.relu(self.norm1(self.conv1(x)))
        x = F.max_pool2d(F.relu(self.norm2(self.conv2(x))), 2)
        x = F.relu(self.hidden(x.flatten(1)))
        return self.out(self.dropout(x))


@functools.cache
def load_digits() -> tuple[fanal.Tensor, fanal.Tensor]:
    """All images, scaled to 0..1, and their labels: (1797, 1, 8, 8) and (1797,)."""
    with gzip.open(HERE / "data" / "digits.csv.gz", "rt") as file:
        rows = [[int(float(v)) for v in row] for row in csv.reader(file)]
    data = fanal.tensor(rows)
    return data[:, :64].reshape(-1, 1, 8, 8).float() / 16, data[:, 64]


def split(labels: fanal.Tensor) -> tuple[list[int], list[int]]:
    """Positions to train and to test on: every fifth of each digit is held out."""
    train: list[int] = []
    test: list[int] = []
    seen = [0] * 10
    for i, label in enumerate(labels.tolist()):
        (test if seen[label] % 5 == 2 else train).append(i)  # as near a fifth as it goes
        seen[label] += 1
    return train, test


def accuracy(model: nn.Module, x: fanal.Tensor, y: fanal.Tensor) -> float:
    """Share of images that the model gets right."""
    model.eval()
    with fanal.no_grad():
        right = (model(x).argmax(1) == y).sum().item()
    model.train()
    return right / len(y)


class Trained(NamedTuple):
    """A network, the loss of every step, the accuracy on what was held out, and the seconds it took."""

    model: nn.Module
    losses: list[float]
    accuracy: float
    seconds: float
    first: float  # seconds of the first step: tracing and kernels

    def bits(self) -> list[bytes]:
        """All that training made, as bytes."""
        state = [t.numpy().tobytes() for t in self.model.state_dict().values()]
        return [*state, *(v.hex().encode() for v in self.losses)]


def train(seed: int, epochs: int, show: bool = True, compiled: bool = False) -> Trained:
    """Train one network, from the state that the seed gives."""
    fanal.manual_seed(seed)
    images, labels = load_digits()
    train_rows, test_rows = split(labels)
    x, y = images[train_rows], labels[train_rows]
    held_x, held_y = images[test_rows], labels[test_rows]
    model = Digits()
    loader = DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True, drop_last=True)
    optimizer = fanal.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2)
    schedule = fanal.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * len(loader))

    def step(batch: fanal.Tensor, target: fanal.Tensor) -> fanal.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch), target, label_smoothing=0.05)
        loss.backward()
        optimizer.step()
        return loss

    run = fanal.compile(step) if compiled else step
    losses: list[float] = []
    first = 0.0
    started = time.perf_counter()
    with Progress(epochs * len(loader), show, "compiled" if compiled else "eager") as progress:
        for epoch in range(epochs):
            for batch, target in loader:
                losses.append(run(shifted(batch), target).item())
                schedule.step()
                first = first or time.perf_counter() - started
                progress.advance(f"epoch {epoch + 1}/{epochs}  loss {losses[-1]:.3f}")
    seconds = time.perf_counter() - started
    return Trained(model, losses, accuracy(model, held_x, held_y), seconds, first)


def shifted(batch: fanal.Tensor) -> fanal.Tensor:
    """Augmentation: the batch moved by up to one pixel in each direction."""
    dx, dy = fanal.randint(-1, 2, (2,)).tolist()
    padded = F.pad(batch, (1, 1, 1, 1))
    return padded[:, :, 1 + dy : 9 + dy, 1 + dx : 9 + dx]


class Progress:
    """A progress bar on a terminal; one line where the output is not one."""

    said = False

    def __init__(self, total: int, show: bool, name: str):
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        self.bar = Progress(*columns, disable=not show)
        self.task = self.bar.add_task("training", total=total)
        self.name = name

    def __enter__(self) -> Progress:
        self.bar.start()
        return self

    def advance(self, text: str) -> None:
        if not Progress.said and not self.bar.disable:
            self.bar.print(f"first step done {time.perf_counter() - STARTED:.1f} s after the start")
            Progress.said = True
        self.bar.update(self.task, advance=1, description=f"{self.name}: {text}")

    def __exit__(self, *exc: object) -> None:
        self.bar.stop()


def draw(model: nn.Module, losses: list[float], path: Path) -> None:
    """The loss curve, and a grid of held-out digits with predictions, mistakes in red."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    images, labels = load_digits()
    _, rows = split(labels)
    x, y = images[rows], labels[rows]
    model.eval()
    with fanal.no_grad():
        guess = model(x).argmax(1)
    wrong = [i for i, (g, t) in enumerate(zip(guess.tolist(), y.tolist(), strict=True)) if g != t]
    chosen = (wrong + [i for i in range(len(rows)) if i not in wrong])[:48]
    figure = plt.figure(figsize=(11, 8), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=[1, 1.6])
    axes = upper.subplots()
    axes.plot(losses, linewidth=1)
    axes.set(xlabel="step", ylabel="loss", title="Training loss", ylim=(0, None))
    lower.suptitle(f"Held-out digits: {len(wrong)} of {len(rows)} wrong (marked red)")
    for axis, i in zip(lower.subplots(4, 12).flat, chosen, strict=True):
        axis.imshow(x[i, 0].numpy(), cmap="gray_r")
        axis.set_xticks([])
        axis.set_yticks([])
        bad = i in wrong
        text = f"{int(guess[i])} (is {int(y[i])})" if bad else str(int(guess[i]))
        axis.set_title(text, fontsize=8, color="crimson" if bad else "black")
        for side in axis.spines.values():
            side.set(color="crimson" if bad else "lightgray", linewidth=2 if bad else 0.5)
    figure.savefig(path, dpi=110)


def predictions(weights: Path) -> list[float]:
    """Logits of a fresh model with saved weights, for the comparison across processes."""
    model = Digits()
    model.load_state_dict(fanal.load(weights))
    model.eval()
    with fanal.no_grad():
        return model(load_digits()[0]).flatten().tolist()


def main() -> None:
    """Train, save, compare with a fresh process, draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for what is written")
    parser.add_argument("--predict", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.predict:
        sys.stdout.write(" ".join(v.hex() for v in predictions(args.predict)))
        return
    args.out.mkdir(parents=True, exist_ok=True)
    eager = train(args.seed, args.epochs)
    fast = train(args.seed, args.epochs, compiled=True)
    model, losses = fast.model, fast.losses
    print(f"accuracy on held-out digits: {fast.accuracy:.2%}")
    for name, one in (("eager", eager), ("compiled", fast)):
        print(f"{name + ':':9} {one.seconds:5.2f} s for {len(one.losses)} steps, {one.first:.2f} s of it for the first")
    agree = eager.bits() == fast.bits()
    ratio = (eager.seconds - eager.first) / (fast.seconds - fast.first)
    print(f"compiled steps are {ratio:.2f} times as fast and give the same bits: {'yes' if agree else 'NO'}")
    weights = args.out / "digits.safetensors"
    fanal.save(model.state_dict(), weights)
    command = [sys.executable, __file__, "--predict", str(weights)]
    fresh = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    here = [v.hex() for v in predictions(weights)]
    model.eval()
    with fanal.no_grad():
        trained = [v.hex() for v in model(load_digits()[0]).flatten().tolist()]
    same = fresh == here == trained
    print(f"a fresh process with the saved weights gives the same bits: {'yes' if same else 'NO'}")
    draw(model, losses, args.out / "digits.png")
    from digits_leave import leave  # what only the end needs
    from digits_serve import serve

    images, labels = load_digits()
    _, held = split(labels)
    left = leave(model, images[held], labels[held], args.out) and serve(model, images[held], labels[held], args.out)
    print(f"written: {args.out}/digits.safetensors, .png, .fanal, library/, wasm/  ({time.perf_counter() - STARTED:.1f} s)")
    made, kept, seconds = (kernels.statistics[k] for k in ("compiled", "loaded", "seconds"))
    print(f"kernels: {made} compiled, {kept} loaded from the cache, in {seconds:.1f} s")
    if not (same and agree and left):
        sys.exit(1)


if __name__ == "__main__":
    main()
