"""LLVM at work: a module's text becomes an object file. Needs llvmlite and nothing of this package,
so that processes which only compile (see `workers`) can run this file on its own and begin at once.

Such a process reads requests from its standard input and answers them on its standard output until
the input ends. A message is a line of numbers (lengths; in an answer first whether it went well) and
then that many bytes.
"""

from __future__ import annotations

import contextlib
import functools
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import IO

import llvmlite.binding as llvm

_lock = threading.RLock()


@functools.cache
def _initialised() -> bool:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    return True


@functools.cache
def machine_of(triple: str, cpu: str, features: str) -> llvm.TargetMachine:
    """LLVM's machine for a processor."""
    _initialised()
    # WebAssembly is linked into one module that lies where it lies.
    return llvm.Target.from_triple(triple).create_target_machine(
        cpu=cpu, features=features, opt=3, codemodel="small",
        reloc="static" if triple.startswith("wasm") else "pic",
    )  # fmt: skip


@contextlib.contextmanager
def parsed(ir: str, machine: llvm.TargetMachine) -> Iterator[tuple[llvm.ModuleRef, llvm.PassBuilder]]:
    """A module, and what passes over it are run with.

    What LLVM holds is closed here: left to `__del__`, a Ctrl-C that came meanwhile would be lost.
    """
    with (
        llvm.parse_assembly(ir) as module,
        llvm.create_pipeline_tuning_options(1) as options,
        llvm.create_pass_builder(machine, options) as builder,
    ):
        yield module, builder


def run_on_functions(
    passes: llvm.FunctionPassManager, module: llvm.ModuleRef, builder: llvm.PassBuilder
) -> None:
    """Run passes on all functions that a module has code for."""
    for function in module.functions:
        if not function.is_declaration:
            passes.run(function, builder)


@contextlib.contextmanager
def _optimised(ir: str, machine: llvm.TargetMachine, triple: str) -> Iterator[llvm.ModuleRef]:
    """A short pipeline: our text is already in SSA form, with loops rotated and vectors chosen."""
    with parsed(ir, machine) as (module, builder):
        module.triple = triple
        with llvm.create_new_function_pass_manager() as passes:
            passes.add_sroa_pass()
            passes.add_instruction_combine_pass()
            passes.add_simplify_cfg_pass()
            run_on_functions(passes, module, builder)
        yield module


def object_of(ir: str, triple: str, cpu: str, features: str) -> bytes:
    """An object file."""
    with _lock:
        machine = machine_of(triple, cpu, features)
        with _optimised(ir, machine, triple) as module:
            return bytes(machine.emit_object(module))


def inlined_and_tidied(module: llvm.ModuleRef, builder: llvm.PassBuilder) -> None:
    """For functions that call one another: a sixth of the time of -O2, and there is no loop here to gain by
    more."""
    with llvm.create_new_module_pass_manager() as whole:
        whole.add_always_inliner_pass()
        whole.add_global_dead_code_eliminate_pass()
        whole.run(module, builder)
    with llvm.create_new_function_pass_manager() as passes:
        passes.add_sroa_pass()
        passes.add_simplify_cfg_pass()
        passes.add_new_gvn_pass()
        passes.add_instruction_combine_pass()
        passes.add_simplify_cfg_pass()
        run_on_functions(passes, module, builder)


def small_object_of(ir: str, triple: str, cpu: str, features: str) -> bytes:
    """An object file of functions that call one another, where size counts more than speed."""
    with _lock:
        machine = machine_of(triple, cpu, features)
        with parsed(ir, machine) as (module, builder):
            module.verify()
            inlined_and_tidied(module, builder)
            return bytes(machine.emit_object(module))


def assembly_of(ir: str, triple: str, cpu: str, features: str) -> str:
    """The machine code as text, for reading."""
    with _lock:
        machine = machine_of(triple, cpu, features)
        with _optimised(ir, machine, triple) as module:
            return str(machine.emit_assembly(module))


# -- messages ------------------------------------------------------------------------------------------


def send(stream: IO[bytes], first: Sequence[int], parts: Sequence[bytes]) -> None:
    """Write one message."""
    numbers = (*first, *map(len, parts))
    stream.write(b" ".join(b"%d" % n for n in numbers) + b"\n" + b"".join(parts))
    stream.flush()


def receive(stream: IO[bytes], first: int, parts: int) -> tuple[list[int], list[bytes]] | None:
    """Read one message of so many numbers and parts; None where the stream ends."""
    numbers = [int(n) for n in stream.readline().split()]
    if len(numbers) != first + parts:
        return None
    found = [stream.read(n) for n in numbers[first:]]
    if [len(f) for f in found] != numbers[first:]:
        return None
    return numbers[:first], found


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer until there are no more requests."""
    while (message := receive(requests, 0, 4)) is not None:
        try:
            made = object_of(*(part.decode() for part in message[1]))
        except Exception as error:
            send(answers, [0], [f"{type(error).__name__}: {error}".encode()])
        else:
            send(answers, [1], [made])


if __name__ == "__main__":
    # Ctrl-C is meant for the program that asked; this process ends with the requests.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve(sys.stdin.buffer, sys.stdout.buffer)
