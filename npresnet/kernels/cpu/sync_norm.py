"""Between the passes of a batch norm over several ranks: what a rank sends to the others, and what it makes of theirs.

A block of CHANNELS an item, as in :mod:`.channels`; the equations are those of :mod:`npresnet.ops.sync_norm`.

[CGL] Chan, Golub & LeVeque 1979, Updating formulae and a pairwise algorithm for computing sample variances
"""


from .channels import CHANNELS, set_coefficients, set_combination
from .codegen.jit import floor_of
from .codegen.vector import doubles, floats
from .program.chains import PARTS, images_of
from .program.entry_point import Address, entry_point


@entry_point
def own_moments(item, work, sums: Address, images: int, pixels: int, c: int, moments: Address):
    """Rows n, μ, Σ (x − μ)² in float64, of this rank's images, from their :data:`.channels.moments`.     [CGL]"""
    parts, m = min(images, PARTS), images * pixels
    totals, made = doubles(sums, parts * 3 * c), doubles(moments, 3 * c)
    for k in range(item * CHANNELS, min(c, (item + 1) * CHANNELS)):
        mean, squares = 0.0, 0.0
        for part in range(parts):
            first, last = images_of(part, images)
            mean += ((last - first) * pixels * totals[3 * part * c + k] + totals[(3 * part + 1) * c + k]) / m
        for part in range(parts):
            first, last = images_of(part, images)
            n, shifted = (last - first) * pixels, totals[(3 * part + 1) * c + k]
            squares += totals[(3 * part + 2) * c + k] - shifted * shifted / n
            squares += n * (totals[3 * part * c + k] + shifted / n - mean) ** 2
        made[k], made[c + k], made[2 * c + k] = m, mean, squares


@entry_point
def finish_moments_of_ranks(item, work, moments: Address, ranks: int, c: int, gamma: Address, beta: Address,
                            eps: Address, relu: bool, values: Address, inv_std: Address, rows: Address):
    """As :data:`.channels.finish_moments`, from the ranks' :data:`own_moments`.

        m = Σ nᵣ        μ = Σ nᵣ μᵣ / m        σ² = Σ (Mᵣ + nᵣ (μᵣ − μ)²) / m                 [CGL]
    """
    given, found = doubles(moments, ranks * 3 * c), floats(values, 2 * c)
    gammas, betas, inverse, out = floats(gamma, c), floats(beta, c), floats(inv_std, c), floats(rows, 4 * c)
    floor = floor_of(relu)
    for k in range(item * CHANNELS, min(c, (item + 1) * CHANNELS)):
        m, mean, var = 0.0, 0.0, 0.0
        for rank in range(ranks):
            m += given[3 * rank * c + k]
            mean += given[3 * rank * c + k] * given[(3 * rank + 1) * c + k]
        mean /= m
        for rank in range(ranks):
            n, own = given[3 * rank * c + k], given[(3 * rank + 1) * c + k]
            var += (given[(3 * rank + 2) * c + k] + n * (own - mean) ** 2) / m
        found[k], found[c + k] = mean, 0.0 if var < 0 else var              # a NaN stays
        set_coefficients(k, c, found[k], found[c + k], gammas, betas, eps, floor, inverse, out)


@entry_point
def own_gradients(item, work, sums: Address, parts: int, c: int, inv_std: Address, dgamma: Address, dbeta: Address,
                  out: Address):
    """dβ = Σ g, dγ = Σ g·x̂ of this rank, from its :data:`.channels.part_gradient_sums`; rows of the same in float64."""
    totals, made = doubles(sums, parts * 2 * c), doubles(out, 2 * c)
    for k in range(item * CHANNELS, min(c, (item + 1) * CHANNELS)):
        first, second = 0.0, 0.0
        for part in range(parts):
            first += totals[2 * part * c + k]
            second += totals[(2 * part + 1) * c + k]
        second *= floats(inv_std, c)[k]
        made[k], made[c + k] = first, second
        floats(dbeta, c)[k], floats(dgamma, c)[k] = first, second


@entry_point
def finish_gradients_of_ranks(item, work, sums: Address, m: int, c: int, rows: Address, inv_std: Address, out: Address):
    """The rows of :data:`.channels.combine` for dx, from Σ :data:`own_gradients` over the ranks.

        dx = scale · (g − Σ g/m − x̂ · Σ g·x̂/m) = scale · (g − Σ g/m − k · (x − μ))        k = Σ g·x̂/(m √(σ² + ε))
    """
    totals, given, made = doubles(sums, 2 * c), floats(rows, 4 * c), floats(out, 6 * c)
    for i in range(item * CHANNELS, min(c, (item + 1) * CHANNELS)):
        mean, scale = given[i], given[c + i]
        k = totals[c + i] * floats(inv_std, c)[i] / m
        set_combination(i, c, -scale * k, scale * (k * mean - totals[i] / m), given, made)
