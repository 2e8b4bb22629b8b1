"""Libraries for other processors run their golden cases there (in an emulator), with open sizes and with state."""

from __future__ import annotations

import shutil
import subprocess

import pytest

import fanal
import fanal.edge
import fanal.nn as nn
import fanal.nn.functional as F
from fanal.export import Dim, export

MACHINES = {
    "aarch64-linux": ("aarch64-linux-gnu-gcc", "qemu-aarch64"),
    "riscv64-linux": ("riscv64-linux-gnu-gcc", "qemu-riscv64"),
    "armv7-linux": ("arm-linux-gnueabihf-gcc", "qemu-arm"),
}
_MAIN = """
#include <stdio.h>
#include <stdlib.h>
#include "PROGRAM.h"
static void *whole(const char *path, size_t *size) {
    FILE *f = fopen(path, "rb");
    void *memory = NULL;
    if (!f) return NULL;
    fseek(f, 0, SEEK_END);
    *size = (size_t)ftell(f);
    rewind(f);
    if (posix_memalign(&memory, 64, *size) || fread(memory, 1, *size, f) != *size) exit(2);
    fclose(f);
    return memory;
}
int main(int argc, char **argv) {
    size_t size = 0, golden_size = 0, which = 0;
    void *weights = argc > 2 ? whole(argv[2], &size) : NULL, *golden = whole(argv[1], &golden_size), *arena = NULL;
    if (posix_memalign(&arena, 64, UPPER_SELFTEST_BYTES)) return 3;
    PROGRAM_how how = {PROGRAM_cpu_level(), NULL, NULL};
    PROGRAM_status status = PROGRAM_selftest(golden, golden_size, arena, UPPER_SELFTEST_BYTES, weights, &how, &which);
    printf("%d %d %s", (int)status, (int)which, PROGRAM_status_text(status));
    return 0;
}
"""


def convolutional():
    model = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(54, 20), nn.Softmax(1)).eval()
    return export(model, (fanal.randn(3, 1, 6, 6),), name="convolutional", dynamic_shapes=({0: Dim("batch", max=9)},))


def recurrent():
    model = nn.LSTM(5, 8, batch_first=True).eval()
    return export(model, (fanal.randn(2, 4, 5),), name="recurrent", dynamic_shapes=({1: Dim("length", max=6)},))


def means():
    return export(lambda x: (x.mean(0), x.sort(0)[0], x.argmax(0)), (fanal.randn(3, 4),), name="means",
                  dynamic_shapes=({0: Dim("n", max=30)},))  # fmt: skip


def learner():
    model = nn.Sequential(nn.Linear(6, 10), nn.Tanh(), nn.Linear(10, 3))
    optimizer = fanal.optim.Adam(model.parameters(), lr=0.01)

    def train(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return export(train, (fanal.randn(4, 6), fanal.randint(0, 3, (4,))), name="learner", signature="train")


@pytest.mark.parametrize("make", [convolutional, recurrent, means, learner])
@pytest.mark.parametrize("target", list(MACHINES))
def test_golden_cases(target, make, tmp_path):
    compiler, emulator = MACHINES[target]
    for tool in (compiler, emulator):
        if shutil.which(tool) is None:
            pytest.skip(f"there is no {tool}")
    fanal.manual_seed(1)
    program = make()
    fanal.edge.build(program, tmp_path, target)
    name = program.name
    source = "#define _XOPEN_SOURCE 700\n" + _MAIN.replace("PROGRAM", name).replace("UPPER", name.upper())
    (tmp_path / "main.c").write_text(source)
    command = [compiler, "-std=c99", "-Wall", "-Werror", "-static", "main.c", f"lib{name}.a", "-o", "main"]
    made = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    weights = [f"{name}.weights"] if (tmp_path / f"{name}.weights").exists() else []
    ran = subprocess.run([emulator, "./main", "golden.bin", *weights], cwd=tmp_path, capture_output=True, text=True)
    assert ran.stdout == "0 0 all went well", (ran.returncode, ran.stdout, ran.stderr)
