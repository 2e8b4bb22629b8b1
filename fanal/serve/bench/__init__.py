"""Load on a server, and what it made of it: `fanal bench-serve`, or `run` and `sweep` from Python."""

from fanal.serve.bench.outcome import Latency, Outcome
from fanal.serve.bench.running import Interrupted, run
from fanal.serve.bench.sweeping import Sweep, holds, sweep

__all__ = ["Interrupted", "Latency", "Outcome", "Sweep", "holds", "run", "sweep"]
