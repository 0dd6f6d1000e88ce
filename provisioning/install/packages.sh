# shellcheck shell=sh
# packages.sh: what the system itself must have. apt is asked only for what is missing.

# Adds to $missing: COMMAND PACKAGE
want() { if ! command -v "$1" >/dev/null 2>&1; then missing="$missing $2"; fi; }

packages() {
    missing=
    wanted_missing=
    if ! has_python; then missing="$missing python3"; fi
    want curl curl
    [ -r "$prefix/etc/ssl/certs/ca-certificates.crt" ] || missing="$missing ca-certificates"
    if [ -z "$missing" ]; then
        note "nothing is missing"
        return 0
    fi
    note "from the system's archive:$missing"
    [ -n "$offline" ] && [ -z "$dry_run" ] &&
        fail 28 "offline, and the system lacks:$missing" "install these from the system's medium, and run this again"
    apt_get update
    # shellcheck disable=SC2086  # a list of words
    apt_get install --yes --no-install-recommends $missing
    did "installed$missing"
}

# A Python that this release supports, of the system or brought by uv.
has_python() {
    for candidate in ${AMDA_PYTHON-} $PYTHONS; do
        if python_fits "$candidate"; then return 0; fi
    done
    return 1
}

# Another apt may run (unattended upgrades, right after the first boot): it is waited for.
apt_get() {
    DEBIAN_FRONTEND=noninteractive run apt-get -q -o DPkg::Lock::Timeout=300 "$@" ||
        fail 28 "apt-get $1 failed: $(grep -a '^E:' "$LOG" | tail -n 1)" \
            "mend it (apt-get $1, dpkg --configure -a; all of its words are in $LOG), and run this again"
}
