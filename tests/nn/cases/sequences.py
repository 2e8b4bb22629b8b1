"""Recurrent layers, padded and packed, and the functions of nn.utils.rnn."""

from __future__ import annotations

from typing import Any

from tests.nn.cases.case import Cases, M, x

CASES = Cases()
c = CASES
H = 3
states = {"RNN": 1, "GRU": 1, "LSTM": 2}


def state(name: str, rows: int, batch: int | None, width: int = H) -> Any:
    shapes = [(rows, width) if batch is None else (rows, batch, width)]
    if name == "LSTM":
        shapes.append((rows, H) if batch is None else (rows, batch, H))
    made = tuple(x(*s) for s in shapes)
    return made if name == "LSTM" else made[0]


def packed(library: Any, module: Any, data: Any, lengths: Any, *hx: Any, ordered: bool = True) -> Any:
    first = module.batch_first
    given = library.rnn.pack_padded_sequence(data, lengths, batch_first=first, enforce_sorted=ordered)
    out, last = module(given, *hx)
    return *library.rnn.pad_packed_sequence(out, batch_first=first), last


for name in states:
    c.layer(name, 2, H, on=x(4, 2, 2))
    c.layer(name, 2, H, num_layers=2, bidirectional=True, on=(x(4, 2, 2), state(name, 4, 2)))
    c.layer(name, 2, H, bias=False, batch_first=True, on=(x(2, 4, 2), state(name, 1, 2)))
    c.layer(name, 2, H, num_layers=2, dropout=0.5, train=False, on=x(4, 2, 2))
    c.layer(name, 2, H, on=(x(4, 2), state(name, 1, None)), tag="unbatched")
    c.body(f"packed-{name}", packed, M(name, (2, H)), x(4, 3, 2), [4, 2, 1])
    c.body(f"packed-{name}", packed, M(name, (2, H), {"num_layers": 2, "bidirectional": True, "batch_first": True}),
           x(3, 4, 2), [2, 4, 4], state(name, 4, 3), call={"ordered": False})  # fmt: skip
    c.layer(f"{name}Cell", 2, H, on=x(4, 2))
    hx = (x(4, H), x(4, H)) if name == "LSTM" else x(4, H)
    c.layer(f"{name}Cell", 2, H, bias=False, on=(x(4, 2), hx))
    hx = (x(H), x(H)) if name == "LSTM" else x(H)
    c.layer(f"{name}Cell", 2, H, on=(x(2), hx))
c.layer("RNN", 2, H, nonlinearity="relu", on=x(4, 2, 2), tag="relu")
c.layer("RNNCell", 2, H, nonlinearity="relu", on=x(4, 2), tag="relu")
c.layer("LSTM", 2, H, proj_size=2, on=x(4, 2, 2), tag="projected")
c.layer("LSTM", 2, H, 2, proj_size=2, bidirectional=True, on=(x(4, 2, 2), state("LSTM", 4, 2, 2)),
        tag="projected2")  # fmt: skip


def padded(library: Any, *parts: Any, **options: Any) -> Any:
    return library.rnn.pad_sequence(list(parts), **options)


def unpacked(library: Any, *parts: Any) -> Any:
    found = library.rnn.pack_sequence(list(parts), enforce_sorted=False)
    data, sizes, order, back = found
    return data, sizes, order, back, *library.rnn.unpack_sequence(found)


c.body("pad_sequence", padded, x(3, 2), x(1, 2), x(2, 2))
c.body("pad_sequence", padded, x(3), x(1), call={"batch_first": True, "padding_value": 2.0})
c.body("pad_sequence", padded, x(3), x(1), call={"padding_side": "left"})
c.body("pack_sequence", unpacked, x(3, 2), x(1, 2), x(2, 2))
