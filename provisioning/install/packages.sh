# shellcheck shell=sh
# packages.sh: what the system itself must have. apt is asked only for what is missing.

# Adds to $missing: COMMAND PACKAGE
want() { if ! command -v "$1" >/dev/null 2>&1; then missing="$missing $2"; fi; }

packages() {
    missing=
    use_brought_python
    if ! has_python; then want_python; fi
    want curl curl
    want_restic
    [ -r "$prefix/etc/ssl/certs/ca-certificates.crt" ] || missing="$missing ca-certificates"
    want_proxy
    if [ -z "$missing" ]; then
        note "nothing is missing"
    else
        install_packages
    fi
    if has_python; then return 0; fi
    # A dry run cannot know what python3 will be if there is none yet.
    if would "have uv bring Python 3.13 into $OPT/python, if the system's is too old"; then return 0; fi
    bring_python
}

# The appliance works without backups, and says that it has none.
want_restic() {
    if [ -n "$offline" ] && ! command -v restic >/dev/null 2>&1; then
        note "note: offline, and there is no restic: backups wait until it is installed (apt-get install restic)"
        return 0
    fi
    want restic restic
}

install_packages() {
    note "from the system's archive:$missing"
    if [ -n "$offline" ] && [ -z "$dry_run" ]; then
        fail 28 "offline, and the system lacks:$missing" "install these from the system's medium, and run this again"
    fi
    apt_get update
    # shellcheck disable=SC2086  # a list of words
    apt_get install --yes --no-install-recommends $missing
    did "installed$missing"
}

# A Python that this release supports.
has_python() {
    for candidate in ${AMDA_PYTHON-} $PYTHONS; do
        if python_fits "$candidate"; then return 0; fi
    done
    return 1
}

# One that a former run brought comes before none at all.
use_brought_python() {
    if has_python; then return 0; fi
    for candidate in "$OPT"/python/*/bin/python3.13; do
        if python_fits "$candidate"; then export AMDA_PYTHON="$candidate"; fi
    done
}

# The system's own, even where it is too old: it is enough to fetch uv.
want_python() { if ! command -v python3 >/dev/null 2>&1; then missing="$missing python3"; fi; }

# Where the system's Python is too old (Ubuntu 22.04 has 3.10), uv brings one. Its own file is pinned in uv.lock; it
# checks what it downloads against the hashes that are built into it.
bring_python() {
    note "the system's Python ($(python3 --version 2>&1)) is too old: uv brings Python 3.13 into $OPT/python"
    if [ -n "$offline" ]; then
        fail 11 "offline, and no Python 3.11, 3.12 or 3.13" "install one, and name it: AMDA_PYTHON=/path/to/python3"
    fi
    run env PYTHONPATH="$root/$PIP_WHEEL" python3 -m pip download --quiet --disable-pip-version-check --no-deps \
        --only-binary :all: --require-hashes --requirement "$root/provisioning/uv.lock" --dest "$scratch/uv" ||
        fail 29 "uv cannot be downloaded" "see the end of $LOG; or install a Python, and name it: AMDA_PYTHON=/path"
    run python3 -m zipfile -e "$scratch"/uv/uv-*.whl "$scratch/uv" || fail 31 "uv cannot be unpacked" "look at the disk"
    uv=$(find "$scratch/uv" -path '*/scripts/uv' | head -n 1)
    chmod 0755 "$uv"
    run env UV_PYTHON_INSTALL_DIR="$OPT/python" "$uv" python install --no-cache --no-bin 3.13 ||
        fail 29 "uv cannot bring Python 3.13" "see the end of $LOG; or install one, and name it: AMDA_PYTHON=/path"
    # Which uv leaves writable for everybody.
    if [ -e "$OPT/python/.lock" ]; then chmod 0644 "$OPT/python/.lock"; fi
    use_brought_python
    has_python || fail 11 "the Python that uv brought does not run" "install one, and name it: AMDA_PYTHON=/path"
    did "brought Python 3.13 into $OPT/python"
}

# Another apt may run (unattended upgrades, right after the first boot): it is waited for.
apt_get() {
    run env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 "$@" ||
        fail 28 "apt-get $1 failed: $(grep -a '^E:' "$LOG" | tail -n 1)" \
            "mend it (apt-get $1, dpkg --configure -a; all of its words are in $LOG), and run this again"
}
