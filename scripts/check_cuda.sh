#!/usr/bin/env bash
# Type-checks the workspace with the feature `cuda`, on a machine without a GPU or a CUDA toolkit: nvcc comes from PyPI.
# Takes about ten minutes on two cores; not part of .ci/run.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=${TALLOW_CUDA_VENV:-target/cuda-venv}
if [ ! -x "$venv/bin/python" ]; then
    python3 -m venv "$venv"
fi
"$venv/bin/pip" install --quiet \
    'nvidia-cuda-nvcc==13.2.*' 'nvidia-nvvm==13.2.*' 'nvidia-cuda-crt==13.2.*' 'nvidia-cuda-cccl==13.2.*' \
    'nvidia-cuda-runtime==13.2.*' 'nvidia-cublas==13.2.*' 'nvidia-curand==10.*' 'nvidia-cuda-nvrtc==13.2.*'

site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
export CUDA_HOME="$site/nvidia/cu13"
export CUDA_PATH="$CUDA_HOME" CUDA_ROOT="$CUDA_HOME"
export PATH="$CUDA_HOME/bin:$PATH"
export CUDA_COMPUTE_CAP=${CUDA_COMPUTE_CAP:-80}

cargo check --workspace --all-targets --features cuda --target-dir "${CARGO_TARGET_DIR:-target}/cuda"
