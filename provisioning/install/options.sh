# shellcheck shell=sh
# shellcheck disable=SC2034  # the other files use these
# options.sh: what the installer is told, now or by a former run.

# Choices that a former run wrote down: KEY=VALUE, never executed. Variables of this run win.
load_choices() {
    [ -r "$CHOICES" ] || return 0
    while IFS='=' read -r key value; do
        case $key in
            minio | minio_from | s3_url | s3_was | domain) eval "$key=\$value" ;;
            AMDA_*[!A-Z0-9_]*) ;;
            AMDA_*) if eval "[ -z \"\${$key+set}\" ]"; then eval "export $key=\$value"; fi ;;
        esac
    done <"$CHOICES"
    s3_was=${s3_was:-$s3_url}
    MINIO_ADDRESS=${AMDA_MINIO_ADDRESS-$MINIO_ADDRESS}
}

# Names of the settings among our variables; the others speak to the installer.
setting_variables() {
    env | sed -n 's/^\(AMDA_[A-Z0-9]*_[A-Z0-9_]*\)=.*/\1/p' | grep -v '^AMDA_INSTALL_' | sort
}

save_choices() {
    choices=$scratch/choices
    {
        echo "# What install.sh was told; a later run starts from it. Written by install.sh."
        echo "minio=$minio"
        echo "minio_from=$minio_from"
        echo "s3_url=$s3_url"
        echo "s3_was=$s3_was"
        echo "domain=$domain"
        for variable in $(setting_variables); do
            eval "printf '%s=%s\n' \"\$variable\" \"\$$variable\""
        done
    } >"$choices"
    put_file "$choices" "$CHOICES" 0600 root:root
}

bad_argument() {
    say "install.sh: $1"
    say "  what to do: ./install.sh --help shows every option"
    exit 2
}

# value OPTION VALUE…: true if there is one.
value() { [ $# -gt 1 ] || bad_argument "$1 needs a value"; }

read_options() {
    while [ $# -gt 0 ]; do
        case $1 in
            --dry-run) dry_run=yes ;;
            --yes) yes=yes ;;
            --purge) purge=yes ;;
            --no-minio) minio=no s3_url='' ;;
            --build-minio) minio=auto s3_url='' build_minio=yes ;;
            --minio-binary) value "$@" && minio=auto s3_url='' minio_binary=$2 && shift ;;
            --minio-url) value "$@" && minio=auto s3_url='' minio_url=$2 && shift ;;
            --minio-sha256) value "$@" && minio_sha256=$2 && shift ;;
            --domain) value "$@" && domain=$2 && shift ;;
            --no-domain) domain='' ;;
            --s3-url) value "$@" && s3_url=$2 && shift ;;
            --move-media) move_media=yes ;;
            --s3-credentials) value "$@" && s3_credentials=$2 && shift ;;
            --from | --sha256 | --signed-by | --offline) shift ;; # install.sh has seen to these
            uninstall | stage | switch) action=$1 ;;
            *) bad_argument "unknown argument '$1'" ;;
        esac
        shift
    done
    if [ -n "$purge" ] && [ "$action" != uninstall ]; then bad_argument "--purge belongs to uninstall"; fi
    if [ -n "$move_media" ]; then
        [ "$action" = install ] || bad_argument "--move-media belongs to an installation"
        # Where none could be had the last time, one is looked for again.
        if [ "$minio" = none ]; then minio=auto; fi
    fi
    if [ -n "$minio_url" ] && [ -z "$minio_sha256" ]; then bad_argument "--minio-url needs --minio-sha256"; fi
    # A login that is there may be that of another store.
    if [ -n "$s3_url" ] && [ -z "$s3_credentials" ] && { [ ! -e "$SECRETS/s3.toml" ] || [ "$s3_url" != "$s3_was" ]; }; then
        bad_argument "--s3-url needs --s3-credentials FILE"
    fi
}
