"""Function transforms, as `torch.func`: gradients, Jacobians, tangents and batches of any function.

`grad` and `vjp` run the function on the tape, as any program; `vmap`, `jvp` and `linearize` trace it into a
graph, transform that, and run it as one native program. All nest in any order.
"""

from fanal.func.forward import jvp, linearize
from fanal.func.jacobians import hessian, jacfwd, jacrev
from fanal.func.mapping import vmap
from fanal.func.modules import (
    functional_call,
    replace_all_batch_norm_modules_,
    stack_module_state,
)
from fanal.func.reverse import grad, grad_and_value, value_and_grad, vjp
from fanal.func.writes import functionalize

__all__ = [
    "functional_call", "functionalize", "grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp",
    "linearize", "replace_all_batch_norm_modules_", "stack_module_state", "value_and_grad", "vjp",
    "vmap",
]  # fmt: skip
