# shellcheck shell=sh
# uninstall.sh: takes the appliance away; its data stays unless --purge.

uninstall() {
    step "stop"
    for unit in "$TIMER" "$BACKUP" $TARGET "$PROXY" amda.service amda-sessions.service amda-minio.service amda-redis.service \
        $SLICE; do
        if systemctl cat "$unit" >/dev/null 2>&1; then
            # A session says goodbye to WhatsApp and stays linked there.
            run systemctl disable --now "$unit" || fail 32 "$unit cannot be stopped" "systemctl status $unit"
        fi
    done
    step "remove programs, units and links"
    for unit in "$TIMER" "$BACKUP" $TARGET $SLICE $SERVICES "$STORE"; do
        remove "$UNITS/$unit" "$UNITS/$unit.new"
    done
    unmask_caddy
    close_firewall
    remove "$UNITS/$PROXY" "$UNITS/$PROXY.new"
    remove "$JOURNALD/amda.conf" "$BIN/amda" "$BIN/amda-tui" "$OPT" "$prefix/run/amda" "$prefix/run/amda-redis" \
        "$STORE_DROP_IN" "$STORE_OPENED"
    forget_written
    if [ -d "$JOURNALD" ] && [ -z "$dry_run" ]; then rmdir "$JOURNALD" 2>/dev/null || :; fi
    run systemctl daemon-reload
    if [ -z "$purge" ]; then
        if nothing_changed; then return 0; fi
        say "The data is kept: $ETC (settings, secrets), $STATE, $REDIS_STATE, $MINIO_STATE, $BACKUP_STATE."
        say "  install.sh takes it up again; install.sh uninstall --purge deletes it."
        return 0
    fi
    step "remove all data"
    # What systemctl edit has made.
    for unit in "$TIMER" "$BACKUP" $TARGET $SLICE $SERVICES "$STORE" "$PROXY"; do remove "$UNITS/$unit.d"; done
    run systemctl daemon-reload
    remove "$ETC" "$STATE" "$REDIS_STATE" "$MINIO_STATE" "$PROXY_STATE" "$BACKUP_STATE" "$TIMER_STAMP"
    for user in amda amda-redis amda-minio amda-proxy; do
        if id "$user" >/dev/null 2>&1; then
            run userdel "$user" || fail 34 "the user $user cannot be removed: $(tail -n 1 "$LOG")" \
                "end its processes (ps -u $user), and run this again"
            did "removed the user $user"
        fi
    done
    remove "$LOGS"
    if nothing_changed; then return 0; fi
    say "Nothing is left. On the phones these devices are still listed until they are removed there."
}

# True, and said, if this is a dry run.
nothing_changed() { [ -n "$dry_run" ] && say "That is all; nothing was changed."; }

# The system's own Caddy may start again, if its package stays; masked it was for a domain, now or earlier.
unmask_caddy() {
    if [ -e "$UNITS/$PROXY" ] && [ "$(readlink "$UNITS/caddy.service" 2>/dev/null)" = /dev/null ]; then
        run systemctl unmask caddy.service
    fi
}

# Of what is gone; an edited setting that stays must not be taken for unedited later.
forget_written() {
    if [ -n "$dry_run" ] || [ ! -e "$WRITTEN" ]; then return 0; fi
    { grep "  $ETC/" "$WRITTEN" || :; } >"$WRITTEN.new"
    mv -f "$WRITTEN.new" "$WRITTEN"
}

confirm_purge() {
    if [ -z "$purge" ] || [ -n "$yes" ] || [ -n "$dry_run" ]; then return 0; fi
    say "This deletes every login, all media and the backups in $BACKUP_STATE, for good. Type 'delete' to go on:"
    answer=
    { read -r answer </dev/tty; } 2>/dev/null || say "  (no terminal to answer on: add --yes)"
    [ "$answer" = delete ] || fail 36 "nothing was deleted" "type 'delete' when asked, or add --yes"
}
