"""The C interface in the caller's hands: levels, threads, refusals, failures, state; from ctypes and from C."""

from __future__ import annotations

import ctypes
import threading

import numpy as np
import pytest

import fanal
import fanal.nn as nn
import fanal.nn.functional as F
from fanal.edge.levels import machine_of
from fanal.export import export
from tests.edge.library import (
    HERE,
    HOST,
    Called,
    How,
    aligned,
    built,
    model_of,
    needs_cc,
    needs_host,
    run_c,
    shared_by,
)

pytestmark = needs_host
LEVELS = [t.name for t in machine_of(HOST).levels]


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A network with work for several tasks, all levels of it."""
    fanal.manual_seed(2)
    model = nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32 * 24 * 24, 10)).eval()
    x = fanal.randn(2, 3, 28, 28)
    program = export(model, (x,), name="net")
    folder = tmp_path_factory.mktemp("net")
    made = built(program, folder, levels=LEVELS)
    with fanal.no_grad():
        return folder, x.numpy(), model(x).numpy(), made


def test_levels(network):
    folder, x, wanted, _ = network
    net = Called(folder, "net", "predict")
    assert net.library.net_cpu_level() == HERE[-1]
    for level in HERE:
        y = np.zeros_like(wanted)
        assert net([x], [y], How(level)) == 0
        np.testing.assert_allclose(y, wanted, rtol=1e-3, atol=1e-4)
        if level == HERE[-1]:
            assert y.tobytes() == wanted.tobytes()
    y = np.zeros_like(wanted)
    assert net([x], [y]) == 0  # the poorest level
    np.testing.assert_allclose(y, wanted, rtol=1e-3, atol=1e-4)
    for level in (-1, 3, 100):
        assert net([x], [y], How(level)) == 6


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_threads_change_no_bit(network, threads):
    folder, x, wanted, _ = network
    net = Called(folder, "net", "predict")
    parallel_for, calls = shared_by(threads)
    y = np.zeros_like(wanted)
    assert net([x], [y], How(HERE[-1], parallel_for)) == 0
    assert y.tobytes() == wanted.tobytes()
    assert calls and min(calls) > 1


def test_calls_at_the_same_time(network):
    folder, x, wanted, _ = network
    net = Called(folder, "net", "predict")
    results = [np.zeros_like(wanted) for _ in range(4)]

    def run(y):
        for _ in range(5):
            assert net([x], [y], How(HERE[-1])) == 0

    threads = [threading.Thread(target=run, args=(y,)) for y in results]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert all(y.tobytes() == wanted.tobytes() for y in results)


def test_refuses_what_is_no_good(network):
    folder, x, wanted, _ = network
    net, y = Called(folder, "net", "predict"), np.zeros((2, 10), np.float32)
    arena = aligned(net.arena_bytes + 64)
    at = arena.ctypes.data
    wrong = net.weights.copy()
    wrong = aligned(wrong.size, wrong.tobytes())
    wrong[8] ^= 1
    assert net([x], [y], arena=None) == 5
    assert net([x], [y], arena=at + 8) == 4
    assert net([x], [y], bytes=net.arena_bytes - 1) == 3
    assert net([x], [y], inputs=None) == 5
    assert net([x], [y], outputs=None) == 5
    assert net([x], [y], weights=None) == 5
    assert net([x], [y], weights=net.weights.ctypes.data + 16) == 4
    assert net([x], [y], weights=wrong.ctypes.data) == 7
    assert not y.any()
    null = (ctypes.c_void_p * 1)(None)
    assert net([x], [y], inputs=ctypes.addressof(null)) == 5
    askew = (ctypes.c_void_p * 1)(x.ctypes.data + 1)
    assert net([x], [y], inputs=ctypes.addressof(askew)) == 4
    assert net([x], [y]) == 0
    np.testing.assert_allclose(y, wanted, rtol=1e-3, atol=1e-4)


def test_the_callers_rounding_does_not_matter_and_stays(network):
    folder, x, wanted, _ = network
    net, y = Called(folder, "net", "predict"), np.zeros_like(wanted)
    libm = ctypes.CDLL("libm.so.6")
    libm.fesetround(0x400)  # down
    try:
        status = net([x], [y], How(HERE[-1]))
        assert libm.fegetround() == 0x400
    finally:
        libm.fesetround(0)
    assert status == 0
    assert y.tobytes() == wanted.tobytes()


def test_an_index_out_of_range(tmp_path):
    program = export(lambda table, i: table[i], (fanal.randn(7, 3), fanal.tensor([1, 2, 3])), name="look")
    built(program, tmp_path)
    look, table = Called(tmp_path, "look", "predict"), np.ones((7, 3), np.float32)
    y = np.zeros((3, 3), np.float32)
    how = How(HERE[-1])
    assert look([table, np.array([0, 6, 3])], [y], how) == 0
    assert look([table, np.array([0, 7, 3])], [y], how) == 2
    with pytest.raises(IndexError, match="look: an index was out of range"):
        model_of(tmp_path, "look").run("predict", {"table": table, "i": np.array([0, 7, 3])})


def test_a_division_by_zero(tmp_path):
    program = export(lambda a, b: a // b, (fanal.tensor([1, 2]), fanal.tensor([1, 2])), name="over")
    built(program, tmp_path, samples={"predict": [{"a": fanal.tensor([5, 6]), "b": fanal.tensor([1, 2])}]})
    over, y = Called(tmp_path, "over", "predict"), np.zeros(2, np.int64)
    how = How(HERE[-1])
    assert over([np.array([7, 8]), np.array([2, 3])], [y], how) == 0
    assert y.tolist() == [3, 2]
    assert over([np.array([7, 8]), np.array([2, 0])], [y], how) == 1


def learning():
    """A training step and the model's answers, sharing their state."""
    fanal.manual_seed(5)
    model = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 4))
    optimizer = fanal.optim.Adam(model.parameters(), lr=0.01)
    x, y = fanal.randn(8, 6), fanal.randint(0, 4, (8,))

    def train(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    program = export(train, (x, y), name="learner", signature="train", output_names=["loss"])
    program.add("predict", lambda x: model[4](model[2](model[0](x))), (x,))
    return program, x, y


@pytest.fixture(scope="module")
def learner(tmp_path_factory):
    program, x, y = learning()
    folder = tmp_path_factory.mktemp("learner")
    built(program, folder)
    return folder, x.numpy(), y.numpy()


def test_a_training_step_keeps_its_state_with_the_caller(learner):
    folder, x, y = learner
    program, a, b = learning()
    model, other = model_of(folder, "learner"), model_of(folder, "learner")
    for _ in range(20):
        found = model.train(x, y)["loss"]
        assert found.tobytes() == program.run({"x": a, "y": b}, "train")["loss"].numpy().tobytes()
    tensors = model.tensors()
    assert set(tensors) == set(program.signatures["train"].writes) | set(tensors)
    for name, array in tensors.items():
        assert array.tobytes() == program.state[name].detach().numpy().tobytes(), name
    np.testing.assert_array_equal(next(iter(model.predict(x).values())), next(iter(program.run({"x": a}, "predict").values())).numpy())
    assert not np.array_equal(other.state, model.state)


def test_what_fails_leaves_the_state_as_it_was(learner):
    folder, x, y = learner
    model = model_of(folder, "learner")
    model.train(x, y)
    before = model.state.copy()
    with pytest.raises(IndexError):
        model.train(x, np.full(8, 9))
    assert model.state.tobytes() == before.tobytes()
    model.train(x, y)
    assert model.state.tobytes() != before.tobytes()


_MAIN = """
#include <stdio.h>
#include <stdlib.h>
#include <pthread.h>
#include "net.h"

struct part { void (*task)(void *, size_t); void *job; size_t first, last; };
static void *run(void *p) {
    struct part *x = (struct part *)p;
    for (size_t i = x->first; i < x->last; i++) x->task(x->job, i);
    return NULL;
}
static void two(void *context, size_t tasks, void (*task)(void *, size_t), void *job) {
    pthread_t other;
    struct part a = {task, job, 0, tasks / 2}, b = {task, job, tasks / 2, tasks};
    ++*(int *)context;
    pthread_create(&other, NULL, run, &a);
    run(&b);
    pthread_join(other, NULL);
}
static void *whole(const char *path, size_t *size) {
    FILE *f = fopen(path, "rb");
    fseek(f, 0, SEEK_END);
    *size = (size_t)ftell(f);
    rewind(f);
    void *memory = aligned_alloc(64, (*size + 63) / 64 * 64);
    if (fread(memory, 1, *size, f) != *size) exit(2);
    fclose(f);
    return memory;
}
int main(int argc, char **argv) {
    size_t size, golden_size, which = 0;
    if (argc < 3 || net_abi() != NET_ABI) return 1;
    void *weights = whole(argv[1], &size), *golden = whole(argv[2], &golden_size);
    if (size != NET_WEIGHTS_BYTES) return 3;
    void *arena = aligned_alloc(64, (NET_SELFTEST_BYTES + 63) / 64 * 64);
    static float x[NET_PREDICT_INPUT_ELEMENTS], y[NET_PREDICT_OUTPUT_ELEMENTS];
    int calls = 0;
    net_how how = {net_cpu_level(), two, &calls};
    net_predict_in in = {x};
    net_predict_out out = {y};
    net_status status = net_predict(&in, &out, arena, net_arena_bytes(NULL, 0), weights, &how);
    if (status != NET_OK) { puts(net_status_text(status)); return 4; }
    status = net_selftest(golden, golden_size, arena, NET_SELFTEST_BYTES, weights, &how, &which);
    printf("%d %d %d\\n", (int)status, calls > 0, (int)which);

    for (size_t i = 0; i < NET_PREDICT_OUTPUT_ELEMENTS; i++) printf("%a ", (double)y[i]);
    return 0;
}
"""


@needs_cc
@pytest.mark.parametrize("static", [True, False])
def test_from_c(network, static):
    folder, x, wanted, _ = network
    source = "#define _XOPEN_SOURCE 700\n" + _MAIN.replace("aligned_alloc(64, ", "memory_of(").replace(
        "struct part {",
        "static void *memory_of(size_t n) { void *p; return posix_memalign(&p, 64, n) ? NULL : p; }\nstruct part {", 1,
    )
    printed = run_c(folder, source, "net", static, str(folder / "net.weights"), str(folder / "golden.bin"))
    first, numbers = printed.splitlines()
    assert first == "0 1 0"
    net, y = Called(folder, "net", "predict"), np.zeros_like(wanted)
    assert net([np.zeros_like(x)], [y], How(HERE[-1])) == 0
    assert [float.fromhex(t) for t in numbers.split()] == [float(v) for v in y.ravel()]
    header = (folder / "net.h").read_text()
    assert "float[2][3][28][28]" in header


def test_a_signature_alone_holds_constants(tmp_path):
    program, x, _ = learning()
    built(program, tmp_path, signatures=["predict"])
    header = (tmp_path / "learner.h").read_text()
    assert "STATE_BYTES" not in header and "learner_train" not in header
    found = model_of(tmp_path, "learner").predict(x.numpy())
    wanted = program.run({"x": x}, "predict")
    np.testing.assert_array_equal(next(iter(found.values())), next(iter(wanted.values())).numpy())


def test_rates_that_the_caller_sets(tmp_path):
    program, x, y = learning()
    (rate,) = [n for n in program.state if n.endswith(".lr")]
    built(program, tmp_path, adjustable=[rate])
    model = model_of(tmp_path, "learner")
    for lr in (0.01, 0.003, 0.0):
        model.tensors()[rate][...] = lr
        program.state[rate].fill_(lr)
        found = model.train(x.numpy(), y.numpy())["loss"]
        assert found.tobytes() == program.run({"x": x, "y": y}, "train")["loss"].numpy().tobytes()
    for name, array in model.tensors().items():
        assert array.tobytes() == program.state[name].detach().numpy().tobytes(), name
    with pytest.raises(ValueError, match="no state of that name: got 'lr'"):
        built(program, tmp_path, adjustable=["lr"])
