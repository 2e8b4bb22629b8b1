"""Loop kernels: elementwise chains and reductions over strided operands.

A kernel is built from a *structure* in which no extent appears (expressions, dtypes, ranks, stride
classes); extents and strides come with the descriptor at run time.
"""
