#!/usr/bin/env bash
# kill -9, of the daemon, of a helper and of a client, at many moments: leased domains live on and can be released after the
# restart; whatever was half made is gone.
# shellcheck source=tests/xen/lib.sh
source "$(dirname "$0")/lib.sh"
rounds=${1:-8}

lease_healthy() { # the one lease of this test goes on
    local tick
    tick=$(guest_tick "$domid")
    sleep 1
    (($(guest_tick "$domid") > tick)) || fail "domain $domid stands still after $1"
    expect_equal "leases after $1" 1 "$(leases)"
}

leases() { json "$(dompool list --json)" '$.leases' | grep -o '"lease"' | wc -l; }
warm_slots() { dompool list --json | grep -cE '"state": *"warm"' || true; }
pool_warm() { (($(warm_slots) >= $1)); }
helpers() { pgrep -xc dompool-slot || true; }
no_helpers() { [[ $(helpers) == 0 ]]; }
only_the_lease() { [[ $(domains) == "$domid" ]]; }

# Kills at a moment of a build that moves on from round to round, with a slot warm and another one half built.
kill_daemon() { # ROUND
    local pid
    pid=$(daemon_pid)
    dompool pool set g min=$((2 + $1 % 2)) >/dev/null
    sleep "$(awk -v r="$1" -v n="$rounds" 'BEGIN {print 4 * r / n}')"
    kill -KILL "$pid"
    wait_until 20 "helpers die with the daemon" no_helpers
    note "round $1: killed with $(resources)"
}

make_save pv 160 1 2
resources_mark
daemon_start
dompool image import g /var/tmp/g.save >/dev/null || fail "import"
dompool allocate g --name survivor --wait 120s --json >/var/tmp/lease.json || fail "allocate"
domid=$(xl domid survivor)
expect_healthy "$domid" 1 2

# A console that its helper had no time to hand over: the restart does it.
console_type=/local/domain/$domid/console/type
for ((round = 1; round <= rounds; round++)); do
    kill_daemon "$round"
    ((round > 1)) || xenstore-write "$console_type" dompool
    daemon_start
    expect_equal "who serves the console" xenconsoled "$(xenstore-read "$console_type")"
    lease_healthy "restart $round"
done
expect_healthy "$domid" 1 2

note "== killed helper"
dompool pool set g min=1 >/dev/null
dompool pool wait g --timeout 120s >/dev/null || fail "the pool does not fill"
pkill -KILL -o -x dompool-slot
sleep 1
wait_until 120 "a slot whose helper was killed is replaced" pool_warm 1
dompool allocate g --name after-helper --json >/var/tmp/after.json || fail "allocate after a helper was killed"
expect_healthy "$(json "$(cat /var/tmp/after.json)" '$.domid')" 1 2
dompool release after-helper >/dev/null || fail "release"

note "== killed client"
dompool allocate g --name held --hold --wait 120s >/var/tmp/held.txt &
client=$!
held_begins() { xl list | grep held >/dev/null; }
wait_until 120 "a held lease begins" held_begins
kill -KILL "$client"
wait_until 60 "a lease whose client was killed ends" lease_gone held

note "== released after a restart"
dompool pool set g min=0 >/dev/null
wait_until 60 "surplus slots go" only_the_lease
dompool release "$domid" >/dev/null || fail "release by domid after restarts"
dompool image rm g
daemon_stop
expect_nothing_left
xen_log_clean
echo "kill: all is well"
