"""In-place writes whose operand is, overlaps or resembles the target."""

import pytest

import fanal


@pytest.mark.parametrize("first", ["itself", "another"])
def test_an_operand_that_is_the_target_has_a_program_of_its_own(first):
    """One program reads a single buffer, the other two: same layouts, different meaning."""
    n = 11 if first == "itself" else 12
    order = ["itself", "another"] if first == "itself" else ["another", "itself"]
    for which in order * 2:
        x, y = fanal.ones(n), fanal.full((n,), 5.0)
        x.add_(x if which == "itself" else y)
        assert x.tolist() == [2.0 if which == "itself" else 6.0] * n


def test_an_overlapping_operand_is_read_before_it_is_written():
    x = fanal.arange(6.0)
    x[1:].add_(x[:-1])
    assert x.tolist() == [0.0, 1.0, 3.0, 5.0, 7.0, 9.0]


def test_a_new_tensor_was_never_written_to():
    for _ in range(2):  # the second time a program is known
        assert fanal.zeros(3, 41)._version == fanal.ones(3, 41)._version == 0
    x = fanal.zeros(3, 41)
    assert x.fill_(2)._version == 1 and x.fill_(3)._version == 2 and x[2, 40].item() == 3


def test_the_short_path_counts_versions_and_respects_recording():
    w = fanal.ones(3, requires_grad=True)
    y, z = w * 2, fanal.ones(3)
    for _ in range(3):  # the third time a program is known
        z.add_(fanal.ones(3))
    assert z._version == 3
    saved = y * z
    z.add_(fanal.ones(3))
    with pytest.raises(RuntimeError, match="changed in place"):
        saved.sum().backward()
    with pytest.raises(RuntimeError, match="leaf"):
        w.add_(z)
    z += y
    assert z.requires_grad
