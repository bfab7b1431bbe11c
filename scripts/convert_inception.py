"""Converts the published weights of Inception-v3 to the file that tallow-metrics reads.

    python scripts/convert_inception.py pt_inception-2015-12-05-6726825d.pth inception.safetensors

Takes a state dict of torch (the file that pytorch-fid downloads, from
https://github.com/mseitzer/pytorch-fid/releases/tag/fid_weights) and writes its tensors of floats under the same names in
single precision. Prints the SHA-256 of what it wrote, which every result over images repeats. Needs torch and safetensors.
"""

import hashlib
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

# What pytorch-fid's network has and another one has not.
EXPECTED = {
    "Conv2d_1a_3x3.conv.weight": (32, 3, 3, 3),
    "Mixed_7c.branch_pool.bn.running_var": (192,),
    "fc.weight": (1008, 2048),
}


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    source, target = map(Path, sys.argv[1:])
    state = torch.load(source, map_location="cpu", weights_only=True)
    for name, shape in EXPECTED.items():
        found = tuple(state[name].shape) if name in state else None
        if found != shape:
            sys.exit(f"{source}: {name} has shape {found}, pytorch-fid's network has {shape}")
    floats = {name: value.float().contiguous() for name, value in state.items() if value.is_floating_point()}
    save_file(floats, target)
    print(f"{target}: {len(floats)} tensors, SHA-256 {hashlib.sha256(target.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    main()
