"""Loads folders that tallow wrote in diffusers, and compares what comes out.

    TALLOW_FOLDER=target/diffusers cargo test -p tallow-models --test write_for_diffusers -- --ignored
    python scripts/check_diffusers.py target/diffusers

Needs torch, diffusers and safetensors. In the given folder and all below it,

- a config.json beside io.safetensors is a network: its input x (with times and labels) must give its output y, within 1e-4
  of the largest entry (an autoencoder: its mean as well),
- a scheduler_config.json beside steps.json is a scheduler: it must visit the timesteps of each run,
- a model_index.json is a pipeline, which must load.

Exit status: 0 if all agree, 1 if something does not, 2 if there is nothing to compare.
"""

import json
import sys
from pathlib import Path

import diffusers
import torch
from safetensors.torch import load_file


def deviation(got, wanted):
    return float((got - wanted).abs().max() / wanted.abs().max().clamp(min=1e-12))


def network(folder):
    name = json.loads((folder / "config.json").read_text())["_class_name"]
    model, info = getattr(diffusers, name).from_pretrained(folder, output_loading_info=True)
    strange = {key: value for key, value in info.items() if value}
    if strange:
        return f"{name}: {strange}"
    io = load_file(folder / "io.safetensors")
    model.eval()
    with torch.no_grad():
        if name == "AutoencoderKL":
            mean = model.encode(io["x"]).latent_dist.mean
            off = max(deviation(mean, io["mean"]), deviation(model.decode(io["mean"]).sample, io["y"]))
        elif name == "DiTTransformer2DModel":
            off = deviation(model(io["x"], timestep=io["times"], class_labels=io["labels"]).sample, io["y"])
        else:
            labels = {"class_labels": io["labels"]} if "labels" in io else {}
            off = deviation(model(io["x"], io["times"], **labels).sample, io["y"])
    return f"{name}: {off:.1e}" if off <= 1e-4 else f"{name}: FAILED, off by {off:.1e}"


def scheduler(folder):
    name = json.loads((folder / "scheduler_config.json").read_text())["_class_name"]
    visits = getattr(diffusers, name).from_pretrained(folder)
    off = 0.0
    for run in json.loads((folder / "steps.json").read_text()):
        visits.set_timesteps(run["count"])
        wanted = torch.tensor(run["timesteps"], dtype=torch.float64)
        if len(wanted) != len(visits.timesteps):
            return f"{name}: FAILED, {len(visits.timesteps)} timesteps for {run['count']} steps"
        off = max(off, float((visits.timesteps.double() - wanted).abs().max()))
    return f"{name}: {off:.1e}" if off <= 1e-3 else f"{name}: FAILED, off by {off:.1e}"


def pipeline(folder):
    return type(diffusers.DiffusionPipeline.from_pretrained(folder)).__name__ + ": loads"


def main(root):
    checks = [
        ("config.json", "io.safetensors", network),
        ("scheduler_config.json", "steps.json", scheduler),
        ("model_index.json", "model_index.json", pipeline),
    ]
    lines = []
    for folder in sorted({path.parent for path in root.rglob("*.json")}):
        for first, second, check in checks:
            if (folder / first).is_file() and (folder / second).is_file():
                lines.append(f"{folder.relative_to(root)}  {check(folder)}")
    print("\n".join(lines))
    if not lines:
        return 2
    return int(any("FAILED" in line or "{" in line for line in lines))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
