"""From IR text to an object file, compiled for a target.

Nothing here knows what the code does; the disk cache stands in front, `elf` behind.
"""

from __future__ import annotations

import functools
import threading

import llvmlite.binding as llvm

from fanal.backends.native.target import Target, host_target

_lock = threading.RLock()


@functools.cache
def _initialised() -> bool:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    return True


@functools.cache
def _machine(triple: str, cpu: str, features: str) -> llvm.TargetMachine:
    _initialised()
    return llvm.Target.from_triple(triple).create_target_machine(
        cpu=cpu, features=features, opt=3, reloc="pic", codemodel="small"
    )


def target_machine(target: Target) -> llvm.TargetMachine:
    """LLVM's machine for one of our target records."""
    return _machine(target.triple, target.cpu, target.features)


def _optimise(module: llvm.ModuleRef, machine: llvm.TargetMachine) -> None:
    """A short pipeline: our text is already in SSA form, with loops rotated and vectors chosen."""
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(1))
    passes = llvm.create_new_function_pass_manager()
    passes.add_sroa_pass()
    passes.add_instruction_combine_pass()
    passes.add_simplify_cfg_pass()
    for function in module.functions:
        if not function.is_declaration:
            passes.run(function, builder)


def compile_ir(ir: str, target: Target | None = None) -> bytes:
    """An object file of a module's text."""
    with _lock:
        machine = target_machine(target or host_target())
        module = llvm.parse_assembly(ir)
        module.triple = (target or host_target()).triple
        _optimise(module, machine)
        return machine.emit_object(module)


def assembly(ir: str, target: Target | None = None) -> str:
    """The machine code as text, for reading."""
    with _lock:
        machine = target_machine(target or host_target())
        module = llvm.parse_assembly(ir)
        _optimise(module, machine)
        return machine.emit_assembly(module)
