"""Phases of one kernel that become one: which may, and that they compute what they did."""

from __future__ import annotations

import numpy as np

import fanal
from fanal.backends.native.merging import merge
from fanal.backends.native.program import Access, Kernel, ProgramBuilder
from fanal.backends.native.target import host_target
from fanal.core import dtypes


def builder(*phases, arguments=40):
    """A program of (kernel, buffers read, buffers changed)."""
    p = ProgramBuilder(host_target(), arguments)
    for _ in range(3):
        p.temp(64)
    for name, reads, changes in phases:
        operands = [Access(n, dtypes.float32, (4,), (1,)) for n in (*reads, *changes)]
        written = operands[len(reads) :]
        p.phase(Kernel(f"elementwise {name}", lambda b: None), operands, [], changes=written)
    return p


def counts(p):
    return [len(phase.buffers) for phase in merge(p, p.phases)]


def test_independent_phases_of_a_kernel_are_one():
    p = builder(*(("a", [n], [n + 10]) for n in range(5)))
    (one,) = merge(p, p.phases)
    assert one.tasks == 5 and one.descriptor[0] == 5 and set(one.buffers) == {*range(5), *range(10, 15)}


def test_what_depends_stays_in_order():
    chain = builder(*(("a", [n], [n + 1]) for n in range(5)))
    assert len(merge(chain, chain.phases)) == 5
    same_target = builder(*(("a", [n], [30]) for n in range(5)))
    assert len(merge(same_target, same_target.phases)) == 5


def test_a_phase_moves_before_others_only_if_they_have_nothing_to_do_with_it():
    apart = builder(("a", [0], [10]), ("b", [1], [11]), ("a", [2], [12]), ("a", [3], [13]))
    assert counts(apart) == [6, 2]
    reads = builder(("a", [0], [10]), ("b", [1], [2]), ("a", [2], [12]), ("a", [3], [13]))
    assert counts(reads) == [2, 2, 2, 2]


def test_few_phases_stay_where_they_are():
    p = builder(("a", [0], [10]), ("b", [1], [11]), ("a", [2], [40]))
    assert merge(p, p.phases) == p.phases and (p.temps[0].first, p.temps[0].last) == (2, 2)


def test_phases_do_not_pass_by_what_they_read_of_few():
    p = builder(
        ("a", [0], [10]), ("c", [1], [11]), ("a", [2], [12]), ("c", [12], [13]), ("c", [3], [14]),
        ("c", [4], [15]),
    )  # fmt: skip
    order = merge(p, p.phases)
    writer = next(i for i, x in enumerate(order) if 12 in (x.changes or ()))
    assert all(i > writer for i, x in enumerate(order) if 12 in x.buffers and i != writer)


def test_phases_that_may_fail_stay():
    p = builder(*(("a", [n], [n + 10]) for n in range(5)))
    for phase in p.phases:
        phase.changes = None
    assert len(merge(p, p.phases)) == 5


def test_temporaries_live_from_where_their_phase_moved_to():
    p = builder(("a", [0], [10]), ("b", [1], [11]), ("a", [2], [40]), ("a", [3], [41]), ("c", [40, 41], [12]))
    merge(p, p.phases)
    assert [(t.first, t.last) for t in p.temps[:2]] == [(0, 4), (0, 4)]


def test_an_optimisers_step_has_eagers_bits():
    def run(compiled):
        fanal.manual_seed(0)
        layers = [m for n in (3, 70, 300, 5) for m in (fanal.nn.Linear(7, n), fanal.nn.Linear(n, 7))]
        model = fanal.nn.Sequential(*layers)
        optimizer = fanal.optim.AdamW(model.parameters(), lr=1e-2)

        def step(x):
            optimizer.zero_grad()
            model(x).square().mean().backward()
            optimizer.step()

        f = fanal.compile(step) if compiled else step
        for i in range(3):
            f(fanal.full((4, 7), float(i)))
        return [p.detach().numpy().copy() for p in model.parameters()]

    for x, y in zip(run(True), run(False)):
        np.testing.assert_array_equal(x, y)
