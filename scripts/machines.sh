# shellcheck shell=sh
# machines.sh: brings what the system tests boot their machines with. run-tests sources it, after venv.sh.
#
#   obtain_machines   systemd-nspawn and debootstrap, from this system's archive where root runs on Debian or Ubuntu
#
# Whatever cannot be brought here is named by the tests themselves, with the package that has it.

# Another apt is waited for: a fresh machine may be upgrading itself.
APT_WAIT_S=300

obtain_machines() {
    packages=
    command -v systemd-nspawn >/dev/null 2>&1 || packages="$packages systemd-container"
    command -v debootstrap >/dev/null 2>&1 || packages="$packages debootstrap"
    # Without Debian's keys debootstrap on Ubuntu would not know whom to believe.
    [ -r /usr/share/keyrings/debian-archive-keyring.gpg ] || packages="$packages debian-archive-keyring"
    if [ -z "$packages" ] || [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then return 0; fi
    say "  bringing what boots machines:$packages"
    report=$(mktemp)
    # shellcheck disable=SC2086  # a list of words
    if ! { apt-get -q update && env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout="$APT_WAIT_S" \
        install --yes --no-install-recommends $packages; } >"$report" 2>&1; then
        tail -n 5 "$report" | sed 's/^/  apt: /' >&2
    fi
    rm -f "$report"
}
