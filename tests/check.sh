# Checks, told line by line, for every test in a shell.
#
# Sourced from the top of the repository with $scratch (a folder that the test removes) set. Gives: check, until_true,
# and failures, how many checks failed.
# shellcheck shell=sh disable=SC2154 # $scratch is the test's
failures=0

# check <sentence> <command...>: one line per check; the command's output is shown when it fails.
check() {
    sentence=$1
    shift
    if "$@" >"$scratch/output" 2>&1; then
        printf '  ok      %s\n' "$sentence"
    else
        printf '  FAILED  %s\n' "$sentence"
        sed 's/^/            /' "$scratch/output" | tail -n 25
        failures=$((failures + 1))
    fi
}

# until_true <seconds> <command...>
until_true() {
    tries=$(($1 * 5))
    shift
    while [ "$tries" -gt 0 ]; do
        if "$@"; then return 0; fi
        tries=$((tries - 1))
        sleep 0.2
    done
    echo "did not come: $*"
    return 1
}
