#!/bin/sh
# Loom: runs the lock-free parts through every interleaving their tests are small enough for.
# A target folder of its own, because the flag changes every crate; preemptions are bounded to bound the time.
set -eu
cd "$(dirname "$0")/.."
export RUSTFLAGS="--cfg loom"
export LOOM_MAX_PREEMPTIONS="${LOOM_MAX_PREEMPTIONS:-3}"
cargo test --quiet --target-dir target/loom -p secbeat-net --test loom_limit
exec cargo test --quiet --target-dir target/loom -p secbeat-node-loom --lib
