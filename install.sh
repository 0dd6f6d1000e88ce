#!/bin/sh
# install.sh: one small server for sixty WhatsApp sessions.
#
#   curl -fsSL https://…/install.sh | sudo bash                       a server of your own, all defaults
#   curl -fsSL https://…/install.sh | sudo bash -s -- OPTIONS
#   sudo ./install.sh [OPTIONS]                                       from a checkout or an unpacked release
#
#   sudo ./install.sh stage [--from PATH|URL | --offline BUNDLE]
#       Puts a release beside the one that runs and prints its folder; changes nothing else.
#
#   sudo ./install.sh switch
#       Makes the release around this file the current one: settings, units, links. Neither the daemon nor a session is
#       started anew: that is what `amda upgrade` does, which calls this.
#
#   sudo ./install.sh uninstall [--purge [--yes]] [--dry-run]
#       Takes programs, units and links away. Data, settings and secrets stay, and a later installation takes them up;
#       --purge deletes them too, and the users.
#
#   ./install.sh --demo [--no-tui] [OPTIONS OF amda demo]
#       Try it, without root and without a phone: makes .venv in this checkout, then starts the whole appliance with
#       five simulated sessions against a WhatsApp server of our own on loopback. Leaving it ends it. Everything
#       it writes lies in .venv/ and demo/; removing the checkout removes it all.
#       --no-tui   follow the events in this terminal instead of the terminal interface
#
#   ./install.sh --help
#
# Options of a server installation; what is chosen once is remembered (/etc/amda/install.conf):
#   --dry-run         print every action, change nothing
#   --yes             no question (only --purge asks one)
#   --from PATH|URL   another release: a checkout, an archive, or its https:// address
#   --sha256 HEX      what the archive behind --from must be; an address needs this or --signed-by
#   --signed-by KEY   the public SSH key (a file, or 'ssh-ed25519 AAAA…') of whoever signed SHA256SUMS beside the archive
#   --offline BUNDLE  a bundle of provisioning/release: nothing is downloaded
#   --no-minio        keep media in a folder, not in an S3 server
#   --minio-binary FILE                    this server of the MinIO API: the one that is here, or the maintained Silo
#   --minio-url URL --minio-sha256 HEX     by its pinned download, are taken otherwise
#   --build-minio     build MinIO's last published source (five minutes; it has known holes)
#   --s3-url URL --s3-credentials FILE     an S3 that exists elsewhere; the file says access_key and secret_key
#   --move-media      and move what is stored already to where media goes now (a folder, an S3 server); nobody notices
#   --domain NAME     TLS (Caddy, with a certificate for NAME) in front of the API, for a back end elsewhere; ports 80, 443
#   --no-domain       close that door again
#
# It can be run again at any time: it makes what is missing, starts again only what changed, never makes a secret anew
# and never overwrites a setting that was edited (the new default is put beside it, FILE.new). An interrupted run is
# continued by the next one. Releases lie side by side in /opt/amda/releases; /opt/amda/current is the one that runs.
# The log is /var/log/amda/install.log.
#
# A server needs Debian 12 or 13, Ubuntu 22.04 or 24.04, on x86-64 or arm64, systemd, 2 GB of memory for sixty sessions
# and 20 GB of disk. The demo needs Linux on either, Python 3.11, 3.12 or 3.13 (or uv, which brings one), and 1 GB.
# Redis server, libmagic and ffmpeg come as wheels where the system has none (ffmpeg on x86-64 only).
#
# Variables: AMDA_<SECTION>_<KEY> sets any setting (amda config show lists them); secrets are named by files.
# AMDA_MINIO_ADDRESS=127.0.0.1:9000 is where the object store listens.
# AMDA_PYTHON=/path/to/python3 picks the interpreter. pip's own count too: PIP_INDEX_URL, PIP_CERT, HTTPS_PROXY, …
#
# Exit status, and the number of the error that is printed with its remedy:
#    0  done                                     21  this system is not supported
#    2  a wrong argument                         22  systemd does not run here
#   10  this kind of machine is not supported    23  not enough memory
#   11  no Python 3.11, 3.12 or 3.13             24  not enough disk
#   12  Python lacks a part of its own library   25  a port is taken
#   13  a folder cannot be written to            26  the clock is wrong
#   14  the package index cannot be reached      27  another installation is under way
#   15  the package index's certificate is       28  apt failed
#       not trusted                              29  a download failed
#   16  a file is not the one that its hash      30  a download is not what it must be
#       names                                    31  this is not a complete release
#   17  the disk is full                         32  a service does not start or stop
#   18  pip failed for another reason            33  the appliance runs and is not well
#   19  another run holds the checkout           34  a user cannot be made
#   20  root is needed                           35  the settings given cannot be used
#                                                36  not confirmed
#                                                37  an upgrade has no end yet
#                                                38  media was not moved
#  130  interrupted
# Any other status comes from the demo itself.
{
set -eu

# The release that this copy installs when it comes alone; provisioning/release fills them in.
RELEASE_URL=''
RELEASE_SHA256=''

# Steps of `--demo`, counted in what is printed.
STEPS=2

say() { printf '%s\n' "$*" >&2; }

# fail CODE WHAT REMEDY: one clear line, what to do about it, and CODE as the exit status.
fail() {
    say "error E$1: $2"
    say "  what to do: $3"
    exit "$1"
}

usage() {
    case $0 in
        *install.sh) sed -n '2,/^{$/{/^{$/d;s/^# \{0,1\}//p;}' "$0" ;;
        *) say "install.sh came through a pipe; its head is its manual: save it to a file, then sh install.sh --help" ;;
    esac
}

