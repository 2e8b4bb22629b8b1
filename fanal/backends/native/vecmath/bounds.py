"""Error bounds in units in the last place (ulp), per function and element type.

Keys: "float" and "double" on targets with a fused multiply-add; "float_no_fma", "double_no_fma"
without, where they differ. The tests hold them. An ulp is that of the exact result, except:

- lgamma and digamma of negative arguments have roots that no formula in double hits: there the
  ulp is that of max(|result|, 1 + |log|x||) and max(|result|, 4);
- logaddexp cancels where x, y ≈ -log 2: the ulp is that of max(|x|, |y|, 0.7);
- gammainc and gammaincc are e^-E times a factor, and E's error counts: the ulp is that of
  result·(1 + |log result|/8);
- zeta for negative q sums terms of both signs: the ulp is that of the largest term;
- bessel_j and bessel_y near their zeros: the ulp is that of max(|result|, amplitude/16) with the
  amplitude √(2/πx);
- airy_ai for negative arguments likewise, with the amplitude 1/(√π·|x|^¼).

`remainder` returns one addition of the exact fmod (rounded), 0 is "exact".
"""

ULP: dict[str, dict[str, float]] = {}


def _bound(
    names: str,
    float_: float,
    double: float,
    float_no_fma: float | None = None,
    double_no_fma: float | None = None,
) -> None:
    for name in names.split():
        ULP[name] = {
            "float": float_,
            "double": double,
            "float_no_fma": float_no_fma or float_,
            "double_no_fma": double_no_fma or double,
        }


_bound("floor ceil trunc round copysign fmod nextafter ldexp frexp_mantissa frexp_exponent", 0, 0)
_bound("sqrt remainder", 0.5, 0.5)
_bound("rsqrt", 1.5, 1.5)
_bound("exp exp2", 1.2, 1.2, 1.5, 1.5)
_bound("expm1", 1.4, 1.4, 1.6, 1.6)
_bound("log", 1.2, 1.0, 1.2, 1.0)
_bound("log2 log10", 1.2, 1.2, 2.2, 2.2)
_bound("log1p", 1.3, 1.2, 1.5, 1.5)
_bound("tanh", 1.4, 1.4, 1.5, 1.5)
_bound("sigmoid", 1.3, 1.3, 2.6, 2.6)
_bound("erf", 1.3, 1.3, 1.5, 1.5)
_bound("sin cos", 1.6, 1.3, 1.7, 1.5)
_bound("tan", 0.6, 1.4, 0.6, 1.6)
_bound("asin acos", 1.3, 1.0, 1.3, 1.3)
_bound("atan", 1.2, 1.0)
_bound("atan2", 1.6, 1.6)
_bound("sinh cosh", 1.2, 1.2)
_bound("asinh acosh atanh", 0.6, 1.6)
_bound("pow", 0.6, 1.2, 0.6, 1.5)
_bound("hypot", 0.6, 0.6)
_bound("cbrt", 0.6, 0.6)
_bound("sinc", 0.6, 1.5)
_bound("xlogy xlog1py", 0.6, 2.0)
_bound("logaddexp", 1.0, 2.0)
_bound("erfc", 0.6, 2.0, 0.6, 2.5)
_bound("ndtr", 0.6, 3.0)
_bound("log_ndtr", 0.6, 3.0, 0.6, 3.5)
_bound("ndtri erfinv", 0.6, 4.0, 0.6, 4.5)
_bound("lgamma", 0.6, 4.0)
_bound("digamma", 0.6, 4.0)
_bound("trigamma", 0.6, 4.0)
_bound("i0 i1 i0e i1e", 0.7, 4.0)
_bound("bessel_j0 bessel_j1 bessel_y0 bessel_y1", 0.6, 5.0)
_bound(
    "modified_bessel_k0 modified_bessel_k1 scaled_modified_bessel_k0 scaled_modified_bessel_k1",
    0.6, 4.0,
)
_bound("airy_ai", 0.6, 5.0)
_bound("erfcx", 0.6, 3.0)
_bound("entr", 0.6, 2.0)
_bound("zeta", 0.6, 8.0)
_bound("gammainc gammaincc", 0.6, 8.0)
