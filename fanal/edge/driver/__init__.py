"""What a library consists of besides kernels and tables, in the runtime's dialect (`backends/native/runtime`).

`running` carries out a call, `sizes` does what depends on open sizes, `levels` asks the processor what it can,
`selftest` compares golden cases. All that is ever written is the caller's arena, outputs and state.

Names in capitals are constants of the library (`assembly`); SIZE is C's size_t.
"""

from fanal.edge.driver.levels import NO_LEVEL, X86_CONSTANTS, X86_KNOWN, X86_LEVEL, X86_RAW
from fanal.edge.driver.running import NEAR, NUMBERED, RUN
from fanal.edge.driver.selftest import SELFTEST
from fanal.edge.driver.sizes import (
    LONG_QUOTIENT,
    QUOTIENT,
    REAL_KNOWN,
    REAL_RAW,
    SIZED,
    SIZES,
    UNSIZED,
)

__all__ = [
    "LONG_QUOTIENT", "NEAR", "NO_LEVEL", "NUMBERED", "QUOTIENT", "REAL_KNOWN", "REAL_RAW", "RUN", "SELFTEST",
    "SIZED", "SIZES", "UNSIZED", "X86_CONSTANTS", "X86_KNOWN", "X86_LEVEL", "X86_RAW",
]  # fmt: skip
