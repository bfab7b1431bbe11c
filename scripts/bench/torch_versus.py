"""The tasks of the binary `versus`, done by PyTorch: one JSON line a task.

    python scripts/bench/torch_versus.py [--threads N] [--compile] [TASK ...]
    python scripts/bench/torch_versus.py --grow mlp

Every network, batch and step is that of `versus`; see README.md in this folder.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F


def board(count):
    """Uniform points on the black squares of a 4 x 4 board over [-2, 2)^2, (count, 2)."""
    x = 4 * torch.rand(count) - 2
    y = 2 * torch.rand(count)
    return torch.stack([x, y - 2 + y.floor() + x.floor() % 2], dim=1)


class Mlp(nn.Sequential):
    """[x, t] to a velocity: four hidden layers of 256 with SiLU."""

    def __init__(self):
        widths = [3, 256, 256, 256, 256]
        hidden = [part for a, b in zip(widths, widths[1:]) for part in (nn.Linear(a, b), nn.SiLU())]
        super().__init__(*hidden, nn.Linear(256, 2))

    def forward(self, x, t):
        return super().forward(torch.cat([x, t], dim=1))


class Residual(nn.Module):
    """GroupNorm, SiLU, convolution, twice; the time is added between, and a 1 x 1 convolution where channels change."""

    def __init__(self, inputs, outputs, times):
        super().__init__()
        self.first = nn.Sequential(nn.GroupNorm(8, inputs), nn.SiLU(), nn.Conv2d(inputs, outputs, 3, padding=1))
        self.second = nn.Sequential(nn.GroupNorm(8, outputs), nn.SiLU(), nn.Conv2d(outputs, outputs, 3, padding=1))
        self.time = nn.Sequential(nn.SiLU(), nn.Linear(times, outputs))
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x, t):
        return self.skip(x) + self.second(self.first(x) + self.time(t)[:, :, None, None])


class UNet(nn.Module):
    """28 x 28 x 1 at three resolutions with 32, 64 and 64 channels, one residual block each way."""

    def __init__(self):
        super().__init__()
        self.time = nn.Linear(1, 128)
        self.head = nn.Conv2d(1, 32, 3, padding=1)
        self.down = nn.ModuleList([Residual(32, 32, 128), Residual(64, 64, 128)])
        self.shrink = nn.ModuleList([nn.Conv2d(32, 64, 3, 2, 1), nn.Conv2d(64, 64, 3, 2, 1)])
        self.middle = Residual(64, 64, 128)
        self.up = nn.ModuleList([Residual(128, 64, 128), Residual(96, 32, 128)])
        self.tail = nn.Conv2d(32, 1, 3, padding=1)

    def forward(self, x, t):
        t, h, kept = self.time(t), self.head(x), []
        for block, shrink in zip(self.down, self.shrink):
            h = block(h, t)
            kept.append(h)
            h = shrink(h)
        h = self.middle(h, t)
        for block in self.up:
            beside = kept.pop()
            h = block(torch.cat([F.interpolate(h, size=beside.shape[2:]), beside], dim=1), t)
        return self.tail(h)


class Block(nn.Module):
    """A transformer block whose norms are shifted, scaled and gated by the time."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.modulation = nn.Linear(width, 6 * width)

    def forward(self, x, condition):
        rows, tokens, width = x.shape
        scale, shift, gate, scale2, shift2, gate2 = self.modulation(condition).unsqueeze(1).chunk(6, dim=2)
        qkv = self.qkv(self.norm(x) * (1 + scale) + shift).view(rows, tokens, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(rows, tokens, width)
        x = x + gate * self.out(seen)
        hidden = F.gelu(self.wide(self.norm(x) * (1 + scale2) + shift2), approximate="tanh")
        return x + gate2 * self.narrow(hidden)


class Dit(nn.Module):
    """28 x 28 x 1 in 49 patches of 4 x 4: width 128, six blocks, four heads."""

    def __init__(self):
        super().__init__()
        self.patch, self.position = nn.Linear(16, 128), nn.Parameter(0.02 * torch.randn(1, 49, 128))
        self.time = nn.Sequential(nn.Linear(1, 128), nn.SiLU(), nn.Linear(128, 128))
        self.blocks = nn.ModuleList([Block(128, 4) for _ in range(6)])
        self.norm = nn.LayerNorm(128, eps=1e-6, elementwise_affine=False)
        self.modulation, self.out = nn.Linear(128, 256), nn.Linear(128, 16)

    def forward(self, x, t):
        rows = len(x)
        patches = x.view(rows, 7, 4, 7, 4).transpose(2, 3).reshape(rows, 49, 16)
        h, condition = self.patch(patches) + self.position, F.silu(self.time(t))
        for block in self.blocks:
            h = block(h, condition)
        scale, shift = self.modulation(condition).unsqueeze(1).chunk(2, dim=2)
        h = self.out(self.norm(h) * (1 + scale) + shift)
        return h.view(rows, 7, 7, 4, 4).transpose(2, 3).reshape(rows, 1, 28, 28)


def training(network, draw):
    """A flow-matching step: data, noise and times drawn, forward, backward, AdamW."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.0)

    def step():
        x0 = draw()
        noise, t = torch.randn_like(x0), torch.rand(len(x0), 1)
        at = t.view(-1, *[1] * (x0.dim() - 1))
        error = network((1 - at) * x0 + at * noise, t) - (noise - x0)
        optimizer.zero_grad(set_to_none=True)
        error.square().mean().backward()
        optimizer.step()

    return step


def sampling(network, x, steps):
    """Euler from noise to data, without a gradient."""

    @torch.no_grad()
    def run():
        state = x
        for index in range(steps, 0, -1):
            state = state - network(state, torch.full((len(x), 1), index / steps)) / steps

    return run


def solver_overhead():
    """20 steps of DPM-Solver++(2M) by diffusers with a model that returns its input."""
    from diffusers import DPMSolverMultistepScheduler

    start = torch.randn(64, 3, 32, 32)

    def run():
        solver = DPMSolverMultistepScheduler(beta_schedule="linear", algorithm_type="dpmsolver++", solver_order=2)
        solver.set_timesteps(20)
        x = start
        for t in solver.timesteps:
            x = solver.step(x, t, x).prev_sample

    return run


def exact_transport(count):
    """The exact pairing of points with noise by SciPy, costs included."""
    from scipy.optimize import linear_sum_assignment

    data, noise = board(count), torch.randn(count, 2)
    return lambda: linear_sum_assignment(torch.cdist(data, noise).square().numpy())


def images(count):
    x = torch.randn(count, 1, 28, 28)
    return lambda: x


def all_tasks(ready):
    """Name to counted runs and what makes the work; `ready` may compile a network."""
    return {
        "mlp_train_256": (60, lambda: training(ready(Mlp()), lambda: board(256))),
        "mlp_train_4096": (30, lambda: training(ready(Mlp()), lambda: board(4096))),
        "mlp_sample_4096x100": (3, lambda: sampling(ready(Mlp()), torch.randn(4096, 2), 100)),
        "unet_train_32": (8, lambda: training(ready(UNet()), images(32))),
        "unet_sample_16x10": (5, lambda: sampling(ready(UNet()), torch.randn(16, 1, 28, 28), 10)),
        "dit_train_32": (8, lambda: training(ready(Dit()), images(32))),
        "dit_sample_16x10": (5, lambda: sampling(ready(Dit()), torch.randn(16, 1, 28, 28), 10)),
        "solver_overhead_20": (10, solver_overhead),
        "exact_ot_512": (10, lambda: exact_transport(512)),
        "randn_1m": (20, lambda: lambda: torch.randn(1 << 20)),
    }


# Batches of a growth table, and the step at each.
GROWTH = {
    "mlp": ([64, 256, 1024, 4096, 16384], lambda count: training(Mlp(), lambda: board(count))),
    "unet": ([1, 4, 16, 64], lambda count: training(UNet(), images(count))),
    "dit": ([1, 4, 16, 64], lambda count: training(Dit(), images(count))),
}


def measure(runs, make):
    """Median and minimum in milliseconds, after two calls to warm up."""
    work, times = make(), []
    for _ in range(runs + 2):
        start = time.perf_counter()
        work()
        times.append(1e3 * (time.perf_counter() - start))
    counted = times[2:]
    return statistics.median_high(counted), min(counted)


def grow(network):
    """Time and peak memory of a training step against the batch, each in a process of its own."""
    for batch in GROWTH[network][0]:
        subprocess.run([sys.executable, __file__, "--grow", network, "--batch", str(batch)], check=True)


def print_growth(network, batch):
    ms, _ = measure(10, lambda: GROWTH[network][1](batch))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    line = {"task": f"{network}_train", "batch": batch, "ms": round(ms, 4), "peak_mb": round(peak, 1)}
    print(json.dumps(line), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", metavar="TASK")
    parser.add_argument("--threads", type=int, help="threads of PyTorch; all cores if not given")
    parser.add_argument("--compile", action="store_true", help="torch.compile the networks")
    parser.add_argument("--grow", choices=sorted(GROWTH), help="print time and memory of a training step against the batch")
    parser.add_argument("--batch", type=int, help="with --grow: this batch only, in this process")
    options = parser.parse_args()
    torch.manual_seed(0)
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.grow and options.batch:
        return print_growth(options.grow, options.batch)
    if options.grow:
        return grow(options.grow)
    tasks = all_tasks(torch.compile if options.compile else lambda network: network)
    unknown = [name for name in options.tasks if name not in tasks]
    if unknown:
        parser.error(f"no task is named {unknown[0]}: the tasks are {', '.join(tasks)}")
    for name in options.tasks or tasks:
        ms, least = measure(*tasks[name])
        print(json.dumps({"task": name, "ms": round(ms, 4), "min_ms": round(least, 4), "runs": tasks[name][0]}), flush=True)


if __name__ == "__main__":
    main()
