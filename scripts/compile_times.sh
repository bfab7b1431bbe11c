#!/usr/bin/env bash
# How long each crate takes to build from nothing, and how many crates it brings: a table in Markdown on standard output.
#
#     scripts/compile_times.sh                         all published crates, and candle-core alone to compare with
#     scripts/compile_times.sh tallow-schedules ...    some of them
#
# Every crate is built in an empty target folder, in release mode and offline, on a machine that does nothing else: half an
# hour on two cores for all. `more than candle` is what the crate adds to a build that has candle already: the seconds that are
# left when everything but the tallow crates is built.
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_INCREMENTAL=0 CARGO_TERM_COLOR=never
unset CARGO_TARGET_DIR

cargo fetch --locked >&2
crates=("$@")
if [ ${#crates[@]} -eq 0 ]; then
    crates=(candle-core tallow-schedules tallow-kernels tallow-denoisers tallow-solvers tallow-objectives tallow-nn
        tallow-models tallow-train tallow-datasets tallow-metrics tallow-plots tallow tallow-cli)
fi
target=$(mktemp -d)
trap 'rm -rf "$target"' EXIT

# Seconds that a command takes, with a tenth.
seconds() {
    local from to
    from=$(date +%s%N)
    "$@" >&2
    to=$(date +%s%N)
    awk -v ns=$((to - from)) 'BEGIN { printf "%.1f", ns / 1e9 }'
}

echo "| crate | dependencies | clean build, s | of it tallow's own crates, s | share of the rest |"
echo "|---|---|---|---|---|"
for crate in "${crates[@]}"; do
    rm -rf "${target:?}"/*
    build=(cargo build --release --locked --offline --quiet -p "$crate" --target-dir "$target")
    # Lines of the tree without the crate itself.
    count=$(cargo tree --locked --offline -p "$crate" -e normal,build --prefix none --no-dedupe | sed 's/ (.*//' | sort -u | wc -l)
    all=$(seconds "${build[@]}")
    # The tallow crates again, on top of the rest.
    find "$target" -name '*tallow*' -prune -exec rm -rf {} +
    case "$crate" in
        tallow*) own=$(seconds "${build[@]}") ;;
        *) own=0.0 ;;
    esac
    share=$(awk -v all="$all" -v own="$own" 'BEGIN { rest = all - own; if (own == 0 || rest < 1) print ""; else printf "%.1f %%", 100 * own / rest }')
    echo "| \`$crate\` | $((count - 1)) | $all | $own | $share |"
done
