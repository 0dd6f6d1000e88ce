# shellcheck shell=sh
# restic.sh: obtains the restic that the tests of backups run. run-tests sources it, after venv.sh.
#
#   obtain_restic    puts it on PATH; leaves it away if there is no way to have it
#
# It is, in this order: the one on PATH; the one that an earlier run has fetched; Debian's or Ubuntu's own package, fetched
# and checked by apt and unpacked into the user's cache folder, which needs no root and installs nothing.

# Takes the package out of the system's archive into the folder $1; a shell of its own, for its trap.
fetch_restic() (
    work=$(mktemp -d "$1.XXXXXX") || exit 1
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' INT TERM
    cd "$work" || exit 1
    apt-get -qq download restic >/dev/null 2>&1 || exit 1
    dpkg-deb -x restic_*.deb unpacked && mv unpacked "$1"
)

obtain_restic() {
    if command -v restic >/dev/null 2>&1; then return; fi
    cache=${XDG_CACHE_HOME:-${HOME:-$root}/.cache}/amda-test
    mkdir -p "$cache" 2>/dev/null || true
    if [ ! -x "$cache/restic/usr/bin/restic" ] && [ -w "$cache" ]; then
        say "  fetching restic from the system's archive, once"
        fetch_restic "$cache/restic" || :
    fi
    if [ -x "$cache/restic/usr/bin/restic" ]; then
        PATH=$PATH:$cache/restic/usr/bin
    elif [ -n "${AMDA_TEST_RESTIC_REQUIRED:-}" ]; then
        fail 32 "no restic could be had, and AMDA_TEST_RESTIC_REQUIRED is set" "apt-get install restic"
    else
        say "  there is no restic: the tests of backups are not run (apt-get install restic)"
    fi
}
