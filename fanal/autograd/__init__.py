"""Automatic differentiation: `backward`, `grad`, custom functions, checks, modes."""


from fanal.autograd.anomaly import detect_anomaly, set_detect_anomaly
from fanal.autograd.function import Function, FunctionCtx, once_differentiable
from fanal.autograd.functional import backward, grad
from fanal.autograd.gradcheck import gradcheck, gradgradcheck
from fanal.autograd.mode import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from fanal.autograd.variable import Variable

__all__ = [
    "Function", "FunctionCtx", "Variable", "backward", "detect_anomaly", "enable_grad", "grad", "gradcheck",
    "gradgradcheck", "inference_mode", "is_grad_enabled", "is_inference_mode_enabled", "no_grad",
    "once_differentiable", "set_detect_anomaly", "set_grad_enabled",
]  # fmt: skip
