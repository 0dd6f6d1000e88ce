# shellcheck shell=sh
# lib.sh: what every step uses: doing or only printing, files that are replaced only if nobody edited them, the log.
#
# Every change of the machine goes through run, put_file, make_dir or make_secret: that is what makes --dry-run complete.

: "${prefix?lib.sh is sourced by server.sh}"

# Set by the options.
dry_run=${dry_run-}
# What this run has changed: words for the summary, and the units that must be started again because of it.
changed=
restart=
step_number=0

step() {
    step_number=$((step_number + 1))
    say "[$step_number/$STEPS] $1"
    log "== [$step_number/$STEPS] $1"
}

note() {
    say "  $1"
    log "$1"
}

log() {
    if [ -z "$dry_run" ] && [ -w "$LOG" ]; then printf '%s %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$1" >>"$LOG"; fi
}

# would DESCRIPTION: true, and printed, if this is a dry run.
would() {
    [ -n "$dry_run" ] || return 1
    say "  would $1"
}

# run COMMAND…: its output goes to the log; its status is the command's own.
run() {
    if would "run: $*"; then return 0; fi
    log "\$ $*"
    "$@" >>"$LOG" 2>&1
}

# did WORDS [UNIT…]: something has changed; the units named must be started again if they run.
did() {
    log "changed: $1"
    changed="$changed
  $1"
    shift
    for unit; do
        case " $restart " in *" $unit "*) ;; *) restart="$restart $unit" ;; esac
    done
}

digest() { sha256sum <"$1" | cut -d' ' -f1; }

# make_dir PATH MODE OWNER
make_dir() {
    if [ -d "$1" ]; then return 0; fi
    if would "make folder $1 ($3, $2)"; then return 0; fi
    mkdir -p "$1"
    chmod "$2" "$1"
    chown "$3" "$1"
    did "made $1"
}

# The content that we wrote into $1 the last time; empty if never.
written_digest() { sed -n "s|^\([0-9a-f]\{64\}\)  $1\$|\1|p" "$WRITTEN" 2>/dev/null | tail -n 1; }

remember_written() {
    { grep -v "  $1\$" "$WRITTEN" 2>/dev/null || :; } >"$WRITTEN.new"
    printf '%s  %s\n' "$(digest "$1")" "$1" >>"$WRITTEN.new"
    chmod 0644 "$WRITTEN.new"
    mv -f "$WRITTEN.new" "$WRITTEN"
}

# place SOURCE TARGET MODE OWNER: in one step, so that nobody ever sees half a file.
place() {
    cp "$1" "$2.amda-new"
    chown "$4" "$2.amda-new"
    chmod "$3" "$2.amda-new"
    mv -f "$2.amda-new" "$2"
}

# put_file SOURCE TARGET MODE OWNER [UNIT…]: TARGET gets the content of SOURCE, unless somebody has edited it: then the
# new content lies beside it, and that is said once. The units are started again if TARGET changed.
put_file() {
    source=$1 target=$2 mode=$3 owner=$4
    shift 4
    if [ -e "$target" ] && cmp -s "$source" "$target"; then return 0; fi
    if [ -e "$target" ] && [ "$(digest "$target")" != "$(written_digest "$target")" ]; then
        if cmp -s "$source" "$target.new"; then return 0; fi
        if would "keep $target, which was edited, and write the new default to $target.new"; then return 0; fi
        place "$source" "$target.new" "$mode" "$owner"
        say "  kept $target, which was edited; the new default lies beside it: $target.new"
        did "kept $target, which was edited; the new default lies beside it: $target.new"
        return 0
    fi
    if would "write $target ($owner, $mode)"; then return 0; fi
    place "$source" "$target" "$mode" "$owner"
    remember_written "$target"
    did "wrote $target" "$@"
}

# make_secret PATH OWNER [MODE]: random and readable by its users only; one that is there is never touched.
make_secret() {
    if [ -s "$1" ]; then return 0; fi
    if would "make a secret: $1 ($2, ${3-0640})"; then return 0; fi
    (
        umask 077
        head -c 30 /dev/urandom | base64 | tr '+/' '-_' >"$1.amda-new"
    )
    chown "$2" "$1.amda-new"
    chmod "${3-0640}" "$1.amda-new"
    mv -f "$1.amda-new" "$1"
    did "made the secret $1"
}

# remove PATH…: what is there; said in a dry run.
remove() {
    for path; do
        if [ -e "$path" ] || [ -L "$path" ]; then
            if would "remove $path"; then continue; fi
            if ! rm -rf -- "$path" 2>>"$LOG"; then only_emptied "$path"; fi
            did "removed $path"
        fi
    done
}

# Another disk may be mounted there (docs/backup.md): what is on it goes, its place stays.
only_emptied() {
    [ -d "$1" ] && [ -z "$(find "$1" -mindepth 1 -print -quit)" ] ||
        fail 13 "$1 cannot be removed" "see the end of $LOG; then run this again"
    say "  $1 is empty and stays: something is mounted there"
}