# Sets $root to the checkout or unpacked release around this file; empty if it came alone, through a pipe.
find_root() {
    root=
    case $0 in
        *install.sh)
            root=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
            [ -r "$root/scripts/venv.sh" ] || root=
            ;;
    esac
}

load() {
    # shellcheck source=scripts/venv.sh
    . "$root/scripts/venv.sh"
}

demo() {
    [ -n "$root" ] || fail 31 "the demo runs from a checkout, and this copy of install.sh lies alone" \
        "get the whole repository or archive, and run ./install.sh --demo there"
    load
    say "[1/$STEPS] environment: $root/.venv"
    make_venv requirements.lock
    say "[2/$STEPS] demo: everything runs as $(id -un), on loopback only"
    cd "$root"
    exec "$root/.venv/bin/amda" demo "$@"
}

# What decides where the release comes from; everything is passed on to the release's own installer.
read_source() {
    from=
    from_sha256=
    signer=
    bundle=
    while [ $# -gt 0 ]; do
        case $1 in
            --from | --sha256 | --signed-by | --offline)
                [ $# -gt 1 ] || fail 2 "$1 needs a value" "./install.sh --help shows every option"
                case $1 in
                    --from) from=$2 ;;
                    --sha256) from_sha256=$2 ;;
                    --signed-by) signer=$2 ;;
                    --offline) bundle=$2 ;;
                esac
                shift
                ;;
        esac
        shift
    done
}

# has_digest FILE: true if the file's SHA-256 is $2.
has_digest() { [ "$(sha256sum <"$1" | cut -d' ' -f1)" = "$2" ]; }

# fetch URL FILE: over https, or from this machine itself.
fetch() {
    case $1 in
        https://*) protocol='=https' ;;
        http://127.0.0.1[:/]* | http://localhost[:/]*) protocol='=http' ;;
        *) fail 29 "$1 is not an https:// address" "name one, or a file" ;;
    esac
    say "  downloading $1"
    curl -fsSL --proto "$protocol" --proto-redir '=https' --retry 3 --connect-timeout 20 --output "$2" "$1" ||
        fail 29 "$1 cannot be downloaded" "curl's words are above; check address and network, and run this again"
}

# download URL FILE SHA256: nothing is used whose hash is another one.
download() {
    fetch "$1" "$2"
    has_digest "$2" "$3" || fail 30 "$1 is not the file that was promised (SHA-256 $3)" \
        "try again; if it stays so, somebody has changed it: do not install it"
}

# Sets $from_sha256 to what the signed list beside the archive $from says of it. The key comes from elsewhere than both.
read_signed_sums() {
    command -v ssh-keygen >/dev/null 2>&1 ||
        fail 30 "--signed-by needs ssh-keygen" "apt-get install openssh-client; or use --sha256"
    case $signer in
        ssh-* | ecdsa-* | sk-*) key=$signer ;;
        *) key=$(cat "$signer") || fail 2 "there is no key $signer" "name a file with a public SSH key" ;;
    esac
    printf 'amda %s\n' "$key" >"$stage/signers"
    case $from in
        *://*) for sums in SHA256SUMS SHA256SUMS.sig; do fetch "${from%/*}/$sums" "$stage/$sums"; done ;;
        *) cp "$(dirname -- "$from")/SHA256SUMS" "$(dirname -- "$from")/SHA256SUMS.sig" "$stage" ||
            fail 30 "SHA256SUMS and SHA256SUMS.sig are not beside $from" "get them from where it was published" ;;
    esac
    ssh-keygen -Y verify -f "$stage/signers" -I amda -n file -s "$stage/SHA256SUMS.sig" \
        <"$stage/SHA256SUMS" >/dev/null 2>&1 || fail 30 "SHA256SUMS is not signed by that key" \
        "get a fresh copy, and the key from its publisher; do not install it otherwise"
    from_sha256=$(awk -v name="${from##*/}" '$2 == name { print $1 }' "$stage/SHA256SUMS")
    [ -n "$from_sha256" ] || fail 30 "${from##*/} is not in the signed list" "it is another release's, or was renamed"
}

