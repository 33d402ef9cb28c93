#!/usr/bin/env bash
# kill -9, of the daemon and of helpers, while slots with two network interfaces are built and completed: in the end there is
# no interface, no node and no entry in a bridge's table.
#
#   network-kill.sh ROUNDS
# shellcheck source=tests/xen/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/xen/network-lib.sh
source "$(dirname "$0")/network-lib.sh"
rounds=${1:-8}

no_helpers() { ! pgrep -x dompool-slot >/dev/null; }
no_domains() { [[ -z $(domains) ]]; }

# Moves on from round to round, over the first two seconds of a build and then of an allocation.
moment() { awk -v r="$1" -v n="$rounds" 'BEGIN { print 2 * r / n }'; } # ROUND

kill_now() { # ROUND
    local pid
    if (($1 % 2)); then
        pid=$(daemon_pid)
        kill -KILL "$pid"
        wait_until 20 "helpers die with the daemon" no_helpers
        note "round $1: daemon killed with $(resources) interfaces=[$(vifs)]"
        daemon_start
    else
        pkill -KILL -o -x dompool-slot || true # there may be none
        note "round $1: helper killed with $(resources) interfaces=[$(vifs)]"
    fi
}

building() { # ROUND
    dompool pool set g min=$((2 + $1 / 2 % 2)) >/dev/null
    sleep "$(moment "$1")"
    kill_now "$1"
}

completing() { # ROUND
    local client
    dompool pool set g min=2 >/dev/null
    dompool pool wait g --timeout 180s >/dev/null || fail "the pool does not fill"
    dompool allocate g --name "victim-$1" --wait 5s >/dev/null 2>&1 &
    client=$!
    sleep "$(awk -v s="$(moment "$1")" 'BEGIN { print s / 4 }')"
    kill_now "$1"
    wait "$client" || true
}

empty() {
    dompool pool set g min=0 max=0 >/dev/null
    dompool release --all >/dev/null || fail "release --all"
    wait_until 60 "all domains go" no_domains
    expect_equal "interfaces" "" "$(vifs)"
    expect_equal "nodes of interfaces" "" "$(vif_nodes)"
    expect_equal "addresses that the bridges know" "" "$(bridge fdb show | grep ' static' || true)"
    dompool pool set g max=8 >/dev/null
}

bridge_make 0
bridge_make 1
make_network_save pv 2
resources_mark
daemon_start
dompool image import g /var/tmp/g.save >/dev/null || fail "import"
for ((round = 0; round < rounds; round++)); do
    building "$round"
    ((round % 3)) || empty
    completing "$round"
    ((round % 2)) || empty
done
empty
dompool image rm g >/dev/null || fail "image rm"
daemon_stop
expect_nothing_left
xen_log_clean
echo "network-kill: all is well"
