# Functions for the tests of network interfaces. Sourced after lib.sh, not run.
#
# Bridge brN: dom0 has 10.(77+N).0.1 there, the test guest's ethN has .2. All guests that are made of one image have the same
# addresses, until a test gives them others.
# shellcheck shell=bash

SAVED_MACS=(00:16:3e:77:00:02 00:16:3e:78:00:02)
HEARD=/var/tmp/frames

bridge_mac() { echo "0a:00:00:00:00:0$1"; }          # N
dom0_address() { echo "10.$((77 + $1)).0.1"; }       # N
guest_address() { echo "10.$((77 + $1)).0.${2-2}"; } # N [HOST]

# Without IPv6, nothing is sent there but what the test is about.
bridge_make() { # N
    ip link add "br$1" address "$(bridge_mac "$1")" type bridge || fail "cannot make the bridge br$1"
    echo 1 >"/proc/sys/net/ipv6/conf/br$1/disable_ipv6"
    ip address add "$(dom0_address "$1")/24" dev "br$1"
    ip link set "br$1" up
}

# A saved guest with so many interfaces, in /var/tmp/g.save; VIF_MORE: what xl's configuration says of each besides. It has forgotten its neighbours, unless it is "talking": then it
# has just made sure that it reaches dom0.
make_network_save() { # TYPE INTERFACES [talking]
    local vifs='' net='' domid i
    for ((i = 0; i < $2; i++)); do
        vifs+=", \"mac=${SAVED_MACS[i]},bridge=br$i${VIF_MORE:+,$VIF_MORE}\""
        net+=",$(guest_address "$i")/24"
    done
    guest_create g "$1" 160 1 1 "pattern_mib=16 check_ms=0 tick_ms=200 net=${net#,}" "${vifs#, }" >/var/tmp/xl.log 2>&1 ||
        fail "xl create of a guest with $2 interfaces: $(tail -n 3 /var/tmp/xl.log)"
    domid=$(xl domid g)
    for ((i = 0; i < $2; i++)); do
        guest_wait "$domid" "^guest: net eth$i " 240 >/dev/null || fail "the guest has no eth$i"
        answers "$(guest_address "$i")" || fail "the guest does not answer on br$i"
    done
    for ((i = 0; i < $2; i++)); do "${3:-forgetting}" "$domid" "$i"; done
    note "guest is up with $2 interfaces"
    xl save g /var/tmp/g.save >/var/tmp/xl.log 2>&1 || fail "xl save: $(tail -n 3 /var/tmp/xl.log)"
}

# Linux asks a neighbour of whom it has only heard after 5 s (delay_first_probe_time).
talking() { # DOMID N
    sleep 7
    answers "$(guest_address "$2")" || fail "the guest does not answer on br$2 any more"
}

forgetting() { # DOMID N
    guest_send "$1" "forget eth$2"
    guest_wait "$1" "^guest: forget eth$2" 30 >/dev/null || fail "the guest does not set eth$2 down and up"
    sleep 3 # for what IPv6 has to say about that
}

answers() { busybox ping -c 1 -W 10 "$1" >/dev/null; } # ADDRESS

# ---- what there is ----

vifs() { find /sys/class/net -maxdepth 1 -name 'vif*' -printf '%f\n' | sort | xargs; }
vif_nodes() { node_paths | grep -E '/(backend|device)/vif/[0-9]' || true; }
node() { xenstore-read "$1" 2>/dev/null || true; }
neighbour() { ip neigh show "$1" dev "$2" | sed -n 's/.*lladdr \([^ ]*\).*/\1/p'; } # ADDRESS BRIDGE
fdb_entries() { bridge fdb show | grep -iF "$1" || true; }                          # MAC_OR_INTERFACE
# What the bridge knows of senders by itself.
learned() { bridge fdb show br "$1" | grep -vE 'permanent|static|self' || true; } # BRIDGE
xl_mac() { xl network-list "$1" | awk -v i="$2" '$1 == i { print $3 }'; }         # DOMAIN INTERFACE
vif_gone() { [[ ! -e /sys/class/net/$1 ]]; }
no_vifs() { [[ -z $(vifs) ]]; }

expect_no_trace() { # DOMID MAC: of a domain with interfaces that has ended
    local interface
    for interface in $(vifs); do
        [[ $interface != "vif$1".* ]] || fail "$interface is still there"
    done
    expect_equal "nodes of the interfaces of domain $1" "" "$(vif_nodes | grep -E "/backend/vif/$1(/|$)|/$1/device/" || true)"
    expect_equal "what bridges know of $2" "" "$(fdb_entries "$2")"
}

# ---- listening ----

# Shows from now on what passes, in the file $HEARD.
listen() { # ARGUMENT_OF_FRAMES...
    : >"$HEARD"
    /root/frames "$@" >"$HEARD" &
    listener=$!
    wait_until 20 "frames listens" grep -q listening "$HEARD"
}

listen_end() {
    kill "$listener" 2>/dev/null || true
    wait "$listener" || true
}

# Who sent what was heard, but for IPv6: Linux keeps an Ethernet header also for each multicast group that it has sent to, and
# goes on with the saved MAC there. At a vif that is heard, on its bridge not: the port rewrites it.
senders() { awk '$4 == "in" && $7 != "0x86dd" { print $5 }' "$HEARD" | sort -u | xargs; }
all_senders() { awk '$4 == "in" { print $5 }' "$HEARD" | sort -u | xargs; }
kinds() { awk '$4 == "in" { print $5, $7 }' "$HEARD" | sort | uniq -c | xargs; } # of frames, by sender
heard() { grep -q " $1 $2 $3 ${4-}" "$HEARD"; }                                  # INTERFACE in|out FROM [TO]

expect_unheard() { # WHAT INTERFACE in|out FROM [TO]
    ! heard "${@:2}" || fail "$1: $(grep -v '^#' "$HEARD")"
}

# Has a guest send a frame, and waits until it has.
guest_frame() { # DOMID FROM TO
    guest_send "$1" "frame $2 $3"
    guest_wait "$1" "^guest: frame $2 $3" 30 >/dev/null || fail "domain $1 sends no frame"
}

guest_mac() { # DOMID INTERFACE: what the guest itself says
    guest_send "$1" "mac $2"
    guest_wait "$1" "^guest: mac $2 " 30 | sed 's/.* //'
}
