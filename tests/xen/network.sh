#!/usr/bin/env bash
# Network interfaces on real Xen: slots stand warm on their bridges, mute; each lease has a MAC of its own, is heard from under
# it, and cannot send under another one or to other leases; nothing stays behind.
#
#   network.sh TYPE [PART...]      PART: one_interface two_interfaces in_conversation with_addresses (all)
# shellcheck source=tests/xen/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/xen/network-lib.sh
source "$(dirname "$0")/network-lib.sh"
type=$1

# ---- warm slots ----

check_port() { # INTERFACE BRIDGE MAC: of a domain that has never run
    local at=/sys/class/net/$1
    [[ -e $at ]] || fail "there is no $1"
    expect_equal "bridge of $1" "$2" "$(basename "$(readlink "$at/master")")"
    expect_equal "carrier of $1, which can be read if it is up" 0 "$(cat "$at/carrier")"
    expect_equal "MTU of $1" "$(<"/sys/class/net/$2/mtu")" "$(<"$at/mtu")"
    expect_equal "state of the port $1 (0: disabled)" 0 "$(<"$at/brport/state")"
    check_guard "$1"
    bridge fdb show dev "$1" | grep -E "^$3 .*master $2.* static" >/dev/null ||
        fail "$2 has no entry of $3 at $1: $(bridge fdb show dev "$1")"
}

check_guard() { # INTERFACE: is isolated, and receives from its own MAC alone
    expect_equal "isolation of the port $1" 1 "$(<"/sys/class/net/$1/brport/isolated")"
    bridge -d link show dev "$1" | grep 'locked on' >/dev/null || fail "$1 is not locked: $(bridge -d link show dev "$1")"
}

check_warm() { # DOMID INTERFACES
    local i mac
    for ((i = 0; i < $2; i++)); do
        mac=$(node "/local/domain/$1/device/vif/$i/mac")
        [[ $mac =~ ^[0-9a-f][26ae]:.*:0$i$ ]] || fail "interface $i of slot $1 has the MAC '$mac'"
        expect_equal "xl's MAC of slot $1" "$mac" "$(xl_mac "$1" "$i")"
        expect_equal "xl's state of slot $1" 1 "$(xl network-list "$1" | awk -v i="$i" '$1 == i { print $5 }')"
        expect_equal "state of the back end" 2 "$(node "/local/domain/0/backend/vif/$1/$i/state")"
        expect_equal "hotplug-status" connected "$(node "/local/domain/0/backend/vif/$1/$i/hotplug-status")"
        check_port "vif$1.$i" "br$i" "$mac"
    done
}

check_warm_slots() { # SLOTS INTERFACES
    local domid
    dompool pool set g min="$1" >/dev/null
    dompool pool wait g --timeout 180s >/dev/null || fail "the pool does not fill"
    for domid in $(slots | awk '{ print $2 }'); do check_warm "$domid" "$2"; done
    expect_equal "interfaces of warm slots" "$(($1 * $2))" "$(vifs | wc -w)"
    expect_equal "MACs of warm slots" "$(($1 * $2))" "$(slot_macs | sort -u | wc -l)"
    expect_equal "learned addresses" "" "$(learned br0)"
    note "$1 warm slots with $2 interfaces each"
}

slot_macs() {
    local path
    for path in $(xenstore-ls -fp /local/domain | grep -oE '^/local/domain/[0-9]+/device/vif/[0-9]+/mac '); do node "$path"; done
}

# Nothing comes from warm slots, and nothing that is sent on the bridge goes to them.
check_silence() {
    listen 'vif*'
    busybox ping -c 4 -W 1 "$(guest_address 0 99)" >/dev/null || true
    listen_end
    expect_equal "frames of warm slots" "" "$(grep -v '^#' "$HEARD" || true)"
    expect_equal "learned addresses" "" "$(learned br0)"
}

# ---- a lease ----

