#!/bin/sh
# environment.sh RELEASE: the Python environment of an unpacked release, in its .venv.
#
# A process of its own, because venv.sh speaks of $root, which is another folder for the installer.
set -eu
umask 022
root=$1
# shellcheck source=scripts/venv.sh
. "$root/scripts/venv.sh"
make_venv requirements.lock
