"""The builder's parts by themselves: arenas for any size, archives, what is refused."""

from __future__ import annotations

import random
import shutil
import struct
import subprocess

import pytest

from fanal.backends.native.arena import lower_bound, plan_arena
from fanal.backends.native.arena_search import plan_closely
from fanal.backends.native.program import Temp
from fanal.core.symbols import Symbols, asked, chosen, is_settled
from fanal.edge.archive import archive
from fanal.edge.covering import EXHAUSTIVE, columns, most, right_for
from fanal.edge.expressions import DIVIDE, Values, evaluated
from fanal.edge.heights import supports
from fanal.edge.tables import aligned


def drawn(chance, count):
    temps = []
    for _ in range(count):
        first = chance.randrange(count)
        temps.append(Temp(chance.choice([64, 640, 4096, 10_000]) * chance.randrange(1, 5), first, first + chance.randrange(9)))
    return temps


def overlaps(temps, offsets):
    for i, a in enumerate(temps):
        for j, b in enumerate(temps[:i]):
            together = a.first <= b.last and b.first <= a.last
            apart = offsets[i] + aligned(a.nbytes) <= offsets[j] or offsets[j] + aligned(b.nbytes) <= offsets[i]
            if together and not apart:
                return True
    return False


@pytest.mark.parametrize("seed", range(20))
def test_close_plans_are_plans_and_closer(seed):
    temps = drawn(random.Random(seed), 60)
    close = plan_closely(temps)
    assert not overlaps(temps, close.offsets)
    assert lower_bound(temps) <= close.nbytes <= plan_arena(temps).nbytes


@pytest.mark.parametrize("seed", range(20))
def test_temporaries_never_overlap_at_any_size(seed):
    chance = random.Random(seed)
    temps = drawn(chance, 50)
    below = supports(temps)
    for _ in range(10):
        now = [Temp(chance.randrange(t.nbytes * 2), t.first, t.last) for t in temps]
        offsets = [0] * len(temps)
        for i, under in below.items():
            offsets[i] = max((offsets[j] + aligned(now[j].nbytes) for j in under), default=0)
        assert not overlaps(now, offsets)
    full = [0] * len(temps)
    for i, under in below.items():
        full[i] = max((full[j] + aligned(temps[j].nbytes) for j in under), default=0)
    assert max(full[i] + aligned(t.nbytes) for i, t in enumerate(temps)) <= plan_closely(temps).nbytes


def test_decisions_about_speed_are_made_once():
    symbols = Symbols()
    symbols.once = True
    n, m = symbols.symbol(100, 1, 100), symbols.symbol(50, 1, 60)
    assert chosen(lambda k: k // 3, n) == 33
    assert asked(lambda k: k > 16, n) is True
    assert is_settled(n) and not is_settled(5)
    assert (n == m) is False and not symbols.conditions  # they may happen to be equal
    assert (n == 1) is False and len(symbols.conditions) == 1  # one is something special
    assert (n % 3 == 1) is True and len(symbols.conditions) == 2


def test_expressions_are_those_of_python():
    symbols = Symbols()
    n, m = symbols.symbol(7, 1, 100), symbols.symbol(3, 1, 60)
    for made in (n * m - 5 * n + 2, -(-n // 4) * 4, n // m, (n - 50) // 7, n * n * m):
        values = Values(2)
        at = values.number(made)
        values.end()
        for sizes in ((7, 3), (1, 1), (100, 60), (13, 5)):
            found = list(sizes)
            assert evaluated(values.words, found)
            assert found[at] == symbols.at(sizes)(made)
    values = Values(1)
    values.of(DIVIDE, 0, values.constant(0))
    values.end()
    assert not evaluated(values.words, [7])


@pytest.mark.skipif(shutil.which("ar") is None, reason="there is no ar")
def test_archives_are_those_of_ar(tmp_path):
    data = archive({"a.o": b"abc", "b.o": b"defg"}, {"a.o": ["one", "two"], "b.o": ["three"]})
    (tmp_path / "x.a").write_bytes(data)
    listed = subprocess.run(["ar", "t", tmp_path / "x.a"], capture_output=True, text=True, check=True).stdout
    assert listed.split() == ["a.o", "b.o"]
    subprocess.run(["ar", "x", "x.a"], cwd=tmp_path, check=True)
    assert (tmp_path / "a.o").read_bytes() == b"abc" and (tmp_path / "b.o").read_bytes() == b"defg"
    count, *places = struct.unpack_from(">4I", data, 68)
    assert count == 3
    assert [data[p : p + 4] for p in places] == [b"a.o/", b"a.o/", b"b.o/"]
    with pytest.raises(ValueError, match="at most 15 characters"):
        archive({"a-name-that-is-too-long.o": b""}, {"a-name-that-is-too-long.o": []})


def test_all_sizes_at_once_are_sizes_one_by_one():
    symbols = Symbols()
    n, m = symbols.symbol(7, 1, 30), symbols.symbol(3, 1, 20)
    values = Values(2)
    at = values.number((n * m - 5 * n + 2) // 3 + (m - n) // 4)
    for question in (n * m > 12, n % 4 == 3, 1.0 / n < 0.3):
        assert question in (True, False)
    for condition in list(symbols.conditions):
        values.condition(symbols, condition)
    values.end()
    sizes = columns([(1, 30), (1, 20)])
    assert [int(c[0]) for c in sizes] == [30, 20] and len(sizes[0]) == 600
    good = right_for(values.words, sizes)
    found = []
    for i, pair in enumerate(zip(*(c.tolist() for c in sizes), strict=True)):
        own = list(pair)
        assert evaluated(values.words, own) == bool(good[i])
        if good[i]:
            found.append(own[at])
    assert 0 < len(found) < 600
    assert most(values.words, sizes, at) == max(found)


def test_of_very_many_sizes_some_are_looked_at():
    sizes = columns([(1, 5), (1, 100_000), (1, 100_000)])
    assert len(sizes[0]) <= EXHAUSTIVE
    assert set(sizes[0].tolist()) == {1, 2, 3, 4, 5}
    for column in sizes[1:]:
        looked = set(column.tolist())
        assert {1, 2, 3, 99, 100_000, 99_999} <= looked