# Allocates and waits for the guest's answer to a ping: sets lease, domid, mac. A frame that the guest had queued before it
# read its new MAC has the old one, which the port rewrites: that is not heard on the bridge.
allocate() { # NAME OPTION...
    local sign
    listen br0
    sign=$(/root/netsign -t 60 br0 "$(guest_address 0)" dompool allocate g --name "$1" --wait 60s --json "${@:2}" \
        2>"/var/tmp/$1.json") || fail "no sign of $1: $(cat "/var/tmp/$1.json")"
    listen_end
    lease=$(tr -d '\n' <"/var/tmp/$1.json")
    domid=$(json "$lease" '$.domid')
    mac=$(json "$lease" '$.macs[0]')
    note "$1: $mac, $sign"
    expect_equal "who answers ARP for $1" "$mac" "$(json "$sign" '$.arp_mac')"
    expect_equal "who answers pings for $1" "$mac" "$(json "$sign" '$.ping_mac')"
    [[ $mac == "${SAVED_MACS[0]}" ]] || expect_unheard "the saved MAC is heard on the bridge" br0 in "${SAVED_MACS[0]}"
    expect_equal "interface of the first answer" "vif$domid.0" "$(json "$sign" '$.vif')"
}

check_lease() { # NAME
    check_guard "vif$domid.0"
    expect_equal "xl's MAC of $1" "$mac" "$(xl_mac "$1" 0)"
    expect_equal "the guest's MAC of $1" "$mac" "$(guest_mac "$domid" eth0)"
    expect_equal "the back end's MAC of $1" "$mac" "$(node "/local/domain/0/backend/vif/$domid/0/mac")"
    expect_equal "libxl's MAC of $1" "$mac" "$(node "/libxl/$domid/device/vif/0/mac")"
    dompool list --json | grep "\"$mac\"" >/dev/null || fail "the list does not have the MAC of $1"
    check_speech "$1" "$(guest_address 0)"
    expect_healthy "$domid" 1 1
}

# The kernel's own ARP and pings, for as long as a neighbour needs to be asked again: every frame of the guest is from its MAC.
check_speech() { # NAME ADDRESS
    local i answered=0
    ip neigh flush dev br0
    listen "vif$domid.0"
    for ((i = 0; i < 8; i++)); do
        ! answers "$2" || answered=$((answered + 1))
        sleep 1
    done
    listen_end
    note "frames of $1: $(kinds)"
    expect_equal "who speaks for $1, which answered $answered pings" "$mac" \
        "$(senders)"
    expect_equal "answered pings of $1" 8 "$answered"
    expect_equal "neighbour $1 of dom0" "$mac" "$(neighbour "$2" br0)"
}

# Whatever source a guest writes into a frame: on the bridge it has the MAC of its port.
check_source_filter() {
    local other=02:de:ad:00:00:01 dom0
    dom0=$(bridge_mac 0)
    listen -e 0x88b5 '*'
    guest_frame "$domid" "$other" "$dom0"
    wait_until 10 "the frame comes from its port's MAC" heard br0 in "$mac" "$dom0"
    listen_end
    heard "vif$domid.0" in "$other" "$dom0" || fail "the frame from another MAC was not sent"
    expect_unheard "a frame from another MAC passes" br0 in "$other"
}

# With the rewriting taken away the port takes no other source: the filter is the bridge's own. The first frame must not pass; as
# the second one does, the first one would have come before it.
check_locked_port() {
    local other=02:de:ad:00:00:01 dom0
    dom0=$(bridge_mac 0)
    tc filter del dev "vif$domid.0" ingress || fail "tc: $domid has no rewriting"
    listen -e 0x88b5 '*'
    guest_frame "$domid" "$other" "$dom0"
    guest_frame "$domid" "$mac" "$dom0"
    wait_until 10 "a frame from its own MAC passes" heard br0 in "$mac" "$dom0"
    listen_end
    heard "vif$domid.0" in "$other" "$dom0" || fail "the frame from another MAC was not sent"
    expect_unheard "a frame from another MAC passes" br0 in "$other"
}

