# shellcheck shell=sh
# settings.sh: users, folders, secrets and settings.

# make_user NAME HOME
make_user() {
    if id "$1" >/dev/null 2>&1; then return 0; fi
    run useradd --system --user-group --home-dir "$2" --no-create-home --shell /usr/sbin/nologin "$1" ||
        fail 34 "the user $1 cannot be made" "see the end of $LOG"
    did "made the user $1"
}

users() {
    make_user amda "$STATE"
    make_user amda-redis "$REDIS_STATE"
    make_dir "$OPT" 0755 root:root
    make_dir "$OPT/bin" 0755 root:root
    make_dir "$ETC" 0755 root:root
    make_dir "$SECRETS" 0750 root:amda
    make_dir "$BACKUP_STATE" 0700 amda:amda
}

# As the release that is to run, with nothing of the caller's Python.
release_python() { (cd / && env -u PYTHONPATH -u PYTHONHOME "$release/.venv/bin/python" -P "$@"); }

settings() {
    make_secret "$SECRETS/redis-password" root:amda
    # Without it no backup can be read. Only the appliance's user has it; an operator is shown it: amda backup key
    make_secret "$SECRETS/backup-key" amda:amda 0600
    save_choices
    s3_login
    if would "write $ETC/amda.toml, $ETC/redis.conf (what was edited in them stays), $DEFAULTS"; then return 0; fi
    release_python "$release/provisioning/settings.py" redis --folder /var/lib/amda-redis \
        --socket /run/amda-redis/redis.sock --password-file "$SECRETS/redis-password" >"$scratch/redis.conf"
    put_file "$scratch/redis.conf" "$ETC/redis.conf" 0640 root:amda-redis amda-redis.service
    # shellcheck disable=SC2046  # words without blanks
    release_python "$release/provisioning/settings.py" amda $(store_settings) $(proxy_settings) >"$scratch/amda.toml" ||
        fail 35 "the settings given by AMDA_… variables cannot be used" "correct the variable that is named above"
    put_settings
}

# A file that somebody has edited gets what has changed since, setting by setting: an option of this run must count on a
# machine where another setting was changed. What was edited itself stays, and is told.
put_settings() {
    if [ -e "$DEFAULTS" ] && [ -e "$ETC/amda.toml" ] &&
        [ "$(digest "$ETC/amda.toml")" != "$(written_digest "$ETC/amda.toml")" ] &&
        release_python "$release/provisioning/settings.py" merge --edited "$ETC/amda.toml" --before "$DEFAULTS" \
            --now "$scratch/amda.toml" >"$scratch/merged.toml"; then
        if ! cmp -s "$scratch/merged.toml" "$ETC/amda.toml"; then
            place "$scratch/merged.toml" "$ETC/amda.toml" 0640 root:amda
            say "  $ETC/amda.toml was edited; changed in it is only what this run decides"
            did "changed settings in $ETC/amda.toml, which was edited" amda.service
        fi
    else
        put_file "$scratch/amda.toml" "$ETC/amda.toml" 0640 root:amda amda.service
    fi
    if ! cmp -s "$scratch/amda.toml" "$DEFAULTS"; then
        place "$scratch/amda.toml" "$DEFAULTS" 0640 root:amda
        did "noted in $DEFAULTS what $ETC/amda.toml would be unedited"
    fi
}
