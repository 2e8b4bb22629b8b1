"""Philox-4x32-10 on registers: counter-based random bits (Salmon et al., 2011).

Element i is word i mod 4 of the block at counter (i div 4, stream) under key seed, so any lane can
be computed from its own position, in any order, on any number of threads.
"""

from __future__ import annotations

from fanal.backends.native.emit import Builder, V, vector

M0, M1 = 0xD2511F53, 0xCD9E8D57
W0, W1 = 0x9E3779B9, 0xBB67AE85
ROUNDS = 10
_MASK = 0xFFFFFFFF


def random_bits(b: Builder, key: V, position: V) -> V:
    """32 random bits for each lane's position (int64); `key` points to int64 (seed, stream)."""
    seed, stream = b.load("i64", key), b.load("i64", b.at(key, 1, "i64"))
    lanes = position.lanes
    counter = position.lshr(2)
    low = [b.splat(_low(s), lanes) for s in (seed, stream)]
    high = [b.splat(_low(s.lshr(32)), lanes) for s in (seed, stream)]
    c = [_low(counter), _low(counter.lshr(32)), low[1], high[1]]
    words = rounds(b, c, low[0], high[0])
    which = _low(position) & 3
    first = b.select((which & 1).ne(0), words[1], words[0])
    second = b.select((which & 1).ne(0), words[3], words[2])
    return b.select((which & 2).ne(0), second, first)


def random_run(b: Builder, key: V, first: V, lanes: int) -> V:
    """32 random bits for the positions first, first + 1, …, where `first` is a multiple of 4.

    Each group of four lanes is a block, so nothing is computed twice: with the words in order, a
    round is one product of the even lanes, a reversal, and the odd lanes moved down.
    """
    pairs = vector("i64", lanes // 2)
    seed, stream = b.load("i64", key), b.load("i64", b.at(key, 1, "i64"))
    counters = b.splat(first.lshr(2), lanes // 2) + b.vector_const(
        "i64", [i // 2 for i in range(lanes // 2)]
    )
    odd = [i % 2 for i in range(lanes // 2)]
    c = b.select(b.vector_const("i1", odd), b.splat(stream, lanes // 2), counters)
    # The keys of even and odd pairs, in the low halves.
    low, high = b.splat(seed & _MASK, lanes // 2), b.splat(seed.lshr(32), lanes // 2)
    k = b.select(b.vector_const("i1", odd), high, low)
    multipliers = b.vector_const("i64", [(M0, M1)[i] for i in odd])
    weyl = b.vector_const("i64", [(W0, W1)[i] for i in odd])
    reversed_blocks = [i ^ 3 for i in range(lanes)]
    for _ in range(ROUNDS):
        product = ((c & _MASK) * multipliers).bitcast(vector("i32", lanes))
        turned = b.shuffle(product, None, reversed_blocks).bitcast(pairs)
        c = turned ^ c.lshr(32) ^ k
        k = (k + weyl) & _MASK
    return c.bitcast(vector("i32", lanes))


def random_row(b: Builder, key: V, first: V, lanes: int) -> V:
    """32 random bits for the positions first, first + 1, …, wherever a row of them begins.

    Between multiples of 4, the run from the multiple below and one block more hold all words.
    """

    def aligned() -> list[V]:
        return [random_run(b, key, first, lanes)]

    def between() -> list[V]:
        start = first & -4
        run, more = random_run(b, key, start, lanes), random_run(b, key, start + lanes, 4)
        more = b.shuffle(more, None, [i % 4 for i in range(lanes)])
        one, two, three = (b.shuffle(run, more, range(k, k + lanes)) for k in (1, 2, 3))
        skipped = first & 3
        return [b.select(skipped.eq(1), one, b.select(skipped.eq(2), two, three))]

    return b.branch((first & 3).eq(0), aligned, between)[0]


def rounds(b: Builder, c: list[V], k0: V, k1: V) -> list[V]:
    """The ten rounds on four words of counter."""
    for _ in range(ROUNDS):
        low0, high0 = _wide_product(c[0], M0)
        low1, high1 = _wide_product(c[2], M1)
        c = [high1 ^ c[1] ^ k0, low1, high0 ^ c[3] ^ k1, low0]
        k0, k1 = k0 + W0, k1 + W1
    return c


def _low(x: V) -> V:
    return x.cast("trunc", "i32")


def _wide_product(x: V, m: int) -> tuple[V, V]:
    wide = x.cast("zext", "i64") * m
    return _low(wide), _low(wide.lshr(32))
