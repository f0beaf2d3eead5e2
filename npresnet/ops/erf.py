"""The error function, which NumPy lacks.

[C] Cody 1969, Rational Chebyshev approximations for the error function, Mathematics of Computation 23(107), Eq. 1–2
"""

from ..backend import Array, namespace_for

NEAR = 0.46875      # where one quotient of polynomials ends and the other begins, as in Cody's CALERF
FAR = 6.0           # from here on erf is 1 in float64
ODD = (1.85777706184603153e-1, 3.16112374387056560e0, 1.13864154151050156e2, 3.77485237685302021e2,
       3.20937758913846947e3), (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3,
                                2.84423683343917062e3)
TAIL = (2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e0, 6.61191906371416295e1,
        2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3,
        1.23033935479799725e3), (1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2,
                                 1.62138957456669019e3, 3.29079923573345963e3, 4.36261909014324716e3,
                                 3.43936767414372164e3, 1.23033935480374942e3)


def erf(x: Array) -> Array:
    """erf(x) = 2/√π ∫₀ˣ e^(−t²) dt, exact to rounding in float32 and float64.                           [C]

        x · R(x²)                      where |x| ≤ 0.46875
        ±(1 − e^(−x²) · T(|x|))        elsewhere

    R and T are quotients of polynomials.  T is made for |x| ≤ 4; beyond, its error is multiplied by less than 1e-7.
    """
    xp = namespace_for(x=x)
    a = abs(x)
    near, far = xp.minimum(a, NEAR), xp.minimum(a, FAR)
    tail = 1 - xp.exp(-far * far) * _quotient(*TAIL, far)
    return xp.where(a <= NEAR, x * _quotient(*ODD, near * near), xp.where(x < 0, -tail, tail))


def _quotient(above, below, x):
    return _polynomial(above, x) / _polynomial(below, x)


def _polynomial(coefficients, x):
    """The value by Horner's rule, the highest power first."""
    value = coefficients[0] * x + coefficients[1]
    for coefficient in coefficients[2:]:
        value = value * x + coefficient
    return value
