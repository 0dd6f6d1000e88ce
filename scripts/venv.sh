# shellcheck shell=sh
# venv.sh: makes .venv in the checkout. install.sh and run-tests source it; both set $root first.
#
#   make_venv requirements.lock       what the appliance needs
#   make_venv requirements-dev.lock   that, and the tools of development
#
# Wheels only, exact versions, every file checked against the hash in the lock: no compiler, no root, no surprises. A
# second run finds its own stamp and is over at once. pip itself comes with the checkout, because Debian keeps the one
# of Python in a package of its own (python3-venv) and only root can add that.

: "${root:?venv.sh is sourced by a script that has set root to the checkout}"

PIP_WHEEL=provisioning/pip/pip-26.3-py3-none-any.whl
PIP_SHA256=f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13
# The range of requires-python in pyproject.toml; newest first, because it is the fastest.
PYTHONS='python3.13 python3.12 python3.11 python3'
# Another run in the same checkout is waited for this long: a first installation over a slow line.
LOCK_WAIT_S=900

say() { printf '%s\n' "$*" >&2; }

# fail CODE WHAT REMEDY: one clear line, what to do about it, and CODE as the exit status.
fail() {
    say "error E$1: $2"
    say "  what to do: $3"
    exit "$1"
}

# True if $1 runs (a pyenv shim on PATH may not) and is a Python that this release supports.
python_fits() {
    "$1" -c '
import sys
sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
' >/dev/null 2>&1
}

# Sets $python.
find_python() {
    if [ -n "${AMDA_PYTHON:-}" ]; then
        python=$AMDA_PYTHON
        python_fits "$python" || fail 11 "AMDA_PYTHON=$python is not a working Python 3.11, 3.12 or 3.13" \
            "name another one, or unset AMDA_PYTHON to have one looked for"
        return
    fi
    for python in $PYTHONS; do
        if python_fits "$python"; then return; fi
    done
    if command -v uv >/dev/null 2>&1; then
        say "  no Python 3.11-3.13 on this machine: uv brings Python 3.13"
        uv python install 3.13 >&2 && python=$(uv python find 3.13) && python_fits "$python" && return
        fail 11 "uv could not bring Python 3.13" "see its message above; or install python3 (3.11, 3.12 or 3.13) yourself"
    fi
    found=$(python3 --version 2>/dev/null || echo "no python3 at all")
    fail 11 "Python 3.11, 3.12 or 3.13 is needed; this machine has $found" \
        "Debian 12 or 13: 'apt-get install python3' as root. Elsewhere: install uv (https://docs.astral.sh/uv/), which brings a Python without root, and run this again"
}

check_platform() {
    case $(uname -s)-$(uname -m) in
        Linux-x86_64) ;;
        Linux-aarch64)
            command -v ffmpeg >/dev/null 2>&1 ||
                say "  note: no ffmpeg here, and no wheel carries one for arm64: videos are kept as they are ('apt-get install ffmpeg' changes that)"
            ;;
        *) fail 10 "$(uname -s) on $(uname -m) is not supported: the WhatsApp engine exists for Linux on x86-64 and arm64" \
            "use a Linux machine, or a virtual one, of either kind" ;;
    esac
}

# What .venv was made from: where it lies (it cannot be moved), the interpreter, the lock, the entry points.
fingerprint() {
    {
        echo "$venv"
        "$venv/bin/python" --version
        cat "$root/$1" "$root/pyproject.toml"
    } 2>/dev/null | sha256sum | cut -d' ' -f1
}

# True if an earlier run has finished this very work; a lock of which this one is a part counts too.
is_current() {
    for stamp_of in "$1" requirements-dev.lock; do
        stamp=$venv/.made-from-$stamp_of
        if [ -r "$stamp" ] && [ "$(cat "$stamp")" = "$(fingerprint "$stamp_of")" ]; then
            [ -x "$venv/bin/amda" ] && [ -x "$venv/bin/amda-tui" ] && return
        fi
    done
    return 1
}

# True if .venv can be brought up to date in place: its Python works, and it was made where it lies now.
is_usable() {
    [ -r "$venv/.made-at" ] && [ "$(cat "$venv/.made-at")" = "$venv" ] && python_fits "$venv/bin/python"
}

