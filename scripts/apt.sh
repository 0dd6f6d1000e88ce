# shellcheck shell=sh
# apt.sh: packages of this system that tests need. run-tests sources it, after venv.sh.
#
#   bring_packages PURPOSE PACKAGE…   installs them where root runs on Debian or Ubuntu; elsewhere it does nothing
#
# Whatever cannot be brought here is named by the tests themselves, as not run.

# Another apt is waited for: a fresh machine may be upgrading itself.
APT_WAIT_S=300

bring_packages() {
    purpose=$1
    shift
    if [ $# -eq 0 ] || [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then return 0; fi
    say "  bringing $purpose: $*"
    report=$(mktemp)
    if ! { apt-get -q update && env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout="$APT_WAIT_S" \
        install --yes --no-install-recommends "$@"; } >"$report" 2>&1; then
        tail -n 5 "$report" | sed 's/^/  apt: /' >&2
    fi
    rm -f "$report"
}