check_isolation() { # FROM_DOMID FROM_MAC TO_DOMID TO_MAC: two leases
    local broadcast=ff:ff:ff:ff:ff:ff dom0
    dom0=$(bridge_mac 0)
    listen -e 0x88b5 '*'
    guest_frame "$1" "$2" "$4"
    guest_frame "$1" "$2" "$broadcast"
    guest_frame "$1" "$2" "$dom0"
    wait_until 10 "a frame to dom0 arrives" heard br0 in "$2" "$dom0"
    expect_unheard "a lease reaches another one" "vif$3.0" out "$2"
    bridge link set dev "vif$1.0" isolated off
    bridge link set dev "vif$3.0" isolated off
    guest_frame "$1" "$2" "$4"
    wait_until 10 "without isolation they reach one another" heard "vif$3.0" out "$2" "$4"
    listen_end
    bridge link set dev "vif$1.0" isolated on
    bridge link set dev "vif$3.0" isolated on
}

release() { # NAME
    local of=$domid
    dompool release "$1" >/dev/null || fail "release $1"
    expect_no_trace "$of" "$mac"
}

check_leases() {
    local first first_mac
    allocate net-1
    check_lease net-1
    check_source_filter
    first=$domid first_mac=$mac
    guest_send "$first" "net eth0 $(guest_address 0 3)/24" # its old address is for the next one
    guest_wait "$first" '^guest: net eth0 ' 30 >/dev/null || fail "net-1 takes no other address"
    allocate net-2
    check_lease net-2
    [[ $mac != "$first_mac" ]] || fail "two leases have the MAC $mac"
    check_source_filter
    check_locked_port
    check_isolation "$first" "$first_mac" "$domid" "$mac"
    note "two leases"
    check_detach net-2
    release net-2
    domid=$first mac=$first_mac
}

check_detach() { # NAME
    xl network-detach "$1" 0 || fail "xl network-detach"
    wait_until 40 "a detached interface goes" vif_gone "vif$domid.0"
    expect_no_trace "$domid" "$mac"
    expect_healthy "$domid" 1 1
}

check_save_restore() { # NAME ADDRESS
    local sign
    xl save "$1" /var/tmp/lease.save >/var/tmp/xl.log 2>&1 || fail "xl save of a lease: $(tail -n 3 /var/tmp/xl.log)"
    wait_until 20 "the interface of a saved lease goes" vif_gone "vif$domid.0"
    sign=$(/root/netsign -t 60 br0 "$2" xl restore /var/tmp/lease.save 2>/var/tmp/xl.log) ||
        fail "no sign of $1 after xl restore: $(tail -n 3 /var/tmp/xl.log)"
    domid=$(xl domid "$1")
    expect_equal "xl's MAC of $1 after xl restore" "$mac" "$(xl_mac "$1" 0)"
    expect_equal "the guest's MAC of $1 after xl restore" "$mac" "$(guest_mac "$domid" eth0)"
    check_speech "$1" "$2"
    expect_healthy "$domid" 1 1
    rm /var/tmp/lease.save
    note "saved and restored by xl: $sign"
}

check_chosen_mac() {
    local chosen=02:00:00:77:aa:00
    allocate chosen --mac "$chosen"
    expect_equal "the MAC that was asked for" "$chosen" "$mac"
    check_lease chosen
    check_source_filter
    release chosen
    ! dompool allocate g --name bad --mac 02:00:00:77:aa >/dev/null 2>&1 || fail "half a MAC is taken"
    ! dompool allocate g --name bad --mac 01:00:00:77:aa:00 >/dev/null 2>&1 || fail "a group's MAC is taken"
}

