#!/usr/bin/env bash
# xl and dompool on one host: each may do with leases and names what the manual says, and a guest's end means what its
# configuration says.
#
#   xl-beside.sh TYPE
# shellcheck source=tests/xen/lib.sh
source "$(dirname "$0")/lib.sh"
type=$1

allocate() { # NAME [OPTION...]: sets domid
    dompool allocate g --name "$1" --wait 120s --json "${@:2}" >/var/tmp/lease.json || fail "allocate $*"
    domid=$(json "$(cat /var/tmp/lease.json)" '$.domid')
}

slot_of() { dompool list --json | tr -d '\n' | grep -oE '\{[^{}]*\}' | grep -E "\"domid\": *$1\b" | grep '"state"'; } # DOMID
state_is() { slot_of "$1" | grep -E "\"state\": *\"$2\"" >/dev/null; }                                                # DOMID STATE
lease_there() { ! lease_gone "$1"; }
domain_gone() { ! xl domname "$1" >/dev/null 2>&1; }
counts_on() { # DOMID TICK
    local tick
    tick=$(guest_tick "$1")
    ((${tick:-0} > $2))
}

check_save() { # OPTION
    local tick
    note "== what xl save $1 leaves goes on"
    allocate saved
    expect_healthy "$domid" 1 2
    xl save "$1" saved /var/tmp/copy.save >/var/tmp/xl.log 2>&1 || fail "xl save $1: $(cat /var/tmp/xl.log)"
    rm -f /var/tmp/copy.save
    tick=$(guest_tick "$domid")
    if [[ $1 == -p ]]; then
        sleep 2
        expect_equal "ticks of a domain after xl save -p" "$tick" "$(guest_tick "$domid")"
        xl unpause saved
    fi
    wait_until 60 "the guest goes on after xl save $1" counts_on "$domid" "$tick"
    state_is "$domid" leased || fail "after xl save $1: $(slot_of "$domid")"
    expect_healthy "$domid" 1 2
    dompool release saved >/dev/null || fail "release after xl save $1"
}

check_names() {
    note "== names"
    guest_create other "$type" 160 1 0 >/dev/null
    allocate mine
    ! dompool allocate g --name other --wait 1s >/var/tmp/out 2>&1 || fail "a lease has the name of another's domain"
    grep NameInUse /var/tmp/out >/dev/null || fail "a name that is taken: $(cat /var/tmp/out)"
    ! xl rename other mine >/var/tmp/out 2>&1 || fail "xl gives two domains one name"
    sed 's/^name = .*/name = "mine"/' /etc/xen/other.cfg >/etc/xen/mine.cfg
    ! xl create -q /etc/xen/mine.cfg >/var/tmp/out 2>&1 || fail "xl creates a domain with a lease's name"
    expect_equal "xl's name of the lease" mine "$(xl domname "$domid")"
    xl rename other somebody
    xl rename mine other
    wait_until 60 "a lease follows xl rename" lease_there other
    dompool release other >/dev/null || fail "release by the name that xl gave"
    xl domid somebody >/dev/null || fail "another's domain is gone"
    xl destroy somebody
}

check_locks() {
    note "== while xl creates a domain"
    dompool pool wait g --timeout 180s >/dev/null || fail "the pool does not fill"
    xl create -q /etc/xen/other.cfg >/var/tmp/xl.log 2>&1 &
    local creating=$!
    allocate beside
    expect_equal "where a lease comes from meanwhile" warm "$(json "$(cat /var/tmp/lease.json)" '$.from')"
    wait "$creating" || fail "xl create: $(cat /var/tmp/xl.log)"
    xl destroy other
    dompool release beside >/dev/null
}

# The image was made of a guest with on_crash = "preserve".
check_kept() {
    note "== a guest that crashes is kept"
    allocate victim
    expect_healthy "$domid" 1 2
    guest_send "$domid" crash
    wait_until 60 "the crashed guest is kept" state_is "$domid" kept
    slot_of "$domid" | grep 'crash: ' >/dev/null || fail "no reason: $(slot_of "$domid")"
    xl list victim | grep -E ' [-rbps]{4}c- ' >/dev/null || fail "xl list: $(xl list)"
    xl dump-core victim /var/tmp/core >/var/tmp/xl.log 2>&1 || fail "xl dump-core: $(cat /var/tmp/xl.log)"
    (($(stat -c %s /var/tmp/core) > 100 << 20)) || fail "the core is $(stat -c %s /var/tmp/core) bytes long"
    rm -f /var/tmp/core
    daemon_stop
    daemon_start
    wait_until 30 "a restart finds the kept one" state_is "$domid" kept
    dompool release victim >/dev/null || fail "release of a kept one"
    wait_until 60 "the kept domain is gone" domain_gone "$domid"
    allocate victim
    guest_send "$domid" poweroff
    wait_until 60 "a guest that powers off ends its lease" lease_gone victim
    dompool pool set g on_end=destroy >/dev/null
    allocate victim
    guest_send "$domid" crash
    wait_until 60 "on_end=destroy: a crash ends the lease" lease_gone victim
    dompool pool set g on_end=preserve >/dev/null
    allocate victim
    guest_send "$domid" poweroff
    wait_until 60 "on_end=preserve: a guest that powers off is kept" state_is "$domid" kept
    xl destroy victim
    wait_until 60 "xl destroy ends a kept one" lease_gone victim
    dompool pool set g on_end= >/dev/null
}

# Warm slots are asked like all others. They do not obey, and nobody gets them.
check_shutdown_all() {
    local asked began
    note "== xl shutdown -a"
    allocate worker
    expect_healthy "$domid" 1 2
    dompool pool wait g --timeout 180s >/dev/null || fail "the pool does not fill"
    asked=$(slots | awk '{ print $2 }')
    began=$SECONDS
    timeout 240 xl shutdown -a >/var/tmp/xl.log 2>&1 || fail "xl shutdown -a: $(cat /var/tmp/xl.log)"
    note "xl shutdown -a took $((SECONDS - began)) s"
    allocate after
    [[ $domid != "$asked" ]] || fail "a slot that was asked to shut down was handed out"
    expect_healthy "$domid" 1 2
    wait_until 60 "a lease that was shut down ends" lease_gone worker
    wait_until 60 "the slot that was asked is gone" domain_gone "$asked"
    dompool release after >/dev/null
}

GUEST_ON_CRASH=preserve make_save "$type" 160 1 2
resources_mark
daemon_start
dompool image import g /var/tmp/g.save >/dev/null || fail "import"
dompool pool set g min=1 >/dev/null
check_save -c
check_save -p
check_names
check_locks
check_kept
check_shutdown_all
dompool pool set g min=0 >/dev/null
dompool image rm g || fail "image rm"
daemon_stop
expect_nothing_left
echo "xl-beside $type: all is well"
