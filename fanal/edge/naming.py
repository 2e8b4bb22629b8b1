"""Names in C: of programs, signatures, tensors and dimensions, whatever these are called at home."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Words of C and C++ that can't name anything else, and what compilers define of themselves.
_WORDS = """
    alignas alignof and and_eq asm auto bitand bitor bool break case catch char char8_t char16_t char32_t
    class co_await co_return co_yield compl concept const const_cast consteval constexpr constinit continue
    decltype default delete do double dynamic_cast else enum explicit export extern false float for friend
    goto if inline int long mutable namespace new noexcept not not_eq nullptr operator or or_eq private
    protected public register reinterpret_cast requires restrict return short signed sizeof static
    static_assert static_cast struct switch template this thread_local throw true try typedef typeid typename
    typeof union unsigned using virtual void volatile wchar_t while xor xor_eq main unix linux
"""
_TAKEN = frozenset(_WORDS.split())


def identifier(name: str) -> str:
    """A name that C accepts, as near to another one as it goes."""
    found = re.sub(r"[^0-9A-Za-z_]+", "_", name).strip("_") or "x"
    if found[0].isdigit():
        return f"n{found}"
    return f"{found}_" if found in _TAKEN else found


def remark(text: str) -> str:
    """Somebody's text as it may stand in a comment of C, Python and JavaScript: one line that ends none of them."""
    line = " ".join(text.split())
    return line.replace("*/", "* /").replace("\\", "/").replace('"', "'")


def identifiers(names: Iterable[str], taken: Iterable[str] = ()) -> dict[str, str]:
    """Names in C for all of some names, each another one, also in capitals (as in the names of constants);
    none is among those taken."""
    used = {name.lower() for name in taken}
    found: dict[str, str] = {}
    for name in names:
        base = made = identifier(name)
        number = 2
        while made.lower() in used:
            made, number = f"{base}_{number}", number + 1
        used.add(made.lower())
        found[name] = made
    return found