create_venv() {
    rm -rf "$venv"
    if ! complaint=$("$python" -m venv --without-pip "$venv" 2>&1); then
        rm -rf "$venv"
        case $complaint in
            *"No module named"*) fail 12 "$python lacks a part of its standard library: $complaint" \
                "Debian: 'apt-get install python3 python3-venv' as root (python3-minimal is not enough)" ;;
            *) fail 13 "cannot make $venv: $complaint" "use a checkout that this user may write to, on a disk with room" ;;
        esac
    fi
    echo "$PIP_SHA256  $root/$PIP_WHEEL" | sha256sum --check --status ||
        fail 16 "$PIP_WHEEL is missing or damaged" "get a fresh copy of the checkout"
    run_pip "PYTHONPATH=$root/$PIP_WHEEL" --no-index --no-compile --quiet "$root/$PIP_WHEEL"
    echo "$venv" >"$venv/.made-at"
}

# Counts what pip collects, on one line of a terminal, or now and then where there is none.
show_progress() {
    if [ -t 2 ]; then tty=1; else tty=0; fi
    awk -v total="$1" -v tty="$tty" '
        /^Collecting / {
            n++; split($2, name, "[=<>;@]")
            if (tty) printf "\r  %d of %d: %-40s", n, total, name[1] > "/dev/stderr"
            else if (n % 20 == 0) printf "  %d of %d packages\n", n, total > "/dev/stderr"
        }
        /^Installing collected/ { printf "%s  unpacking %46s\n", tty ? "\r" : "", "" > "/dev/stderr"; n = 0 }
        END { if (tty && n) print "" > "/dev/stderr" }'
}

# run_pip ENVIRONMENT PIP-INSTALL-ARGUMENTS…; on failure, tells apart what a newcomer can do something about.
run_pip() {
    extra_env=$1
    shift
    complaints=$venv/.pip-errors
    if { env "$extra_env" "$venv/bin/python" -m pip install --disable-pip-version-check --no-input --no-deps "$@" \
        2>"$complaints" || echo "pip failed" >>"$complaints.failed"; } | show_progress "$expected" &&
        [ ! -e "$complaints.failed" ]; then
        rm -f "$complaints"
        return
    fi
    rm -f "$complaints.failed"
    grep -v 'WARNING: Retrying' "$complaints" | tail -n 8 | sed 's/^/  pip: /' >&2
    if grep -q 'CERTIFICATE_VERIFY_FAILED\|certificate verify failed' "$complaints"; then
        fail 15 "the package index shows a certificate that this machine does not trust" \
            "behind a proxy that inspects TLS, set PIP_CERT to its certificate file and run this again"
    elif grep -q 'DO NOT MATCH THE HASHES' "$complaints"; then
        fail 16 "a downloaded package is not the one that the lock names" \
            "try again; if it stays so, something between here and the package index alters downloads: do not go on"
    elif grep -qi 'no space left' "$complaints"; then
        fail 17 "the disk is full" "free 1 GB and run this again"
    elif grep -qi 'NewConnectionError\|NameResolutionError\|name resolution\|ProxyError\|timed out\|unreachable' "$complaints"; then
        fail 14 "the package index cannot be reached" \
            "check the network; behind a proxy set HTTPS_PROXY; with an index of your own set PIP_INDEX_URL; run this again"
    fi
    fail 18 "pip could not install the pinned packages" "its last lines are above, all of them in $complaints"
}

# make_venv LOCK
make_venv() {
    venv=$root/.venv
    expected=$(grep -c '^[a-zA-Z0-9].*==' "$root/$1")
    if is_current "$1"; then return; fi
    check_platform
    [ -w "$root" ] || fail 13 "$(id -un) cannot write to $root" \
        "copy the checkout to a folder of your own, or run this as its owner"
    exec 9<"$root"
    flock -w "$LOCK_WAIT_S" 9 || fail 19 "another run is still installing in $root" "wait for it, or stop it"
    # Whoever held the lock may have done the work.
    if is_current "$1"; then
        exec 9<&-
        return
    fi
    if ! is_usable; then
        find_python
        say "  making .venv with $("$python" --version) ($(command -v "$python"))"
        create_venv
    fi
    say "  fetching $expected pinned packages, checked by their hashes (about 200 MB the first time)"
    run_pip PIP_PROGRESS_BAR=off --require-hashes --only-binary :all: --requirement "$root/$1"
    # An editable installation: the checkout is what runs. `compat` makes it a plain path entry, no import hook.
    run_pip PIP_PROGRESS_BAR=off --quiet --no-build-isolation --config-settings editable_mode=compat --editable "$root"
    # pip compiles what it unpacks, not a checkout. Uncompiled, each start is a third slower, and what compiling leaves in
    # memory makes every worker heavier. Nothing depends on it: a folder that cannot be written to stays as it is.
    "$venv/bin/python" -m compileall -q "$root/appliance" "$root/tui" >/dev/null 2>&1 || :
    fingerprint "$1" >"$venv/.made-from-$1"
    exec 9<&-
}
