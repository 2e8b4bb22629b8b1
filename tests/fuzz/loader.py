"""Coverage-guided fuzzing of the loader, on demand: `pip install atheris`, then

    python -m tests.fuzz.loader -max_total_time=600

Inputs begin as the honest program and the hostile ones of `tests/attacks`. The first byte chooses what the
rest is: a whole file, or a description whose file is made around it, with a digest that is right. A file that
loads is run with zeros. Anything but an answer or an error of the documented kinds stops it and is written down.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["fanal.export", "fanal.core.symbols"]):
    import fanal.export.file  # noqa: F401 - what is fuzzed
    from tests.attacks.make import FILES, put_together, taken_apart
    from tests.attacks.test_attacks import HONEST, tried

_PROGRAM, _HEADER, _TENSORS = taken_apart(HONEST.read_bytes())
_PATH = Path(tempfile.mkdtemp()) / "fuzzed.fanal"


def once(data: bytes) -> None:
    """One input."""
    if not data:
        return
    if data[0] & 1:
        tried(data[1:], _PATH)
    else:
        tried(put_together(data[1:].decode("utf-8", "replace"), _HEADER, bytes(_TENSORS)), _PATH)


def main() -> None:
    corpus = Path(tempfile.mkdtemp())
    for i, path in enumerate([HONEST, *sorted(FILES.glob("*.fanal"))]):
        data = path.read_bytes()
        if len(data) > 20_000:
            continue
        (corpus / f"file{i}").write_bytes(b"\1" + data)
        try:
            length = int.from_bytes(data[:8], "little")


            text = json.loads(data[8 : 8 + length])["__metadata__"]["program"]
        except (ValueError, KeyError, TypeError):
            continue
        (corpus / f"program{i}").write_bytes(b"\0" + text.encode())
    atheris.Setup([sys.argv[0], "-max_len=40000", "-timeout=30", *sys.argv[1:], str(corpus)], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
