"""What a compiled function's programs may round otherwise than eager mode: its options of that kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from fanal.core.errors import message


@dataclass(frozen=True, slots=True)
class Rounding:
    """`exact`: no bit may differ. `winograd`: 3×3 convolutions may be computed by Winograd's algorithm."""

    exact: bool = False
    winograd: bool = False

    @classmethod
    def of(cls, options: Mapping[str, Any] | None) -> Rounding:
        """From `fanal.compile`'s options, of which others have no meaning here."""
        options = options or {}
        given = {f.name: options[f.name] for f in fields(cls) if f.name in options}
        for name, value in given.items():
            if not isinstance(value, bool):
                raise TypeError(
                    message("compile", f"wrong value of the option {name!r}", repr(value), "True or False")
                )
        found = cls(**given)
        if found.exact and found.winograd:
            raise ValueError(
                message(
                    "compile", "options that exclude one another", "exact and winograd",
                    "one of them: Winograd's algorithm changes roundings",
                )
            )
        return found


EXACT = Rounding(exact=True)
