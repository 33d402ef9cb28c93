#!/usr/bin/env bash
# The main job on real Xen: a saved guest is imported, three slots stand warm, three allocates at once, each copy is the
# guest that was saved and goes on from there; an allocated domain is an ordinary one; nothing stays behind.
#
#   lifecycle.sh TYPE VCPUS...
# shellcheck source=tests/xen/lib.sh
source "$(dirname "$0")/lib.sh"
type=$1
shift

import_and_fill() {
    dompool image import g /var/tmp/g.save --json >/var/tmp/import.json || fail "import"
    names_watch
    dompool pool set g min=3 >/dev/null
    dompool pool wait g --timeout 180s >/dev/null || fail "the pool does not fill"
    names_watched
    note "pool is warm: $(resources)"
}

allocate_three() {
    local i pids=()
    for i in 1 2 3; do
        dompool allocate g --name "copy-$i" --wait 60s --meta test=lifecycle --json >"/var/tmp/lease-$i.json" &
        pids+=($!)
    done
    for i in "${pids[@]}"; do wait "$i" || fail "an allocate failed"; done
    dompool pool set g min=0 >/dev/null # enough for now
}

copy_domid() { json "$(cat "/var/tmp/lease-$1.json")" '$.domid'; }

# All three have begun at once. Then each is examined; of PVH guests, whose emulation costs most, while the others are paused.
check_copies() { # VCPUS
    local i
    for i in 2 3; do of_pvh pause "copy-$i"; done
    for i in 1 2 3; do
        ((i == 1)) || of_pvh unpause "copy-$i"
        check_copy "$i" "$1"
        of_pvh pause "copy-$i"
    done
    of_pvh unpause copy-1
}

of_pvh() { # XL_COMMAND DOMAIN
    [[ $type != pvh ]] || xl "$@"
}

counts_on() { # DOMID
    local tick
    tick=$(guest_tick "$1")
    ((${tick:-0} > saved_tick))
}

# A snapshot takes no discards, and the back end was told so beforehand: it wrote nothing about them itself.
check_discards() { # DOMID
    local nodes
    nodes=$(xenstore-ls -f "/local/domain/0/backend/vbd/$1")
    expect_equal "snapshots among the disks of domain $1" 4 "$(grep -c '/params = "/dev/mapper/' <<<"$nodes" || true)"
    expect_equal "disks that have no discards" 4 "$(grep -c '/discard-enable = "0"' <<<"$nodes" || true)"
    expect_equal "disks about whose discards the back end wrote" 0 "$(grep -c '/feature-discard = ' <<<"$nodes" || true)"
}

check_copy() { # COPY VCPUS
    local lease domid
    lease=$(cat "/var/tmp/lease-$1.json")
    domid=$(copy_domid "$1")
    expect_equal "where copy $1 comes from" warm "$(json "$lease" '$.from')"
    expect_equal "name of copy $1" "copy-$1" "$(json "$lease" '$.name')"
    expect_equal "xl's name of copy $1" "copy-$1" "$(xl domname "$domid")"
    wait_until 60 "copy $1 counts on" counts_on "$domid"
    expect_healthy "$domid" "$2" 4
    check_discards "$domid"
    expect_equal "boot id of copy $1" "$boot_id" "${healthy_line##*id=}"
    note "copy $1: domain $domid, $(json "$lease" '$.total_us') us, $healthy_line"
}

hypercalls_of() { # TRACE
    sqlite3 :memory: "select sum(json_extract(value, '$.hypercalls')) from json_each('${1//\'/\'\'}', '$.stages')"
}

check_trace() { # VCPUS: what the allocation of copy-1 did is kept with its lease
    local trace calls
    trace=$(dompool trace copy-1 --json) || fail "trace"
    expect_equal "total of the trace" "$(json "$(cat /var/tmp/lease-1.json)" '$.total_us')" "$(json "$trace" '$.total_us')"
    (($(json "$trace" '$.stages[#-1].us') < $(json "$trace" '$.total_us'))) || fail "stages of the trace: $trace"
    dompool trace copy-1 || fail "trace"
    expect_engine copy-1
    calls=$(hypercalls_of "$trace")
    note "$calls hypercalls besides grant copies"
    [[ ${ENGINE:-direct} != direct || $1 != 1 ]] || ((calls >= 5 && calls <= 16)) || fail "an allocation of no delta made $calls hypercalls"
}

no_helpers() { ! pgrep -x dompool-slot >/dev/null; }

check_ordinary() { # VCPUS: copy-1 is an ordinary domain
    local domid before after
    domid=$(xl domid copy-1)
    wait_until 60 "no helper holds on to an allocated domain" no_helpers
    xl list -l copy-1 | grep '"name": "copy-1"' >/dev/null || fail "xl list -l does not know copy-1"
    xl pause copy-1
    sleep 1
    before=$(guest_tick "$domid")
    sleep 1
    after=$(guest_tick "$domid")
    expect_equal "ticks of a paused domain" "$before" "$after"
    xl unpause copy-1
    expect_healthy "$domid" "$1" 4
    guest_send "$domid" "echo hello-$domid"
    guest_wait "$domid" "^guest: echo hello-$domid" 30 >/dev/null || fail "the console takes no input"
    # The client leaves an end-of-file character in the guest's input line; a new line takes it away.
    timeout 8 script -qefc "xl console copy-1" /var/tmp/console >/dev/null 2>&1 </dev/null || true
    guest_send "$domid" ""
    grep -aq '^guest: tick' /var/tmp/console || fail "xl console shows nothing"
}

check_save_restore() { # VCPUS: what xl saves of an allocated domain, xl restores
    local domid
    xl save copy-1 /var/tmp/copy.save >/dev/null 2>&1 || fail "xl save of an allocated domain"
    xl restore /var/tmp/copy.save >/var/tmp/xl.log 2>&1 || fail "xl restore of that save: $(cat /var/tmp/xl.log)"
    domid=$(xl domid copy-1)
    expect_healthy "$domid" "$1" 4
    note "saved and restored by xl: domain $domid is healthy"
    rm -f /var/tmp/copy.save
}

check_endings() { # copies that end by themselves or by another hand close their leases
    of_pvh unpause copy-2
    guest_send "$(xl domid copy-2)" poweroff
    wait_until 40 "lease of a guest that powered off closes" lease_gone copy-2
    xl destroy copy-3
    wait_until 40 "lease of a domain destroyed by hand closes" lease_gone copy-3
    note "leases of domains that ended by themselves are closed"
    dompool allocate g --name doomed --wait 60s --json >/var/tmp/crash.json || fail "allocate after endings"
    expect_healthy "$(json "$(cat /var/tmp/crash.json)" '$.domid')" "$1" 4
    guest_send "$(xl domid doomed)" crash
    wait_until 40 "lease of a crashed guest closes" lease_gone doomed
}

for vcpus in "$@"; do
    note "== $type, $vcpus vCPUs"
    make_save "$type" 160 "$vcpus" 4
    resources_mark
    xen_log_clean
    daemon_start
    import_and_fill
    allocate_three
    check_copies "$vcpus"
    check_trace "$vcpus"
    check_ordinary "$vcpus"
    xen_log_clean
    check_save_restore "$vcpus"
    check_endings "$vcpus"
    dompool release --all >/dev/null || fail "release --all"
    dompool image rm g || fail "image rm"
    daemon_stop
    expect_nothing_left
    rm -rf "$STATE" /var/tmp/g.save
done
echo "lifecycle $type: all is well"
