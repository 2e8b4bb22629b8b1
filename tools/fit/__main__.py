"""`python -m tools.fit [topic …]`: fit the tables of some topics (all by default) again."""

import importlib
import sys
import time

from mpmath import mp

from tools.fit.remez import DIGITS
from tools.fit.tables import Tables

TOPICS = (
    "exponential",
    "logarithm",
    "trigonometric",
    "hyperbolic",
    "error_function",
    "power",
    "inverse_trigonometric",
    "gamma",
    "bessel",
    "incomplete_gamma",
    "modified_bessel",
    "airy",
)

for topic in sys.argv[1:] or TOPICS:
    start = time.time()
    tables = Tables(topic)
    with mp.workdps(DIGITS):
        importlib.import_module(f"tools.fit.{topic}").tables(tables)
    print(f"{tables.write()}: {time.time() - start:.1f} s")
