"""Fits the coefficients of crates/tallow-kernels/src/gaussian.rs: Mills's ratio by P(t)/Q(t), relative error weighted.

Run: python scripts/fit_mills_ratio.py (needs mpmath; half a minute).
"""

from mpmath import cos, erfc, exp, lu_solve, matrix, mp, mpf, nstr, pi, sqrt

mp.dps = 60


def ratio(t):
    return erfc(t / sqrt(2)) / 2 * sqrt(2 * pi) * exp(t * t / 2)


def value(coefficients, t):
    return sum(c * t**i for i, c in enumerate(coefficients))


def fit(p_degree, q_degree, end, rounds=25):
    """Linear least squares of P/R − Q, reweighted towards the largest relative error (Lawson) and by 1/Q."""
    # Chebyshev nodes in 1/(1 + t/2), in which R is smooth up to infinity.
    nodes, first = 8 * (p_degree + q_degree), 1 / (1 + mpf(end) / 2)
    spots = [(1 + first) / 2 + (1 - first) / 2 * cos(pi * (i + mpf(1) / 2) / nodes) for i in range(nodes)]
    ts = [2 * (1 / w - 1) for w in spots]
    ratios = [ratio(t) for t in ts]
    weights, scales, best = [mpf(1)] * nodes, [mpf(1)] * nodes, None
    unknowns = p_degree + 1 + q_degree
    for _ in range(rounds):
        a, b = matrix(unknowns, unknowns), matrix(unknowns, 1)
        for t, r, weight, scale in zip(ts, ratios, weights, scales):
            row = [t**i / r for i in range(p_degree + 1)] + [-(t**j) for j in range(1, q_degree + 1)]
            for i in range(unknowns):
                b[i] += weight / scale**2 * row[i]
                for j in range(unknowns):
                    a[i, j] += weight / scale**2 * row[i] * row[j]
        solution = list(lu_solve(a, b))
        p, q = solution[: p_degree + 1], [mpf(1)] + solution[p_degree + 1 :]
        scales = [value(q, t) for t in ts]
        errors = [abs(value(p, t) / scale / r - 1) for t, scale, r in zip(ts, scales, ratios)]
        if best is None or max(errors) < best[0]:
            best = (max(errors), p, q)
        mean = sum(errors) / nodes
        weights = [weight * (error / mean + mpf("1e-3")) for weight, error in zip(weights, errors)]
        weights = [weight / max(weights) for weight in weights]
    return best


for name, p_degree, q_degree, end in [("f32", 4, 5, 15), ("f64", 9, 10, 39)]:
    error, p, q = fit(p_degree, q_degree, end)
    print(name, "relative error", nstr(error, 3))
    print("P", [nstr(c, 18) for c in p])
    print("Q", [nstr(c, 18) for c in q])
