#!/bin/sh
# Debian packages of the programs in target/release, into target/debian: secbeat-node, secbeat-orchestrator,
# secbeat-cli, secbeat-bench. Builds no program; cargo-deb is built once into target/tools when the machine has none.
#
#   scripts/cargo_deb.sh [package...]     all four without an argument
#   DEB_REVISION=2                        second number of the version, for packages of one release made anew
set -eu
cd "$(dirname "$0")/.."
version=3.8.0
tools=target/tools

if [ -x $tools/bin/cargo-deb ] && $tools/bin/cargo-deb --version | grep -q "$version"; then
    deb=$tools/bin/cargo-deb
elif command -v cargo-deb >/dev/null 2>&1; then
    deb=cargo-deb
else
    # Unoptimised: it runs for seconds, and an optimised build takes minutes longer than that saves.
    echo "packages: building cargo-deb once into $tools"
    if ! CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_DEBUG=0 \
        cargo install --quiet --locked cargo-deb --version "$version" --root $tools --target-dir $tools/build; then
        echo "packages: cargo-deb could not be built; run: cargo install --locked cargo-deb" >&2
        exit 1
    fi
    rm -rf $tools/build
    deb=$tools/bin/cargo-deb
fi

out=target/debian
mkdir -p $out/completion
for program in secbeat-node secbeat-orchestrator secbeat secbeat-bench; do
    [ -x target/release/$program ] || {
        echo "packages: target/release/$program is missing; run: make release" >&2
        exit 1
    }
done
target/release/secbeat completion bash >$out/completion/secbeat
target/release/secbeat completion zsh >$out/completion/_secbeat
target/release/secbeat completion fish >$out/completion/secbeat.fish

release=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
revision=${DEB_REVISION:-1}
maintainer=$(sed -n 's/^maintainer = "\(.*\)"/\1/p' dataplane/node/Cargo.toml)
# The date of the last commit, so that the same sources make the same package.
date=$(git log -1 --format=%cD 2>/dev/null || date -R)
[ $# -gt 0 ] || set -- secbeat-node secbeat-orchestrator secbeat-cli secbeat-bench
for package in "$@"; do
    cat >"$out/changelog-$package" <<END
$package ($release-$revision) unstable; urgency=medium

  * Release $release; what changed is in CHANGELOG.md of the sources.

 -- $maintainer  $date
END
    "$deb" --quiet -p "$package" --no-build --strip --deb-revision "$revision" -o "$out/"
done
ls -l $out/*.deb
