"""Convolutions by Winograd's algorithm beside direct ones: `python -m benchmarks.winograd`.

The error of both against float64, relative to the result's root mean square, on random images (normal, and
with their negative half cut off, as behind a ReLU) and weights; then the time without and with it, of one image
on one thread: a convolution between two of 1×1, as images lie between layers, least of interleaved rounds.
"""

from __future__ import annotations

import time

import numpy as np

import fanal
from fanal import nn
from fanal.nn import functional as F
from fanal.ops.passes.winograd import tile_for

CHANNELS = (16, 32, 64, 128, 256, 512)
EDGES = {4: 24, 2: 8}  # outputs an axis for which tiles of this size are chosen
TIMED = ((64, 56), (64, 32), (128, 28), (128, 16), (256, 14), (256, 8), (512, 7))


def errors(channels: int, edge: int, positive: bool) -> tuple[tuple[float, float], ...]:
    """(root mean square, largest) error of the direct convolution and of Winograd's."""
    x = fanal.randn(2, channels, edge, edge)
    x = x.relu() if positive else x
    w = fanal.randn(32, channels, 3, 3) / (9 * channels) ** 0.5

    def conv(x: fanal.Tensor, w: fanal.Tensor) -> fanal.Tensor:
        return F.conv2d(x, w, padding=1)

    exact = conv(x.double(), w.double()).numpy()
    size = np.sqrt((exact**2).mean())
    found = []
    for winograd in (False, True):
        y = fanal.compile(conv, options={"winograd": winograd})(x, w)
        difference = np.abs(y.numpy() - exact) / size
        found.append((float(np.sqrt((difference**2).mean())), float(difference.max())))
    return tuple(found)


def times(channels: int, edge: int, rounds: int = 60) -> list[float]:
    """Seconds without and with it, less those of what is around the convolution."""
    around = [nn.Conv2d(channels, channels, 1), nn.Conv2d(channels, channels, 1)]
    layers = [around[0], nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(), around[1]]
    whole = nn.Sequential(*layers).eval()
    functions = [fanal.compile(nn.Sequential(*around).eval())]
    functions += [fanal.compile(whole, options={"winograd": w}) for w in (False, True)]
    x = fanal.randn(1, channels, edge, edge)
    least = [float("inf")] * len(functions)
    with fanal.inference_mode():
        for turn in range(rounds):
            for n, function in enumerate(functions):
                begin = time.perf_counter()
                function(x)
                spent = time.perf_counter() - begin
                least[n] = min(least[n], spent) if turn > 2 else least[n]
    return [t - least[0] for t in least[1:]]


def main() -> None:
    fanal.set_num_threads(1)
    fanal.manual_seed(0)
    print("channels  tile  images     direct rms      max   winograd rms      max   ratio rms   max")
    for tile, edge in EDGES.items():
        for channels in CHANNELS:
            if tile_for(channels, 32, (edge, edge)) != tile:
                continue
            for name in ("normal", "relu"):
                (rms, top), (wrms, wtop) = errors(channels, edge, name == "relu")
                print(
                    f"{channels:8}  {tile:4}  {name:6}  {rms:13.1e} {top:8.1e} {wrms:14.1e} {wtop:8.1e}"
                    f" {wrms / rms:11.1f} {wtop / top:5.1f}"
                )
    print("\nchannels  edge  tile     direct   winograd  ratio")
    for channels, edge in TIMED:
        tile = tile_for(channels, channels, (edge, edge))
        without, with_it = times(channels, edge)
        print(
            f"{channels:8}  {edge:4}  {tile!s:>4}  {without * 1e6:6.0f} µs  {with_it * 1e6:6.0f} µs  "
            f"{without / with_it:5.2f}"
        )


if __name__ == "__main__":
    main()
