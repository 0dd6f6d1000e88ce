# shellcheck shell=sh
# proxy.sh: --domain NAME puts Caddy with a certificate of its own in front of the API, for a back end elsewhere.
#
# The API itself listens on loopback only, and whoever comes through the proxy needs a token (amda token create).

# Where the API listens for the proxy.
API_ADDRESS=127.0.0.1:8480
PROXY=amda-proxy.service
# What answers under way get to end when the proxy stops: they take a moment, but for streams.
PROXY_GRACE_S=5
PROXY_STATE=$prefix/var/lib/amda-proxy

check_proxy_ports() {
    case $domain in
        *[!a-zA-Z0-9.-]* | .* | -*) fail 2 "--domain $domain is not the name of a host" "as in --domain amda.example.org" ;;
    esac
    if systemctl is-active --quiet "$PROXY" 2>/dev/null; then return 0; fi
    for port in 80 443; do
        ! port_taken "$port" || fail 25 "port $port is taken, and the TLS proxy needs it" \
            "stop what listens there; or let that proxy speak to $API_ADDRESS: docs/hybrid.md"
    done
}

# Before the system's packages are installed.
want_proxy() {
    [ -n "$domain" ] || return 0
    if ! command -v caddy >/dev/null 2>&1; then
        missing="$missing caddy"
        # The package would start a service of its own, with an example page; ours is another unit.
        run systemctl mask caddy.service
    fi
}

proxy_files() {
    [ -n "$domain" ] || return 0
    make_user amda-proxy "$PROXY_STATE"
    {
        echo "# Written by install.sh, which keeps changes."
        echo "{"
        echo "    admin off"
        echo "    skip_install_trust"
        echo "    # A back end's stream of events never ends; without a bound every stop would wait for it."
        echo "    grace_period ${PROXY_GRACE_S}s"
        echo "}"
        echo "$domain {"
        echo "    reverse_proxy $API_ADDRESS {"
        echo "        flush_interval -1"
        echo "    }"
        echo "}"
    } >"$scratch/Caddyfile"
    put_file "$scratch/Caddyfile" "$ETC/Caddyfile" 0640 root:amda-proxy "$PROXY"
    open_firewall
}

# Only a firewall that is there and works; ufw is what Ubuntu and our own cloud images use.
open_firewall() {
    if command -v ufw >/dev/null 2>&1 && ufw status 2>/dev/null | grep -q '^Status: active'; then
        for port in 80 443; do
            if ! ufw status | grep -q "^$port/tcp "; then run ufw allow "$port/tcp" && did "opened port $port"; fi
        done
    fi
}

# Nobody listens there any more.
close_firewall() {
    if [ ! -e "$UNITS/$PROXY" ] || ! command -v ufw >/dev/null 2>&1; then return 0; fi
    for port in 80 443; do
        if ufw status 2>/dev/null | grep -q "^$port/tcp "; then run ufw delete allow "$port/tcp" && did "closed port $port"; fi
    done
}

# Settings that go with it, as arguments of settings.py.
proxy_settings() {
    if [ -n "$domain" ]; then printf '%s\n' "api.listen=$API_ADDRESS" "api.trusted_proxies=127.0.0.1"; fi
}

# --no-domain: nobody comes from outside any more.
leave_proxy() {
    if systemctl is-enabled --quiet "$PROXY" 2>/dev/null; then
        run systemctl disable --now "$PROXY" || fail 32 "$PROXY cannot be stopped" "systemctl status $PROXY"
        did "stopped $PROXY"
        close_firewall
    fi
}
