# Where rule sets lie, and the rules files that engines are given. Sourced from the top of the repository; does nothing.
# shellcheck shell=sh
waf_files=$PWD/tests/waf

# crs_folder <4|3>: where a rule set of that generation lies; nothing when there is none.
#   4: $CRS_DIR, or a folder `crs` beside the project (a checkout of coreruleset/coreruleset, or its rules and tests)
#   3: Debian's package modsecurity-crs
crs_folder() {
    case $1 in
        4)
            for folder in "${CRS_DIR:-}" ../crs ../shared/crs; do
                [ -n "$folder" ] && [ -d "$folder/rules" ] && { (cd "$folder" && pwd -P); return 0; }
            done ;;
        3) [ -d /usr/share/modsecurity-crs/rules ] && { echo /usr/share/modsecurity-crs; return 0; } ;;
    esac
    return 1
}

# The folder with the regression tests of a checkout: upstream's place, or right below.
crs_tests() {
    for folder in "$1/tests/regression/tests" "$1/tests"; do
        [ -d "$folder" ] && { echo "$folder"; return 0; }
    done
    return 1
}

# The set-up file that goes with a rule set: an operator's, or the example of a checkout. Debian's lies apart.
crs_setup() {
    case $1 in
        /usr/share/modsecurity-crs) set -- /etc/modsecurity/crs/crs-setup.conf ;;
        *) set -- "$1/crs-setup.conf" "$1/crs-setup.conf.example" "$1/rules/crs-setup.conf.example" ;;
    esac
    for setup; do
        [ -e "$setup" ] && { echo "$setup"; return 0; }
    done
    echo "none of these exists: $*" >&2
    return 1
}

# write_rules <rule set's folder> <further file>...: a rules file on standard output: the engine's settings, the rule
# set's set-up, the further files, then the rules. With `none` for the folder there are no rules.
write_rules() {
    rule_set=$1
    shift
    echo "Include $waf_files/rules/engine.conf"
    [ ! -e /etc/nginx/unicode.mapping ] || echo "SecUnicodeMapFile /etc/nginx/unicode.mapping 20127"
    if [ "$rule_set" != none ]; then
        setup=$(crs_setup "$rule_set") || return 1
        echo "Include $setup"
    fi
    for extra in "$@"; do
        echo "Include $extra"
    done
    [ "$rule_set" = none ] || echo "Include $rule_set/rules/*.conf"
}
