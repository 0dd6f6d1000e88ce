# shellcheck shell=sh
# browser.sh: the Chromium in which the tests open the page of `amda web`. run-tests sources it, after apt.sh.
#
#   obtain_browser   checks the one that AMDA_TEST_CHROMIUM names; with AMDA_TEST_CHROMIUM_REQUIRED set, brings Debian's
#                    where none is on PATH and root runs
#
# Nobody's system gets a browser unasked: without one, its tests are named as not run.

obtain_browser() {
    if [ -n "${AMDA_TEST_CHROMIUM:-}" ]; then
        [ -x "$AMDA_TEST_CHROMIUM" ] || fail 33 "AMDA_TEST_CHROMIUM=$AMDA_TEST_CHROMIUM is not a program" \
            "name a Chromium, or unset AMDA_TEST_CHROMIUM to have one looked for on PATH"
        return
    fi
    for program in chromium chromium-browser google-chrome chrome; do
        if command -v "$program" >/dev/null 2>&1; then return; fi
    done
    if [ -z "${AMDA_TEST_CHROMIUM_REQUIRED:-}" ]; then return; fi
    bring_packages 'a browser' chromium
    command -v chromium >/dev/null 2>&1 || fail 34 "no Chromium could be had, and AMDA_TEST_CHROMIUM_REQUIRED is set" \
        "see the messages above; or name one in AMDA_TEST_CHROMIUM"
}
