#!/usr/bin/env bash
# Domains that are released at the worst moment: while their back ends connect, a little later each time, and while their guest
# powers off. Each release is through soon, the name is free at once, and nothing stays behind.
#
#   release.sh TYPE ROUNDS
# shellcheck source=tests/xen/lib.sh
source "$(dirname "$0")/lib.sh"
type=$1 rounds=$2
mkdir -p /etc/dompool && printf '[daemon]\nlog_level = debug\n' >>/etc/dompool/dompool.conf
LAST_VBD=51760 # xvdd

state_of() { xenstore-read "$1/state" 2>/dev/null || echo 0; }

# Until a node has at least this value. No pause: the moment is short.
wait_state() { # NODE STATE
    local tries
    for ((tries = 0; tries < 400; tries++)); do
        (($(state_of "$1") < $2)) || return 0
    done
    fail "$1 does not come to state $2"
}

allocate_victim() { # sets domid
    dompool allocate g --name victim --wait 120s --json >/var/tmp/lease.json || fail "allocate --name victim"
    domid=$(json "$(cat /var/tmp/lease.json)" '$.domid')
}

release_victim() { # WHEN
    local from till took
    from=$(date +%s%N)
    dompool release victim >/dev/null || fail "release $1"
    till=$(date +%s%N)
    took=$(((till - from) / 1000000))
    note "released $1 after $took ms"
    ((took < 2500)) || fail "a release $1 took $took ms"
}

make_save "$type" 160 1 4
resources_mark
xen_log_clean
daemon_start
dompool image import g /var/tmp/g.save >/dev/null || fail "import"
dompool pool set g min=2 >/dev/null
for ((round = 0; round < rounds; round++)); do
    dompool pool wait g --timeout 180s >/dev/null || fail "the pool does not fill"
    allocate_victim # the name is free
    sleep "$(printf '0.%03d' $((600 * round / rounds)))"
    release_victim "$((600 * round / rounds)) ms later"
done
dompool pool wait g --timeout 180s >/dev/null || fail "the pool does not fill"
allocate_victim
expect_healthy "$domid" 1 4
guest_send "$domid" poweroff
wait_state "/local/domain/0/backend/vbd/$domid/$LAST_VBD" 5
release_victim "while its guest powers off"
dompool image rm g || fail "image rm"
daemon_stop
grep -h "do not close" "$DAEMON_LOG" "$DOMPOOL_RUN_DIR/dompoold.log" && fail "back ends did not close"
grep -h "has not returned" "$DAEMON_LOG" "$DOMPOOL_RUN_DIR/dompoold.log" && fail "the daemon stopped around a call"
grep -h "went without a word" "$DAEMON_LOG" "$DOMPOOL_RUN_DIR/dompoold.log" || true
expect_nothing_left
echo "release $type: all is well"
