"""Runs `versus` and torch_versus.py in turn and prints, task by task, both medians and their ratio.

    python scripts/bench/compare.py [--rounds N] [TASK ...]
    python scripts/bench/compare.py --grow NETWORK

With --grow, time and peak memory of a training step of mlp, unet or dit against the batch.
The two sides alternate, so that a machine whose speed changes slows both. Exits with 1 if a task is missing on a side.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CARGO = ["cargo", "run", "--quiet", "--release", "--package", "tallow-benches", "--bin", "versus", "--"]
TORCH = [sys.executable, str(HERE / "torch_versus.py")]


def run(command, tasks):
    """Task to (median, minimum) in milliseconds."""
    done = subprocess.run(command + tasks, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr.strip()}")
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {line["task"]: (line["ms"], line["min_ms"]) for line in lines}


def grow(network):
    """A table of both sides' training step by batch."""
    sides = []
    for command in (CARGO, TORCH):
        done = subprocess.run(command + ["--grow", network], cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)} failed:\n{done.stderr.strip()}")
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        sides.append({line["batch"]: (line["ms"], line["peak_mb"]) for line in lines})
    ours, theirs = sides
    print(f"{'batch':>6}{'tallow ms':>11}{'PyTorch ms':>12}{'ratio':>7}{'tallow MB':>11}{'PyTorch MB':>12}")
    for batch, (their_ms, their_mb) in theirs.items():
        ms, mb = ours[batch]
        print(f"{batch:>6}{ms:>11.2f}{their_ms:>12.2f}{ms / their_ms:>7.2f}{mb or float('nan'):>11.0f}{their_mb:>12.0f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", metavar="TASK", help="all that both sides have, if none is named")
    parser.add_argument("--rounds", type=int, default=3, help="how often each side runs (3)")
    parser.add_argument("--grow", choices=["dit", "mlp", "unet"], help="time and memory of a training step against the batch")
    options = parser.parse_args()
    if options.grow:
        return grow(options.grow)
    rounds = [(run(CARGO, options.tasks), run(TORCH, options.tasks)) for _ in range(options.rounds)]
    ours, theirs = rounds[0]
    print(f"{'task':<22}{'tallow ms':>11}{'PyTorch ms':>12}{'ratio':>7}{'of minima':>11}")
    for task in theirs:
        if task not in ours:
            print(f"{task:<22}{'missing':>11}")
            continue
        medians = [[side[task][0] for side in pair] for pair in rounds]
        minima = [min(pair[side][task][1] for pair in rounds) for side in (0, 1)]
        ratio = statistics.median(a / b for a, b in medians)
        a, b = (statistics.median(column) for column in zip(*medians))
        print(f"{task:<22}{a:>11.3f}{b:>12.3f}{ratio:>7.2f}{minima[0] / minima[1]:>11.2f}")
    return int(set(ours) != set(theirs))


if __name__ == "__main__":
    sys.exit(main())