check_saved_mac() {
    dompool pool set g min=0 >/dev/null
    wait_until 60 "warm slots with MACs of their own go" no_slots
    dompool pool set g mac=saved min=1 >/dev/null || fail "pool set mac=saved"
    dompool pool wait g --timeout 180s >/dev/null || fail "the pool does not fill"
    allocate saved
    expect_equal "the saved MAC" "${SAVED_MACS[0]}" "$mac"
    # The next slot waits with the same MAC, and must not take the bridge's entry away from the lease.
    dompool pool wait g --timeout 180s >/dev/null || fail "the pool does not fill beside a lease of the saved MAC"
    check_lease saved
    ! dompool allocate g --name twin --wait 5s >/dev/null 2>/var/tmp/twin || fail "two leases have the saved MAC"
    note "a second lease of the saved MAC: $(cat /var/tmp/twin)"
    dompool pool set g min=0 >/dev/null
    wait_until 60 "warm slots with the saved MAC go" no_slots
    release saved
    allocate saved
    expect_equal "the saved MAC, once more" "${SAVED_MACS[0]}" "$mac"
    release saved
    dompool pool set g mac=generated min=0 >/dev/null || fail "pool set mac=generated"
    wait_until 60 "warm slots go" no_slots
}

# ---- processes ----

is_traced() { grep -qE '^TracerPid:[[:space:]]*[1-9]' "/proc/$1/status"; } # PID

# Devices of a slot are made without starting anything: there is the helper, and nothing else.
check_processes() {
    local daemon tracer
    daemon=$(daemon_pid)
    strace -f -qq -e trace=execve -o /var/tmp/execs -p "$daemon" 2>/var/tmp/strace.log &
    tracer=$!
    wait_until 30 "strace looks on" is_traced "$daemon"
    dompool pool set g min=1 >/dev/null
    dompool pool wait g --timeout 240s >/dev/null || fail "the pool does not fill under strace"
    allocate traced
    release traced
    kill -INT "$tracer"
    wait "$tracer" || true
    grep -oE 'execve\("[^"]*"' /var/tmp/execs | sort | uniq -c
    grep 'dompool-slot"' /var/tmp/execs >/dev/null || fail "strace saw no helper"
    expect_equal "other programs that were started" "" "$(grep 'execve(' /var/tmp/execs |
        grep -vE 'execve\("[^"]*/dompool-(slot|image)"' || true)"
    dompool pool set g min=0 >/dev/null
    wait_until 60 "warm slots go" no_slots
}

# ---- without the bridge ----

pool_complains_of() { dompool pool show g | grep -F "$1" >/dev/null; } # TEXT

check_no_bridge() {
    ip link delete br0
    dompool pool set g min=1 >/dev/null
    wait_until 60 "the pool says that the bridge is missing" pool_complains_of br0
    dompool pool show g | tail -n 1
    dompool pool set g min=0 >/dev/null
    wait_until 60 "nothing stays of slots that were not built" no_slots
    expect_equal "interfaces of slots that were not built" "" "$(vifs)"
    expect_equal "nodes of slots that were not built" "" "$(vif_nodes)"
    ! dompool image import h /var/tmp/g.save >/dev/null 2>/var/tmp/refused || fail "an import without its bridge is taken"
    grep -F br0 /var/tmp/refused || fail "what the import says does not name the bridge: $(cat /var/tmp/refused)"
    bridge_make 0
    dompool pool set g min=1 >/dev/null
    dompool pool wait g --timeout 180s >/dev/null || fail "the pool does not recover"
    dompool pool set g min=0 >/dev/null
    wait_until 60 "warm slots go" no_slots
    note "without the bridge no slot"
}

# ---- the parts ----

begin() { # INTERFACES [talking]
    make_network_save "$type" "$@"
    resources_mark
    xen_log_clean
    daemon_start
    dompool image import g /var/tmp/g.save >/dev/null || fail "import"
}

end() {
    dompool release --all >/dev/null || fail "release --all"
    dompool image rm g >/dev/null || fail "image rm"
    daemon_stop
    expect_nothing_left
    expect_equal "interfaces that are left" "" "$(vifs)"
    xen_log_clean
    rm -rf "$STATE" /var/tmp/g.save
}

one_interface() {
    note "== $type, one interface"
    begin 1
    check_warm_slots 3 1
    check_silence
    dompool pool set g min=1 >/dev/null # enough for what follows
    check_leases
    check_save_restore net-1 "$(guest_address 0 3)"
    release net-1
    check_chosen_mac
    check_saved_mac
    check_processes
    check_no_bridge
    end
}

