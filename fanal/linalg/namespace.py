"""The public form of the functions of `fanal.linalg`: which take `out=`, and PyTorch's names."""

from __future__ import annotations

from fanal.linalg import factors, norms, products, spectral, systems
from fanal.linalg.names import also_named
from fanal.tensor.outputs import takes_out

cholesky = also_named(takes_out(factors.cholesky), input="A")
cholesky_ex = also_named(takes_out(factors.cholesky_ex), input="A")
lu = also_named(takes_out(factors.lu), input="A")
lu_factor = also_named(takes_out(factors.lu_factor), input="A")
lu_factor_ex = also_named(takes_out(factors.lu_factor_ex), input="A")
qr = also_named(takes_out(factors.qr), input="A")

cond = also_named(takes_out(norms.cond), input="A")
matrix_norm = also_named(takes_out(norms.matrix_norm), input="A")
norm = also_named(takes_out(norms.norm), input="A")
vector_norm = also_named(takes_out(norms.vector_norm), input="x")

cross = takes_out(products.cross)
det = also_named(takes_out(products.det), input="A")
diagonal = also_named(products.diagonal, input="A")
householder_product = also_named(takes_out(products.householder_product), input="A")
matrix_exp = also_named(products.matrix_exp, input="A")
matrix_power = also_named(takes_out(products.matrix_power), input="A")
multi_dot = takes_out(products.multi_dot)
slogdet = also_named(takes_out(products.slogdet), input="A")
vecdot = takes_out(products.vecdot)

eigh = also_named(takes_out(spectral.eigh), input="A")
eigvalsh = also_named(takes_out(spectral.eigvalsh), input="A")
matrix_rank = also_named(takes_out(spectral.matrix_rank), input="A")
pinv = also_named(takes_out(spectral.pinv), input="A")
svd = also_named(takes_out(spectral.svd), input="A")
svdvals = also_named(takes_out(spectral.svdvals), input="A")

inv = also_named(takes_out(systems.inv), input="A")
inv_ex = also_named(takes_out(systems.inv_ex), input="A")
lstsq = also_named(systems.lstsq, input="A", b="B")
lu_solve = takes_out(systems.lu_solve)
solve = also_named(takes_out(systems.solve), input="A")
solve_ex = also_named(takes_out(systems.solve_ex), input="A")
solve_triangular = also_named(takes_out(systems.solve_triangular), input="A")
tensorinv = also_named(takes_out(systems.tensorinv), input="A")
tensorsolve = also_named(takes_out(systems.tensorsolve), input="A", other="B")
