"""What can be built for: an architecture, and the instruction-set levels of it that go into one library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fanal.backends.native.target import TARGETS, Target, host_target
from fanal.core.errors import message, nearest


@dataclass(frozen=True, slots=True)
class Machine:
    """A kind of machine. `levels` are targets, the poorest first; a level's number is its place here, in
    whatever library."""

    name: str
    levels: tuple[Target, ...]
    emulation: str  # what `ld.lld` calls it; "" for WebAssembly

    @property
    def pointer_bytes(self) -> int:
        return self.levels[0].pointer_bits // 8

    @property
    def is_wasm(self) -> bool:
        return not self.emulation


def _machine(name: str, emulation: str, *levels: str) -> Machine:
    # All levels and all sizes read the same packed weights.
    return Machine(name, tuple(replace(TARGETS[n], line_panels=True) for n in levels), emulation)


MACHINES = {
    m.name: m
    for m in (
        _machine("x86_64-linux", "elf_x86_64", "x86-64", "x86-64-v3", "x86-64-v4"),
        _machine("aarch64-linux", "aarch64linux", "aarch64"),
        _machine("armv7-linux", "armelf_linux_eabi", "armv7"),
        _machine("riscv64-linux", "elf64lriscv", "riscv64"),
        _machine("wasm32", "", "wasm32"),
    )
}


def machine_of(name: str) -> Machine:
    """The machine of a name that somebody gave."""
    found = MACHINES.get(name)
    if found is None:
        raise ValueError(
            message(
                "build", "unknown target", repr(name), "one of " + ", ".join(MACHINES),
                " or ".join(nearest(name, MACHINES)),
            )
        )
    return found


def levels_of(machine: Machine, wanted: Sequence[str] | None) -> list[int]:
    """The numbers of the levels that are wanted by name (None: all)."""
    names = [t.name for t in machine.levels]
    if wanted is None:
        return list(range(len(names)))
    for name in wanted:
        if name not in names:
            raise ValueError(
                message("build", f"{machine.name} has no such level", repr(name), "some of " + ", ".join(names))
            )
    if not wanted:
        raise ValueError(message("build", "no levels", "[]", "some of " + ", ".join(names)))
    return sorted({names.index(name) for name in wanted})


def module_flags(target: Target) -> str:
    """What a module's text says about calls: RISC-V passes real numbers in their own registers."""
    if not target.triple.startswith("riscv64"):
        return ""
    return '!llvm.module.flags = !{!0}\n!0 = !{i32 1, !"target-abi", !"lp64d"}\n'


def stand_in(target: Target) -> Target:
    """The processor at hand, with another one's vectors and instructions as far as they show in what
    kernels compute and how they lay it out: it runs what is to be computed when a library is built."""
    host = host_target()
    return replace(
        target, name=f"{target.name} on {host.name}", triple=host.triple, cpu=host.cpu, features=host.features,
        fma=target.fma and host.fma, f16=host.f16, pointer_bits=64,
        function_attributes=host.function_attributes,
    )  # fmt: skip


def host_level(machine: Machine) -> int:
    """The number of the level that this process computes with; -1 if it is none of the machine's."""
    host = host_target()
    if not host.triple.startswith(machine.name.split("-")[0]):
        return -1
    names = [t.name for t in machine.levels]
    return names.index(host.name) if host.name in names else -1


def runs_here(machine: Machine) -> list[int]:
    """The numbers of the levels that this processor runs."""
    return list(range(host_level(machine) + 1))
