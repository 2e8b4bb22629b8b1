"""What signatures don't say of return types: for `tools/stubs.py`.

Functions are annotated with Any where they are traced as well as called; in the stubs an Any that
is returned is a Tensor, except for what stands here.
"""

from __future__ import annotations

# Named tuples of tensors: module, class, and the functions (methods too) that return it.
TUPLES = {
    ("fanal.ops.results", "ValuesAndIndices"): "cummax cummin kthvalue mode sort topk",
    ("fanal.ops.results", "MinMax"): "aminmax",
    ("fanal.ops.results", "Frexp"): "frexp",
    ("fanal.ops.results", "Histogram"): "histogram",
    ("fanal.linalg.results", "Geqrf"): "geqrf",
    ("fanal.linalg.results", "LU"): "lu_unpack linalg.lu",
    ("fanal.linalg.results", "QR"): "qr",
    ("fanal.linalg.results", "SlogDet"): "slogdet",
    ("fanal.linalg.results", "LegacySVD"): "svd",
    ("fanal.linalg.results", "TriangularSolve"): "triangular_solve",
    ("fanal.linalg.results", "SVD"): "linalg.svd",
    ("fanal.linalg.results", "Eigh"): "linalg.eigh",
    ("fanal.linalg.results", "LUFactor"): "linalg.lu_factor",
    ("fanal.linalg.results", "LUFactorEx"): "linalg.lu_factor_ex",
    ("fanal.linalg.results", "InvEx"): "linalg.inv_ex",
    ("fanal.linalg.results", "CholeskyEx"): "linalg.cholesky_ex",
    ("fanal.linalg.results", "SolveEx"): "linalg.solve_ex",
    ("fanal.linalg.results", "Lstsq"): "linalg.lstsq",
}

RETURNS = {
    "tuple[Tensor, ...]": (
        "chunk split unbind dsplit hsplit vsplit tensor_split meshgrid broadcast_tensors "
        "split_with_sizes unsafe_chunk unsafe_split split_with_sizes_copy split_copy unbind_copy "
        "unravel_index"
    ),
    "list[Tensor]": "gradient",
    "tuple[Tensor, Tensor]": (
        "std_mean var_mean max_pool1d_with_indices max_pool2d_with_indices max_pool3d_with_indices "
        "adaptive_max_pool1d_with_indices adaptive_max_pool2d_with_indices "
        "adaptive_max_pool3d_with_indices fractional_max_pool2d_with_indices "
        "fractional_max_pool3d_with_indices"
    ),
    "tuple[Tensor, Tensor | None]": "multi_head_attention_forward",
    "Size": "broadcast_shapes",
    "Any": "load lu fanal.cond while_loop histogramdd tolist type as_subclass module_load __array__ __deepcopy__ __dlpack__",
    "bool": "__bool__ __contains__",
    "int": "__len__ __int__ __index__ __hash__",
    "float": "__float__",
    "complex": "__complex__",
    "Iterator[Tensor]": "__iter__",
    "None": "__setitem__",
}  # fmt: skip

_EXTREME = (
    "({x}: Tensor) -> Tensor",
    "({x}: Tensor, dim: int, keepdim: bool = ..., *, out: Any = ...) -> ValuesAndIndices",
)
_UNIQUE = (
    "({x}: Tensor, {sorted}return_inverse: Literal[False] = ..., return_counts: Literal[False] = ..., dim: int | None = ...) -> Tensor",
    "({x}: Tensor, {sorted}return_inverse: bool = ..., return_counts: bool = ..., dim: int | None = ...) -> tuple[Tensor, ...]",
)  # fmt: skip
_ATLEAST = ("(*tensors: Tensor) -> Any",)

# Functions whose result's type depends on the arguments; {x} is `input`, or `self` in a method.
OVERLOADS: dict[str, tuple[str, ...]] = {
    "max": (*_EXTREME, "({x}: Tensor, other: Tensor, *, out: Tensor | None = ...) -> Tensor"),
    "min": (*_EXTREME, "({x}: Tensor, other: Tensor, *, out: Tensor | None = ...) -> Tensor"),
    "median": _EXTREME,
    "nanmedian": _EXTREME,
    "nonzero": (
        "({x}: Tensor, *, out: Tensor | None = ..., as_tuple: Literal[False] = ...) -> Tensor",
        "({x}: Tensor, *, as_tuple: Literal[True]) -> tuple[Tensor, ...]",
    ),
    "unique": tuple(u.replace("{sorted}", "sorted: bool = ..., ") for u in _UNIQUE),
    "unique_consecutive": tuple(u.replace("{sorted}", "") for u in _UNIQUE),
    "atleast_1d": _ATLEAST,
    "atleast_2d": _ATLEAST,
    "atleast_3d": _ATLEAST,
    "fanal.where": (
        "(condition: Tensor) -> tuple[Tensor, ...]",
        "(condition: Tensor, input: Tensor | Number, other: Tensor | Number, *, out: Tensor | None = ...) -> Tensor",
    ),
    "Tensor.size": ("(self) -> Size", "(self, dim: int) -> int"),
    "Tensor.stride": ("(self) -> tuple[int, ...]", "(self, dim: int) -> int"),
}  # fmt: skip

# Parameters annotated Any that are tensors (with None for default: or None).
TENSORS = {
    "input", "self", "tensor", "tensor1", "tensor2", "mat", "mat1", "mat2", "batch1", "batch2",
    "vec", "vec1", "vec2", "A", "B", "x1", "x2", "index", "mask", "source", "log_probs", "query",
    "key", "attn_mask", "grid", "running_mean", "running_var", "in_proj_weight", "in_proj_bias",
    "out_proj_weight", "out_proj_bias", "key_padding_mask", "anchor", "positive", "negative",
    "input1", "input2", "log_input", "out",
}  # fmt: skip
OR_NONE = {"running_mean", "running_var"}
NUMBERS_TOO = {"other", "exponent"}  # and `input` beside them
# Where `input` may be anything that `as_tensor` takes, or several tensors.
KEEP_ANY = {"is_tensor", "is_storage", "typename", "meshgrid", "block_diag", "broadcast_tensors", "result_type"}
