#!/bin/sh
# The two crates with unsafe code under a checker of the nightly compiler.
#
#   scripts/sanitize.sh address | miri
#
# Both need nightly; where it (or Miri) is not installed the step says so and does not fail.
set -eu
cd "$(dirname "$0")/.."
kind=$1
host=$(rustc -vV | sed -n 's/^host: //p')

skip() {
    echo "sanitize: $kind skipped: $1"
    exit 0
}

cargo +nightly --version >/dev/null 2>&1 || skip "no nightly compiler (rustup toolchain install nightly)"

case $kind in
    address)
        # An explicit target keeps the flag away from build scripts. Leaks are not what is looked for: a
        # frame token that is dropped leaks by design and is counted.
        RUSTFLAGS="-Zsanitizer=address -Cdebuginfo=1" ASAN_OPTIONS="detect_leaks=0:suppressions=$PWD/dataplane/pktio/asan.supp" \
            cargo +nightly test --quiet --target "$host" --target-dir target/asan \
            -p secbeat-hugepages -p secbeat-pktio --lib --tests ;;
    miri)
        cargo +nightly miri --version >/dev/null 2>&1 || skip "no Miri (rustup +nightly component add miri rust-src)"
        MIRIFLAGS="-Zmiri-disable-isolation" \
            cargo +nightly miri test --quiet --target-dir target/miri -p secbeat-hugepages ;;
    *)
        echo "sanitize: unknown checker $kind" >&2
        exit 2 ;;
esac
