# shellcheck shell=sh
# release.sh: puts a release beside the others under /opt/amda/releases, with an environment of its own.
#
# Its folder is named by version and content, so that the same release is never unpacked twice and a changed one never
# overwrites what still runs: processes load parts of their code late.

# Everything of the release in $root as an archive that is the same each time.
pack_release() {
    # shellcheck disable=SC2086  # a list of words
    tar -C "$root" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=u+rwX,go+rX,go-w \
        --exclude=__pycache__ --exclude='*.egg-info' -cf "$scratch/release.tar" $RELEASE_PARTS ||
        fail 31 "$root is not a complete release" "get a fresh copy"
    version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$root/pyproject.toml")
    release=$RELEASES/$version-$(sha256sum <"$scratch/release.tar" | cut -c 1-12)
}

# Sets $release. Made completely or made again: the mark comes last.
stage_release() {
    pack_release
    if [ -e "$release/.complete" ]; then
        note "$(basename "$release") is there"
        return 0
    fi
    if would "unpack the release to $release and make its environment with $(pins) pinned packages"; then return 0; fi
    make_dir "$RELEASES" 0755 root:root
    mkdir -p "$release"
    chmod 0755 "$release"
    tar -C "$release" -xf "$scratch/release.tar" || fail 24 "the release cannot be unpacked to $release" \
        "look at its disk: df -h $OPT"
    make_environment
    did "installed release $(basename "$release")"
}

pins() { grep -c '^[a-zA-Z0-9].*==' "$root/requirements.lock"; }

make_environment() {
    if [ -n "$offline" ]; then export PIP_NO_INDEX=1 PIP_FIND_LINKS="$offline/wheels"; fi
    sh "$parts/environment.sh" "$release"
    run "$release/.venv/bin/python" -m compileall -q "$release/appliance" "$release/tui"
    touch "$release/.complete"
}

# From here on, what starts is of this release.
switch_release() {
    if [ "$(readlink -f "$CURRENT" 2>/dev/null)" != "$release" ]; then
        if ! would "make $CURRENT point to $(basename "$release")"; then
            ln -sfn "$release" "$CURRENT.amda-new"
            mv -fT "$CURRENT.amda-new" "$CURRENT"
            did "current release: $(basename "$release")" amda.service
        fi
    fi
    for name in amda amda-tui; do
        if [ "$(readlink "$BIN/$name")" != "$CURRENT/.venv/bin/$name" ]; then
            if would "link $BIN/$name"; then continue; fi
            mkdir -p "$BIN"
            ln -sfn "$CURRENT/.venv/bin/$name" "$BIN/$name"
            did "linked $BIN/$name"
        fi
    done
}
