#!/bin/sh
# Runs fuzz targets for a bounded time each.
#
#   scripts/fuzz.sh <seconds> [target...]    without targets: all of them
set -eu
cd "$(dirname "$0")/.."
seconds=$1
shift
command -v cargo-fuzz >/dev/null 2>&1 || [ -x target/tools/bin/cargo-fuzz ] || {
    cargo +nightly --version >/dev/null 2>&1 || {
        echo "fuzz: no nightly compiler; get it with: rustup toolchain install nightly" >&2
        exit 1
    }
    echo "fuzz: building cargo-fuzz once into target/tools"
    cargo install --quiet --locked cargo-fuzz --root target/tools --target-dir target/tools/build
}
PATH="$PWD/target/tools/bin:$PATH"
[ $# -gt 0 ] || set -- $(cargo +nightly fuzz list)
for target; do
    echo "fuzz: $target for $seconds s"
    # New inputs go to a scratch folder: what is committed grows by choice, not by running.
    mkdir -p "fuzz/target/found/$target"
    cargo +nightly fuzz run "$target" "fuzz/target/found/$target" "fuzz/corpus/$target" -- \
        -max_total_time="$seconds" -max_len=4096 -rss_limit_mb=2048 -verbosity=0
done
