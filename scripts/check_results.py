#!/usr/bin/env python3
"""Checks that the tables and the picture of docs/results.md are, byte for byte, what its commands wrote to target/.

    cargo run --example ot_cfm -- --full
    cargo run --release --example benchmark_2d
    python3 scripts/check_results.py
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    page = (ROOT / "docs/results.md").read_text(encoding="utf-8")
    failed = 0
    for name in ("ot_cfm/couplings.md", "benchmark_2d/benchmark_2d.md"):
        written = ROOT / "target" / name
        if not written.is_file():
            print(f"{written}: not there: run the command that docs/results.md names for it")
            failed += 1
            continue
        lines = written.read_text(encoding="utf-8")
        if lines in page:
            print(f"target/{name}: stands in docs/results.md")
            continue
        failed += 1
        for line in lines.splitlines():
            if line not in page:
                print(f"target/{name}: not in docs/results.md: {line}")
    picture = ROOT / "target/benchmark_2d/benchmark_2d.svg"
    if picture.is_file() and picture.read_bytes() != (ROOT / "docs/images/benchmark_2d.svg").read_bytes():
        print("docs/images/benchmark_2d.svg is another picture than target/benchmark_2d/benchmark_2d.svg")
        failed += 1
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
