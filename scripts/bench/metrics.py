"""Times tallow-metrics and SciPy on the same tasks, one side after the other, and prints both and their ratio.

    python scripts/bench/metrics.py [BINARY]

BINARY is the built `metrics` of the benches; without it, cargo builds and runs it. Needs numpy and scipy. SciPy's root of
the product of covariances is what pytorch-fid computes; it runs once, the others are the median of three.
"""

import json
import pathlib
import statistics
import subprocess
import sys
import time

import numpy
from scipy.linalg import sqrtm
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

ROOT = pathlib.Path(__file__).resolve().parents[2]
CARGO = ["cargo", "run", "--quiet", "--release", "--package", "tallow-benches", "--bin", "metrics"]


def exact(generator):
    x, y = generator.normal(size=(2048, 2)), generator.normal(size=(2048, 2)) + 0.5
    return 3, lambda: linear_sum_assignment(cdist(x, y, "sqeuclidean"))


def frechet(generator):
    x, y = (numpy.cov(generator.normal(size=(3000, 2048)) * scale, rowvar=False) for scale in (1, 1.1))
    return 1, lambda: numpy.trace(sqrtm(x @ y)).real


def sliced(generator):
    x, y = generator.normal(size=(50_000, 2)), generator.normal(size=(50_000, 2)) + 0.5
    angles = numpy.arange(50) * numpy.pi / 50
    directions = numpy.stack([numpy.cos(angles), numpy.sin(angles)])
    return 3, lambda: numpy.square(numpy.sort(x @ directions, 0) - numpy.sort(y @ directions, 0)).mean()


TASKS = {"exact_w2_2048": exact, "frechet_2048": frechet, "sliced_w2_50000": sliced}


def measure(runs, work):
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def main():
    command = sys.argv[1:] or CARGO
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    ours = {line["task"]: line["ms"] for line in map(json.loads, done.stdout.splitlines())}
    print(f"{'task':<18}{'tallow ms':>11}{'SciPy ms':>11}{'ratio':>7}")
    for name, make in TASKS.items():
        theirs = measure(*make(numpy.random.default_rng(0)))
        print(f"{name:<18}{ours[name]:>11.1f}{theirs:>11.1f}{ours[name] / theirs:>7.2f}", flush=True)


if __name__ == "__main__":
    main()
