# shellcheck shell=sh
# preflight.sh: is this a machine on which it will work? Nothing is changed before all of it is answered.

preflight() {
    check_root
    check_system
    check_service_manager
    check_memory
    check_disk
    check_clock
    check_ports
    take_lock
}

check_root() {
    [ "$(id -u)" -eq 0 ] || fail 20 "installing on a server needs root" \
        "sudo sh install.sh …; or try it without root: ./install.sh --demo"
}

check_system() {
    case $(uname -m) in
        x86_64 | aarch64) ;;
        *) fail 10 "$(uname -m) is not supported: the WhatsApp engine exists for x86-64 and arm64" \
            "use a machine of either kind" ;;
    esac
    system=$(. "$prefix/etc/os-release" 2>/dev/null && echo "${ID-} ${VERSION_ID-}") || system=
    case $system in
        "debian 12" | "debian 13" | "ubuntu 22.04" | "ubuntu 24.04") note "machine: $system, $(uname -m)" ;;
        *) fail 21 "this system (${system:-unknown}) is not one of Debian 12, 13, Ubuntu 22.04, 24.04" \
            "use one of these; on another Linux run it without root: ./install.sh --demo, then .venv/bin/amda run" ;;
    esac
}

check_service_manager() {
    [ -d "$prefix/run/systemd/system" ] || fail 22 "systemd does not run this machine" \
        "use a server or a virtual machine; for containers without systemd see docs/servers.md"
}

check_memory() {
    memory_mb=$(awk '/^MemTotal:/ { print int($2 / 1024) }' "$prefix/proc/meminfo")
    [ "$memory_mb" -ge "$MEMORY_FLOOR_MB" ] ||
        fail 23 "this machine has $memory_mb MB of memory, at least $MEMORY_FLOOR_MB MB are needed" \
            "take one with 2 GB: sixty sessions need 1.4 GB"
    if [ "$memory_mb" -lt "$MEMORY_WANTED_MB" ]; then
        note "note: $memory_mb MB of memory; sixty sessions need a machine with 2 GB"
    fi
}

# free_mb FOLDER: of the nearest folder that is there.
free_mb() {
    folder=$1
    while [ ! -d "$folder" ]; do folder=$(dirname -- "$folder"); done
    df -Pm "$folder" | awk 'NR == 2 { print $4 }'
}

# What only changes over to a release that is here already takes no room, and may be the way out of a full disk.
check_disk() {
    if [ "$action" = switch ]; then return 0; fi
    for place in "$OPT" "$STATE"; do
        free=$(free_mb "$place")
        [ "$free" -ge "$DISK_FLOOR_MB" ] ||
            fail 24 "only $free MB are free for $place, $DISK_FLOOR_MB MB are needed" \
                "make room (journalctl --vacuum-size=100M, apt-get clean), or take a larger disk; 20 GB are right"
    done
}

check_clock() {
    [ "$(date +%s)" -ge "$CLOCK_FLOOR" ] ||
        fail 26 "the clock says $(date -u +%Y-%m-%d), which cannot be" \
            "set it: timedatectl set-ntp true (or date -s …), and run this again"
    if [ "$(timedatectl show --property=NTPSynchronized --value 2>/dev/null)" = no ]; then
        note "note: the clock is not synchronised; WhatsApp refuses a wrong one: timedatectl set-ntp true"
    fi
}

# port_taken NUMBER: true if somebody listens there.
port_taken() {
    cat "$prefix/proc/net/tcp" "$prefix/proc/net/tcp6" 2>/dev/null |
        awk -v port=":$(printf '%04X' "$1")" \
            '$4 == "0A" && substr($2, length($2) - 4) == port { found = 1 } END { exit !found }'
}

# Of what is going to listen, unless it listens already.
check_ports() {
    if [ -z "$s3_url" ] && [ "$minio" = auto ]; then check_store_port; fi
    if [ -n "$domain" ]; then check_proxy_ports; fi
}

take_lock() {
    if [ -n "$dry_run" ]; then return 0; fi
    mkdir -p "$prefix/run/lock"
    exec 8>"$prefix/run/lock/amda-install"
    flock -n 8 || fail 27 "another installation is under way" "wait for it; its log: $LOG"
}
