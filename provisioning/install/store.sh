# shellcheck shell=sh
# shellcheck disable=SC2034  # the other files use these
# store.sh: where media goes. A server of the MinIO API beside the appliance, an S3 that exists elsewhere, or a folder.

# Sets $store to minio, s3 or folder; with minio, $minio_program is the file to install (empty: the installed one stays).
choose_store() {
    minio_program=
    if [ -n "$s3_url" ]; then
        store=s3
        note "media: S3 at $s3_url"
    elif [ "$minio" = no ]; then
        store=folder
        note "media: a folder, $STATE/media"
    elif [ "$minio" = none ]; then
        store=folder
        note "media: a folder, $STATE/media, because no server of the MinIO API could be had"
        tell_of_later
    elif known=$minio_from && find_minio; then
        store=minio
        # The same program from another place is no change.
        if [ -n "$known" ] && [ -n "$minio_program" ] && cmp -s "$minio_program" "$OPT/bin/minio"; then minio_from=$known; fi
        note "media: $minio_from, listening on $MINIO_ADDRESS"
    elif [ -n "$move_media" ]; then
        fail 29 "no server of the MinIO API could be had, so media stays where it is" \
            "name one: --minio-binary FILE, --s3-url URL; or a folder: --no-minio"
    else
        # Remembered: a later run does not change by itself where media goes.
        store=folder minio=none
        note "media: no server of the MinIO API could be had, so a folder, $STATE/media"
        tell_of_later
    fi
    check_moved
}

# The address of the S3 that was chosen; empty for a folder.
s3_endpoint() {
    case $store in
        minio) echo "http://$MINIO_ADDRESS" ;;
        s3) echo "$s3_url" ;;
    esac
}

# Media stays where it lies until it is moved, and a move goes from S3 to a folder or back. So what lies in one S3 would
# not be found any more once the settings name another one. Our own store at another address is still the same.
check_moved() {
    endpoint=$(s3_endpoint)
    if [ -z "$endpoint" ]; then return 0; fi
    case "$store $s3_was" in
        "minio " | "minio http://127.0.0.1:"* | "$store $endpoint") ;;
        *)
            held=$(held_in_s3) || held=0
            [ "$held" -eq 0 ] ||
                fail 35 "$held objects of media lie in the S3 at $s3_was, and would not be found any more" \
                    "first: $CURRENT/install.sh --no-minio --move-media; then this again, with --move-media"
            ;;
    esac
    s3_was=$endpoint
}

# How many objects lie in an S3; 0 where nothing is known of any.
held_in_s3() {
    if [ ! -x "$release/.venv/bin/python" ]; then
        echo 0 # a dry run makes none
    else
        release_python "$release/provisioning/settings.py" held --database "$STATE/amda.db"
    fi
}

# The one command; it looks for a server as the first installation did, unless it is given one.
tell_of_later() {
    note "  to change that later, everything that is stored included: $CURRENT/install.sh --move-media --minio-binary FILE"
}

# In this order: one that was given, one that is here, the maintained one by its pinned download.
find_minio() {
    if [ -n "$minio_binary" ]; then
        [ -f "$minio_binary" ] || fail 2 "--minio-binary: there is no file $minio_binary" "name the program"
        minio_program=$minio_binary minio_from="the program that was given ($minio_binary)"
    elif [ -n "$minio_url" ]; then
        fetch_minio "$minio_url" "$minio_sha256" "$minio_url"
    elif [ -n "$build_minio" ]; then
        minio_from="MinIO's last published source, built here; it has known holes that loopback and its user limit"
        build_minio_here
    elif [ -n "$offline" ] && [ -f "$offline/minio" ]; then
        minio_program=$offline/minio minio_from="the server of the bundle"
    elif [ -x "$OPT/bin/minio" ]; then
        if [ "$minio_from" = "Silo $SILO_RELEASE" ] || ! is_pinned "$minio_from" || [ -n "$offline" ]; then return 0; fi
        # Media lies in it already: an older one is far better than another store.
        fetch_minio "$SILO_URL/$(silo_archive)" "$(silo_sha256)" "Silo $SILO_RELEASE" ||
            note "note: $minio_from stays until $SILO_RELEASE can be downloaded"
    elif minio_program=$(command -v silo || command -v minio); then
        minio_from="the server of this machine ($minio_program)"
    elif [ -n "$offline" ]; then
        return 1
    else
        fetch_minio "$SILO_URL/$(silo_archive)" "$(silo_sha256)" "Silo $SILO_RELEASE"
    fi
}

is_pinned() { case $1 in "Silo "*) return 0 ;; *) return 1 ;; esac; }

silo_archive() {
    case $(uname -m) in x86_64) machine=amd64 ;; *) machine=arm64 ;; esac
    echo "silo_${SILO_VERSION}_linux_$machine.tar.gz"
}

