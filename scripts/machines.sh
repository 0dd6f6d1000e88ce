# shellcheck shell=sh
# machines.sh: brings what the system tests boot their machines with. run-tests sources it, after apt.sh.
#
#   obtain_machines   systemd-nspawn and debootstrap, from this system's archive where root runs on Debian or Ubuntu
#
# Whatever cannot be brought here is named by the tests themselves, with the package that has it.

obtain_machines() {
    packages=
    command -v systemd-nspawn >/dev/null 2>&1 || packages="$packages systemd-container"
    command -v debootstrap >/dev/null 2>&1 || packages="$packages debootstrap"
    # Without Debian's keys debootstrap on Ubuntu would not know whom to believe.
    [ -r /usr/share/keyrings/debian-archive-keyring.gpg ] || packages="$packages debian-archive-keyring"
    # shellcheck disable=SC2086  # a list of words
    bring_packages 'what boots machines' $packages
}
