"""Matrices: what factorisations and solvers mean, with their derivatives.

Each file is one idea: the NumPy function, the record of its primitive, the formula of its
derivative. The formulas are for matrices; batch dimensions stand in front of everything.
"""
