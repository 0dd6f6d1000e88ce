# shellcheck shell=sh
# tmux.sh: the terminal multiplexer in which the tests drive amda-tui. run-tests sources it, after apt.sh.
#
#   obtain_tmux      with AMDA_TEST_TMUX_REQUIRED set, brings Debian's where none is on PATH and root runs
#
# Without one, its tests are named as not run.

obtain_tmux() {
    if command -v tmux >/dev/null 2>&1 || [ -z "${AMDA_TEST_TMUX_REQUIRED:-}" ]; then return; fi
    bring_packages 'a terminal multiplexer' tmux
    command -v tmux >/dev/null 2>&1 || fail 35 "no tmux could be had, and AMDA_TEST_TMUX_REQUIRED is set" \
        "see the messages above; or install it"
}
