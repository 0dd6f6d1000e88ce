# shellcheck shell=sh
# server.sh: the installation on a server, step by step. install.sh sources it with $root set to an unpacked release.

: "${root:?server.sh is sourced by install.sh}"

dry_run=
yes=
purge=
action=install
offline=${AMDA_INSTALL_BUNDLE-}
minio=auto
minio_from=
minio_binary=
minio_url=
minio_sha256=
build_minio=
s3_url=
# Where the S3 is, or was, in which media lies or may still lie.
s3_was=
s3_credentials=
move_media=
domain=

parts=$root/provisioning/install
# shellcheck source=provisioning/install/places.sh
. "$parts/places.sh"
# shellcheck source=provisioning/install/lib.sh
. "$parts/lib.sh"
# shellcheck source=provisioning/install/options.sh
. "$parts/options.sh"
# shellcheck source=provisioning/install/preflight.sh
. "$parts/preflight.sh"
# shellcheck source=provisioning/install/packages.sh
. "$parts/packages.sh"
# shellcheck source=provisioning/install/release.sh
. "$parts/release.sh"
# shellcheck source=provisioning/install/settings.sh
. "$parts/settings.sh"
# shellcheck source=provisioning/install/store.sh
. "$parts/store.sh"
# shellcheck source=provisioning/install/proxy.sh
. "$parts/proxy.sh"
# shellcheck source=provisioning/install/services.sh
. "$parts/services.sh"
# shellcheck source=provisioning/install/uninstall.sh
. "$parts/uninstall.sh"

install_server() {
    started=$(date +%s)
    # What a caller exports must not name the wrong things here.
    umask 022
    # The choices of a former run first, so that the options of this one win.
    load_choices
    read_options "$@"
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    trap 'interrupted' INT TERM HUP
    if [ "$action" = uninstall ]; then
        STEPS=2
        if [ -n "$purge" ]; then STEPS=3; fi
        check_root
        open_log
        take_lock
        if [ -z "$purge" ]; then check_upgrade; fi
        confirm_purge
        uninstall
        return 0
    fi
    STEPS=9
    if [ "$action" = stage ]; then
        STEPS=4
        stage
        echo "$release"
        return 0
    fi
    if [ "$action" = switch ]; then
        STEPS=6
        switch
        return 0
    fi
    check_upgrade
    if [ -n "$move_media" ]; then STEPS=10; fi
    install_all
}

# Everything that nobody who is at work notices.
stage() {
    step "is this machine suitable?"
    preflight
    open_log
    step "packages of the system"
    packages
    step "users and folders"
    users
    step "the release and its Python environment"
    stage_release
}

install_all() {
    stage
    step "where media goes"
    choose_store
    step "secrets and settings"
    settings
    step "programs and units"
    redis_program
    minio_files
    proxy_files
    switch_release
    units
    step "start"
    start_services
    step "is it well?"
    prove
    if [ -n "$move_media" ]; then
        step "media moves"
        move_all_media
    else
        tell_of_unmoved
    fi
    summary
}

# What an upgrade changes at once. Daemon and sessions it starts anew itself, the sessions one by one. Packages and users
# are there since the release was staged, perhaps by a bundle that is not at hand now.
switch() {
    step "is this machine suitable?"
    preflight
    open_log
    step "the release"
    stage_release
    step "where media goes"
    choose_store
    step "secrets and settings"
    settings
    step "programs and units"
    redis_program
    minio_files
    proxy_files
    switch_release
    units
    step "what sessions do not notice"
    start_services "$STORE" amda-redis.service "$PROXY"
}

# An upgrade that was interrupted knows what is half done; a whole installation in between would not.
check_upgrade() {
    for state in "$OPT"/upgrade/*.json; do
        if [ -r "$state" ] && grep -q '"outcome": null' "$state"; then
            fail 37 "an upgrade has no end yet ($state)" \
                "amda upgrade --status tells how far it is; amda upgrade goes on, amda upgrade --rollback goes back"
        fi
    done
}

open_log() {
    if [ -n "$dry_run" ]; then
        LOG=/dev/null
        return 0
    fi
    mkdir -p "$LOGS"
    chmod 0750 "$LOGS"
    (umask 077 && : >>"$LOG") || fail 13 "$LOG cannot be written" "look at its disk and its mode"
    log "install.sh: $action, $(uname -srm)"
}

interrupted() {
    trap - INT TERM HUP
    say "interrupted in step $step_number; nothing is broken: run it again, and it goes on from there"
    exit 130
}

summary() {
    if [ -n "$dry_run" ]; then
        say "That is all; nothing was changed."
        return 0
    fi
    took=$(($(date +%s) - started))
    if [ -z "$changed" ]; then
        say "nothing changed ($took s)"
        return 0
    fi
    say "installed in $took s. What changed is in $LOG."
    say "  link a session:  amda pair NAME --phone +221…"
    say "  keep the backups' key elsewhere:  amda backup key"
    say "  look:            amda status   amda session list   journalctl -u amda -u amda-sessions"
}