silo_sha256() { eval "echo \"\$SILO_SHA256_$(uname -m)\""; }

# fetch_minio URL SHA256 NAME: false if it cannot be downloaded; a file of another hash ends the installation.
fetch_minio() {
    if would "download $1 (SHA-256 $2)"; then
        minio_from=$3
        return 0
    fi
    [ -n "$2" ] || fail 2 "--minio-url needs --minio-sha256" "its publisher names it"
    # Not by what lies there: a download that breaks off leaves a part.
    got=0
    (download "$1" "$scratch/minio.download" "$2") || got=$?
    if [ "$got" -eq 30 ]; then exit 30; fi
    if [ "$got" -ne 0 ]; then return 1; fi
    minio_program=$scratch/minio.download minio_from=$3
    mkdir -p "$scratch/minio"
    if tar -C "$scratch/minio" -xzf "$scratch/minio.download" 2>/dev/null; then
        minio_program=$(find "$scratch/minio" -type f \( -name silo -o -name minio \) | head -n 1)
        [ -n "$minio_program" ] || fail 31 "there is no server in $1" "name an archive with silo or minio, or the program"
    fi
}

build_minio_here() {
    if would "build MinIO from its last source"; then return 0; fi
    minio_cache=$scratch
    # In a shell of its own: minio.sh speaks of $root as the folder that has the Python environment.
    sh -c 'root=$1 && . "$root/scripts/venv.sh" && . "$root/scripts/minio.sh" && minio_cache=$2 &&
        build_minio "$2/minio.built"' build-minio "$release" "$scratch" ||
        fail 29 "MinIO cannot be built" "its words are above; or choose: --minio-binary FILE, --no-minio"
    minio_program=$scratch/minio.built
}

# Nobody else may listen where our object store shall.
check_store_port() {
    if systemctl is-active --quiet "$STORE" 2>/dev/null; then return 0; fi
    if port_taken "${MINIO_ADDRESS##*:}"; then
        fail 25 "port ${MINIO_ADDRESS##*:} is taken, and the object store needs it" \
            "stop what listens there, or choose: AMDA_MINIO_ADDRESS=127.0.0.1:9010, --s3-url URL, --no-minio"
    fi
}

# Program, environment and first login of the object store.
minio_files() {
    if [ "$store" != minio ]; then
        leave_minio
        return 0
    fi
    make_user amda-minio "$MINIO_STATE"
    if [ -n "$minio_program" ]; then
        put_file "$minio_program" "$OPT/bin/minio" 0755 root:root "$STORE"
    elif [ ! -e "$OPT/bin/minio" ]; then
        # Only a dry run has a store without a program: it downloads nothing.
        would "write $OPT/bin/minio (root:root, 0755)" || :
    fi
    make_secret "$SECRETS/minio-root" root:root
    if would "write $ETC/minio.env"; then return 0; fi
    {
        echo "# The object store's own settings; its root may log in only while install.sh sets it up."
        echo "MINIO_ROOT_USER=amda-root"
        echo "MINIO_ROOT_PASSWORD=$(cat "$SECRETS/minio-root")"
        echo "MINIO_BROWSER=off"
        echo "MINIO_UPDATE=off"
        echo "MINIO_API_TRUSTED_PROXIES=none"
        echo "# It does not see the limits of its unit."
        echo "MINIO_MEMLIMIT=200MiB"
        echo "# More at once are refused, and repeated by the appliance."
        echo "MINIO_API_REQUESTS_MAX=16"
        echo "AMDA_MINIO_ADDRESS=$MINIO_ADDRESS"
    } >"$scratch/minio.env"
    put_file "$scratch/minio.env" "$ETC/minio.env" 0600 root:root "$STORE"
}

# Another choice than the last time: its data stays, so that media can be moved out of it.
leave_minio() {
    if systemctl is-enabled --quiet "$STORE" 2>/dev/null; then
        note "the object store goes on, because media may lie in it; once it is moved: systemctl disable --now $STORE"
    fi
}

# What the daemon does while everything goes on; here it is only asked for, and waited for. What lies there already is
# no change, and what was interrupted goes on.
move_all_media() {
    to=folder
    if [ "$store" != folder ]; then to=s3; fi
    if would "move all media: amda storage move --to $to"; then return 0; fi
    before=$(media_place)
    "$BIN/amda" storage move --to "$to" --config "$ETC/amda.toml" >"$scratch/moved" ||
        fail 38 "media was not moved, and lies where it was" "its words are above; the same command goes on from there"
    after=$(media_place)
    note "media lies in: $after"
    if [ "$before" = "$after" ]; then return 0; fi
    note "  the old copies are still in: $before"
    note "  delete them when you like: amda storage move --to $to --remove-old"
    did "moved all media from $before to $after"
}

