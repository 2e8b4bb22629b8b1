"""A training step leaves Python: a hundred steps driven from C end at the compiled step's weights, bit for bit."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import fanal
import fanal.edge
import fanal.nn as nn
import fanal.nn.functional as F
from fanal.export import Dim, export

STEPS, BATCH = 100, 16
SOURCE = """
#include "learner.h"
#include <stdio.h>
#include <stdlib.h>

enum { STEPS = %(steps)d, BATCH = %(batch)d };

static void read_all(const char *path, void *to, size_t size) {
    FILE *file = fopen(path, "rb");
    if (!file || fread(to, 1, size, file) != size) exit(2);
    fclose(file);
}

int main(void) {
    static float x[STEPS][BATCH * 64];
    static int64_t y[STEPS][BATCH];
    void *weights = aligned_alloc(64, (LEARNER_WEIGHTS_BYTES + 63) / 64 * 64);
    void *state = aligned_alloc(64, (LEARNER_STATE_BYTES + 63) / 64 * 64);
    void *arena = aligned_alloc(64, (LEARNER_ARENA_MAX + 63) / 64 * 64);
    learner_how how = {learner_cpu_level(), NULL, NULL};
    read_all("learner.weights", weights, LEARNER_WEIGHTS_BYTES);
    read_all("x", x, sizeof x);
    read_all("y", y, sizeof y);
    learner_state_init(state, weights);
    for (int i = 0; i < STEPS; i++) {
        float loss;
        learner_train_in in = {.batch = BATCH, .x = x[i], .y = y[i]};
        learner_train_out out = {.loss = &loss};
        learner_status status = learner_train(&in, &out, state, arena, LEARNER_ARENA_MAX, weights, &how);
        if (status != LEARNER_OK) {
            puts(learner_status_text(status));
            return 1;
        }
        printf("%%a\\n", (double)loss);
    }
    FILE *file = fopen("state", "wb");
    fwrite(state, 1, LEARNER_STATE_BYTES, file);
    fclose(file);
    return 0;
}
"""


class Network(nn.Module):
    """The demo's network, narrower."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.hidden, self.out = nn.Linear(8 * 16, 24), nn.Linear(24, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.norm(self.conv(x))), 2).flatten(1)
        return self.out(F.dropout(F.relu(self.hidden(x)), 0.25, self.training))


def test_a_hundred_steps(tmp_path: Path) -> None:
    if shutil.which("cc") is None:
        pytest.skip("there is no cc")
    fanal.manual_seed(0)
    model = Network()
    optimizer = fanal.optim.AdamW(model.parameters(), lr=2e-3)

    def train(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y, label_smoothing=0.05)
        loss.backward()
        optimizer.step()
        return loss

    chance = np.random.default_rng(0)
    x = chance.standard_normal((STEPS, BATCH, 1, 8, 8), np.float32)
    y = chance.integers(0, 10, (STEPS, BATCH))
    dim = Dim("batch", min=2, max=32)
    first = fanal.from_numpy(x[0]), fanal.from_numpy(y[0])
    program = export(
        train, first, dynamic_shapes={"x": {0: dim}, "y": {0: dim}}, name="learner", signature="train",
        output_names=["loss"],
    )  # fmt: skip
    program.state["random"].copy_(fanal.get_rng_state())
    fanal.edge.build(program, tmp_path)
    x.tofile(tmp_path / "x")
    y.tofile(tmp_path / "y")
    (tmp_path / "main.c").write_text(SOURCE % {"steps": STEPS, "batch": BATCH})
    command = ["cc", "-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "main.c", "liblearner.a", "-o", "main"]
    subprocess.run(command, cwd=tmp_path, check=True)
    ran = subprocess.run(["./main"], cwd=tmp_path, check=True, capture_output=True, text=True)
    losses = [float.fromhex(line) for line in ran.stdout.split()]

    step = fanal.compile(train)
    assert losses == [step(fanal.from_numpy(a), fanal.from_numpy(b)).item() for a, b in zip(x, y, strict=True)]
    state = (tmp_path / "state").read_bytes()
    header = (tmp_path / "learner.h").read_text()
    for name, t in (*model.named_parameters(), *model.named_buffers()):
        macro = f"LEARNER_STATE_MODEL_{name.upper().replace('.', '_')} "
        offset = int(header.split(f"#define {macro}")[1].split()[0])
        size = t.numel() * t.dtype.itemsize
        assert state[offset : offset + size] == t.detach().numpy().tobytes(), name
    assert losses[-1] < losses[0]