# Unpack the archive $1 into $stage and set $root to the release in it.
unpack() {
    mkdir "$stage/unpacked"
    tar -C "$stage/unpacked" --no-same-owner -xf "$1" 2>/dev/null ||
        fail 31 "$1 is not an archive of a release" "get a fresh copy"
    root=$(find "$stage/unpacked" -maxdepth 2 -name install.sh | head -n 1)
    [ -n "$root" ] || fail 31 "there is no release in $1" "get a fresh copy"
    root=$(dirname -- "$root")
}

# Sets $root to the release that is to be installed, and $AMDA_INSTALL_BUNDLE to the folder of an offline bundle.
get_release() {
    if [ -n "$signer" ]; then
        if [ -z "$from" ] || [ -d "$from" ]; then fail 2 "--signed-by belongs to an archive: --from" "./install.sh --help"; fi
        read_signed_sums
    fi
    case $from in
        '' | *://*) ;;
        *) [ -e "$from" ] || fail 2 "--from: there is no $from" "name a checkout, an archive, or its https:// address" ;;
    esac
    if [ -n "$bundle" ]; then
        [ -f "$bundle" ] || fail 2 "--offline: there is no file $bundle" "name the bundle that provisioning/release made"
        if [ -n "$from_sha256" ] && ! has_digest "$bundle" "$from_sha256"; then
            fail 30 "$bundle is not the file that was promised" "get a fresh copy"
        fi
        unpack "$bundle"
        (cd "$stage/unpacked" && sha256sum --check --status SHA256SUMS) ||
            fail 30 "$bundle is damaged: a file in it is not what its list says" "get a fresh copy"
        export AMDA_INSTALL_BUNDLE="$stage/unpacked"
    elif [ -d "$from" ]; then
        root=$(CDPATH='' cd -- "$from" && pwd)
    elif [ -f "$from" ]; then
        if [ -n "$from_sha256" ] && ! has_digest "$from" "$from_sha256"; then
            fail 30 "$from is not the file that was promised" "get a fresh copy"
        fi
        unpack "$from"
    elif [ -n "$from" ]; then
        [ -n "$from_sha256" ] || fail 2 "--from with an address needs --sha256 or --signed-by" "the release's page names both"
        download "$from" "$stage/release.tar.gz" "$from_sha256"
        unpack "$stage/release.tar.gz"
    elif [ -z "$root" ]; then
        [ -n "$RELEASE_URL" ] || fail 31 "this copy of install.sh belongs into its repository, and it lies alone" \
            "take install.sh of a published release, or run it in the repository"
        download "$RELEASE_URL" "$stage/release.tar.gz" "$RELEASE_SHA256"
        unpack "$stage/release.tar.gz"
    fi
}

# A release brings its own installer: this one may be older or newer than it.
server() {
    read_source "$@"
    if [ -n "$root" ] && { [ -z "$from$bundle" ] || [ "${AMDA_INSTALL_STAGED-}" = "$root" ]; }; then
        load
        # shellcheck source=provisioning/install/server.sh
        . "$root/provisioning/install/server.sh"
        install_server "$@"
        return 0
    fi
    [ "$(id -u)" -eq 0 ] || fail 20 "installing on a server needs root" "sudo …; or try it: ./install.sh --demo"
    stage=$(mktemp -d /var/tmp/amda-install.XXXXXX)
    trap 'rm -rf "$stage"' EXIT
    trap 'exit 130' INT TERM HUP
    get_release
    [ -r "$root/provisioning/install/server.sh" ] || fail 31 "$root is not a complete release" "get a fresh copy"
    AMDA_INSTALL_STAGED=$root sh "$root/install.sh" "$@"
}

main() {
    find_root
    case ${1-} in
        --demo) shift && demo "$@" ;;
        -h | --help) usage ;;
        *) server "$@" ;;
    esac
}

main "$@"
}
