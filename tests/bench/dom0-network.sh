# The bench's row network. Sourced by dom0.sh.
# shellcheck shell=bash disable=SC2034,SC2154

bridge=dpbench0 # of this run
bridge_address=10.77.0.1/24
guest_address=10.77.0.2

netsign() { "$tools/netsign" "$bridge" "$guest_address" "$@"; }

# Reaches the guest, and has it forget its neighbours: its kernel would go on sending to those with the saved MAC, which a
# slot's port drops.
network_settle() { # NAME
    netsign >/dev/null && send_line "$1" 'forget eth0' && lifesign "$1" 'guest: forget' >/dev/null && sleep 3
}

# The same guest, without and with a vif.
use_plain() { vif='' extra='' && use_guest pv 128 1; }
use_network() { vif="mac=00:16:3e:77:00:02,bridge=$bridge" extra="net=$guest_address/24" && use_guest pv 128 1; }

fill_network() {
    use_plain && fill_direct
    use_network && fill_direct
}

emit_network() { # WHO SIGN [MEMBER]: SIGN is of netsign
    note "$guest, $1, round $round: $2"
    emit network "$1" 0 "${3:+$3, }\"ms\": {\"first frame\": $(json_field "$2" frame_ms), \"first ping\": $(json_field "$2" ping_ms)}"
}

measure_network() {
    local sign lease
    quiet && sign=$(netsign dompool allocate "$guest-direct" --name bench --json 2>"$dir/lease.json") || return
    lease=$(lease_json)
    emit_network "1 vif" "$sign" "\"lease\": $lease"
    dompool release bench >/dev/null
}

measure_no_network() {
    local sign lease
    quiet && allocate_alive direct 0 bench || return
    show_lease 0 "no vif"
    emit network "no vif" 0 "\"lease\": $lease, \"ms\": {\"first line\": $(json_field "$sign" life_ms)}"
    dompool release bench >/dev/null
}

measure_network_xl() {
    local sign
    dompool image export "$guest-direct" "$dir/x.save" >&2 && quiet || return
    sign=$(netsign xl restore "$dir/$guest-xl.cfg" "$dir/x.save" 2>"$dir/xl.log") || return
    emit_network "1 vif by xl" "$sign"
    rm -f "$dir/x.save"
    xl destroy "$guest-xl"
}

row_network() {
    fill_network
    for ((round = 1; round <= rounds; round++)); do
        use_plain
        try network "no vif" 0 fill_network measure_no_network
        use_network
        try network "1 vif" 0 fill_network measure_network
        try network "1 vif by xl" 0 fill_network measure_network_xl
    done
    use_plain
    try network "no vif" 0 fill_network measure_requests network "no vif" lifesign bench 'guest: tick'
    use_network
    try network "1 vif" 0 fill_network measure_requests network "1 vif" netsign
    empty_pools
}

# A bridge without another port, and without IPv6, whose frames nobody needs.
bridge_make() {
    ip link add "$bridge" address 0a:00:00:00:00:00 type bridge && echo 1 >"/proc/sys/net/ipv6/conf/$bridge/disable_ipv6" &&
        ip address add "$bridge_address" dev "$bridge" && ip link set "$bridge" up
}

group_network() {
    wanted network || return 0
    local disks=("${disks[@]:0:1}") engines=(direct) vif='' extra=''
    bridge_make || return
    use_plain && make_guest pv 128 1 16 && use_network && make_guest pv 128 1 16 && row_network
    use_network && drop_guest
    use_plain && drop_guest
    ip link delete "$bridge"
}