two_interfaces() {
    local second
    note "== $type, two interfaces"
    bridge_make 1
    begin 2
    check_warm_slots 2 2
    allocate two
    second=$(json "$lease" '$.macs[1]')
    check_lease two
    expect_equal "xl's second MAC" "$second" "$(xl_mac two 1)"
    expect_equal "the guest's second MAC" "$second" "$(guest_mac "$domid" eth1)"
    answers "$(guest_address 1)" || fail "the second interface does not answer"
    expect_equal "neighbour on br1" "$second" "$(neighbour "$(guest_address 1)" br1)"
    dompool pool set g min=0 >/dev/null
    release two
    expect_equal "what bridges know of $second" "" "$(fdb_entries "$second")"
    end
}

# Linux keeps Ethernet headers ready for the neighbours that it reaches, and netfront changes the MAC under them: a guest that
# was saved in conversation sends to those with the saved MAC. Nothing of that is lost, and nobody sees the saved MAC.
in_conversation() {
    local i answered=0
    note "== $type, saved in conversation"
    begin 1 talking
    dompool allocate g --name talks --wait 120s --json >/var/tmp/talks.json || fail "allocate"
    lease=$(tr -d '\n' </var/tmp/talks.json) domid=$(xl domid talks)
    mac=$(json "$lease" '$.macs[0]')
    sleep 10
    listen br0
    for ((i = 0; i < 8; i++)); do ! answers "$(guest_address 0)" || answered=$((answered + 1)); done
    listen_end
    note "frames on the bridge: $(kinds)"
    expect_equal "answered pings of a guest that was saved in conversation" 8 "$answered"
    expect_equal "who speaks on the bridge" "$mac" "$(all_senders)"
    release talks
    end
}

take_address() { # LAST_NUMBER
    guest_send "$domid" "net eth0 $(guest_address 0 "$1")/24"
    guest_wait "$domid" '^guest: net eth0 ' 30 >/dev/null || fail "the guest takes no other address"
}

# Its configuration says which addresses it has: nothing comes from another one, and no other kind of frame.
with_addresses() {
    note "== $type, with addresses"
    VIF_MORE="ip=$(guest_address 0) 10.99.0.0/24" begin 1
    allocate fixed
    check_speech fixed "$(guest_address 0)"
    tc filter show dev "vif$domid.0" ingress | grep 'arp_op request' >/dev/null || fail "who has no address may say more than ask"
    expect_equal "the node ip" "$(guest_address 0) 10.99.0.0/24" "$(node "/local/domain/0/backend/vif/$domid/0/ip")"
    listen br0
    take_address 9
    ! busybox ping -c 3 -W 2 "$(guest_address 0 9)" >/dev/null || fail "it answers from an address that is not its own"
    guest_frame "$domid" "$mac" "$(bridge_mac 0)"
    take_address 2
    answers "$(guest_address 0)" || fail "it does not answer from its own address any more"
    listen_end
    note "frames on the bridge: $(kinds)"
    ! grep -F " 0x88b5" "$HEARD" || fail "a frame of another kind passes"
    ip address add 10.99.0.1/24 dev br0
    guest_send "$domid" "net eth0 10.99.0.7/24"
    guest_wait "$domid" '^guest: net eth0 ' 30 >/dev/null || fail "the guest takes no address of the network"
    answers 10.99.0.7 || fail "it does not answer from an address of its network"
    ip address del 10.99.0.1/24 dev br0
    release fixed
    allocate moved --mac 02:00:00:77:bb:00
    check_speech moved "$(guest_address 0)"
    take_address 9
    ! busybox ping -c 3 -W 2 "$(guest_address 0 9)" >/dev/null || fail "with a chosen MAC its addresses are forgotten"
    release moved
    end
}

bridge_make 0
parts=("${@:2}")
((${#parts[@]} > 0)) || parts=(one_interface two_interfaces in_conversation with_addresses)
for part in "${parts[@]}"; do "$part"; done
echo "network $type: all is well"
