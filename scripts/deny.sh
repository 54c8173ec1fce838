#!/bin/sh
# cargo-deny over our dependencies. The tool is built once into target/tools when the machine has none.
#
# Licences, bans and sources need no network. Advisories need their database; where it cannot be fetched the
# step says so and does not fail: an unreachable server says nothing about our dependencies.
set -eu
cd "$(dirname "$0")/.."
version=0.20.2
tools=target/tools

if command -v cargo-deny >/dev/null 2>&1; then
    deny=cargo-deny
elif [ -x $tools/bin/cargo-deny ]; then
    deny=$tools/bin/cargo-deny
else
    # Unoptimised: it runs for a second, and an optimised build takes minutes longer than that saves.
    echo "deny: building cargo-deny once into $tools"
    if ! CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_DEBUG=0 \
        cargo install --quiet --locked cargo-deny --version "$version" --root $tools --target-dir $tools/build; then
        echo "deny: cargo-deny could not be built; run: cargo install --locked cargo-deny" >&2
        exit 1
    fi
    rm -rf $tools/build
    deny=$tools/bin/cargo-deny
fi

$deny --log-level error check bans licenses sources

if $deny --log-level error fetch db >/dev/null 2>&1; then
    $deny --log-level error check --disable-fetch advisories
else
    echo "deny: advisories skipped: the advisory database cannot be reached"
fi