# The choice of a store is for the first start. From then on media stays where it is until it is moved.
tell_of_unmoved() {
    if [ -n "$dry_run" ]; then return 0; fi
    case "$store $(media_place)" in
        "folder S3 "*) note "media still goes to S3; to move it: $CURRENT/install.sh --no-minio --move-media" ;;
        "minio media folder "* | "s3 media folder "*)
            note "media still goes to a folder; to move it: $CURRENT/install.sh --move-media"
            ;;
    esac
}

media_place() {
    "$BIN/amda" storage usage --json --config "$ETC/amda.toml" | sed -n 's/.*"store":"\([^"]*\)".*/\1/p'
}

# The appliance's own user with its own policy on its own bucket. Made once; root may log in only meanwhile.
minio_login() {
    if [ "$store" != minio ] || would "make bucket $MINIO_BUCKET, a user that may reach nothing else, and $SECRETS/s3.toml for it"; then return 0; fi
    known=0
    scoped_login check || known=$?
    case $known in
        0)
            # An earlier run was interrupted before that.
            if [ -e "$STORE_OPENED" ]; then shut_root_out; fi
            return 0
            ;;
        1) ;;
        *) fail 32 "the object store does not work" "its words are above; journalctl -u $STORE has more" ;;
    esac
    mkdir -p "$STORE_DROP_IN"
    : >"$STORE_OPENED"
    printf '[Service]\nEnvironment=MINIO_API_ROOT_ACCESS=on\n' >"$STORE_DROP_IN/setup.conf"
    run systemctl daemon-reload
    run systemctl restart "$STORE" || unit_failed "$STORE"
    made=0
    scoped_login make || made=$?
    shut_root_out
    [ "$made" -eq 0 ] || fail 32 "the object store cannot be set up" "its words are above; journalctl -u $STORE has more"
    did "made bucket $MINIO_BUCKET and the user that may reach nothing else" amda.service
}

shut_root_out() {
    rm -rf "$STORE_DROP_IN"
    run systemctl daemon-reload
    run systemctl restart "$STORE" || unit_failed "$STORE"
    rm -f "$STORE_OPENED"
}

# scoped_login check|make. A check ends with 1 if there is no such login yet, with more if that cannot be known.
scoped_login() {
    if [ "$1" = check ] && [ ! -e "$SECRETS/s3.toml" ]; then return 1; fi
    release_python "$release/provisioning/minio_login.py" "$1" --endpoint "http://$MINIO_ADDRESS" \
        --bucket "$MINIO_BUCKET" --root-password "$SECRETS/minio-root" --credentials "$SECRETS/s3.toml" --owner amda
}

# The settings of the store, as arguments of settings.py.
store_settings() {
    case $store in
        folder) set -- ;;
        *) set -- "storage.kind=s3" ;;
    esac
    # With a folder, too, as long as media may lie in the S3 of before: without a way to it the daemon could not start.
    if [ -n "$s3_was" ] && { [ "$store" != folder ] || [ -e "$SECRETS/s3.toml" ]; }; then
        set -- "$@" "storage.endpoint=$s3_was" "storage.credentials=/etc/amda/secrets/s3.toml"
        if [ "$s3_was" = "http://$MINIO_ADDRESS" ]; then set -- "$@" "storage.bucket=$MINIO_BUCKET"; fi
    fi
    set -- "$@" "storage.quota_bytes=$(quota)"
    printf '%s\n' "$@"
}

# By the size of the disk, not by what is free now: the same at every run. Nobody tells how much an S3 elsewhere holds;
# it gets as much as this disk would, or more, so that nothing that moves there is pruned for it.
quota() {
    least=0
    case $store in minio) place=$MINIO_STATE ;; s3) place=$STATE least=$S3_QUOTA_MB ;; *) place=$STATE ;; esac
    while [ ! -d "$place" ]; do place=$(dirname -- "$place"); done
    df -Pm "$place" | awk -v percent="$QUOTA_PERCENT" -v least="$least" \
        'NR == 2 { mb = int($2 * percent / 100); printf "%.0f", (mb > least ? mb : least) * 1048576 }'
}

# The login of an S3 elsewhere comes by file and is kept where the appliance reads it.
s3_login() {
    if [ "$store" != s3 ] || [ -z "$s3_credentials" ]; then return 0; fi
    [ -r "$s3_credentials" ] || fail 2 "--s3-credentials: there is no file $s3_credentials" \
        'write one: access_key = "…" and secret_key = "…"'
    # Whoever names a file means it: it also takes the place of another store's login.
    if cmp -s "$s3_credentials" "$SECRETS/s3.toml" || would "write $SECRETS/s3.toml (amda:amda, 0600)"; then return 0; fi
    place "$s3_credentials" "$SECRETS/s3.toml" 0600 amda:amda
    did "wrote $SECRETS/s3.toml" amda.service
}
