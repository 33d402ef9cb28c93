#!/usr/bin/env bash
# Capture of a running domain: it goes on afterwards as if nothing had been, again and again and however the capture ends; a
# copy built from the image goes on from where the domain was.
#
#   capture.sh TYPE VCPUS...
# shellcheck source=tests/xen/lib.sh
source "$(dirname "$0")/lib.sh"
type=$1
shift
images=/var/tmp/captured
copied=/var/tmp/captured-copied
cow=/var/tmp/captured-cow
mkdir -p "$images" "$copied" "$cow"
declare -A captured_at # tick of the guest before an image was made
declare -A made_as     # what capturectl said of an image

capture() { # ARGUMENT... (see capturectl.c): its line of JSON is in $captured
    captured=$(/root/capturectl "$@" 2>/var/tmp/capture.log) || fail "capture $*: $captured $(cat /var/tmp/capture.log)"
}

refused() { # ANSWER ARGUMENT...: captured has its text
    local answer=$1
    shift
    ! captured=$(/root/capturectl "$@" 2>/var/tmp/capture.log) || fail "capture $* succeeds: $captured"
    expect_equal "answer to capture $*: $captured" "$answer" "$(json "$captured" '$.failed')"
    note "refused: $(json "$captured" '$.error')"
}

no_log_dirty() { # in any domain, by the hypervisor's own word
    local all
    xl debug-keys q
    all=$(xl dmesg | tail -n 150)
    ! grep 'paging assistance:.*log_dirty' <<<"$all" || fail "log-dirty mode is on"
}

no_request() { # DOMID
    expect_equal "request left to domain $1" "" "$(xenstore-read "/local/domain/$1/control/shutdown")"
}

goes_on() { # DOMID VCPUS DISKS: it has never counted back, and everything in it is right
    local log before
    log=$(console_log "$1")
    before=$(guest_tick "$1")
    guest_mark "$1"
    guest_wait "$1" '^guest: tick ' 20 >/dev/null || fail "domain $1 stands still"
    (($(guest_tick "$1") >= before)) || fail "domain $1 counts back"
    sed -n 's/^guest: tick \([0-9]*\).*/\1/p' "$log" | sort -nc || fail "domain $1 has counted back"
    expect_healthy "$1" "$2" "$3"
    no_request "$1"
    no_log_dirty
}

expect_no_file() { [[ -z $(ls -A "$images") ]] || fail "a failed capture leaves files: $(ls -A "$images")"; }

disk_file() { json "$1" "\$.config.disks[$2].path"; } # CAPTURED DISK

# The captured domain went on and wrote to its disks, and a slot refuses disks that have changed since. What the guest wrote
# since does not matter to its checks, so the disks pass for those that were there.
put_disks_back() { # CAPTURED
    local i ns
    for i in 0 1; do
        ns=$(json "$1" "\$.config.disks[$i].was.mtime_ns")
        touch -d "@$((ns / 1000000000)).$(printf '%09d' $((ns % 1000000000)))" "$(disk_file "$1" $i)"
    done
}

# A domain that stands still leaves its disks alone: they are kept as they are now, or put back to the nanosecond.
keep_disks() { for i in 0 1; do cp -p "$(disk_file "$1" $i)" "/var/tmp/kept-$i"; done; } # CAPTURED
put_kept_disks_back() { for i in 0 1; do cp -p "/var/tmp/kept-$i" "$(disk_file "$1" $i)"; done; }

build_copy() { # IMAGE: sets domid (slotctl leaves its disks behind)
    local events
    events=$(/root/slotctl /usr/libexec/dompool/dompool-slot "$1" copy "$cow" 2>&1) || fail "a copy of $1: $events"
    domid=$(xl domid copy)
}

expect_copy() { # IMAGE TICK VCPUS DISKS: it goes on from there
    local line
    expect_healthy "$domid" "$3" "$4"
    line=${healthy_line#*check } line=${line%% *} # not its last tick: another copy wrote to the same log
    ((line >= $2)) || fail "the copy counts from $line, but was captured at $2 or later"
    line=$(guest_wait "$domid" '^guest: check ' 60)
    expect_equal "boot id of the copy" "$boot_id" "${line##*id=}"
    note "copy of $1 counts on from $2: $line"
    xl destroy copy
}

guest_up() { # NAME VCPUS EXTRA: sets domid and boot_id
    local line pace="check_ms=4000 tick_ms=200"
    [[ $type != pvh || $2 == 1 ]] || pace="check_ms=8000 tick_ms=400" # see make_save
    guest_create "$1" "$type" "${mib:-160}" "$2" 2 "pattern_mib=16 $pace ${3-}" >/dev/null
    domid=$(xl domid "$1")
    line=$(guest_wait "$domid" '^guest: check ' 180) || fail "the guest does not come up"
    boot_id=${line##*id=}
    note "guest is up: $line"
}

guest_down() {
    xl destroy "$domid"
    rm -f "$images"/*
}

check_captures() { # VCPUS: twice in a row
    local i
    for i in 1 2; do
        captured_at[$i]=$(guest_tick "$domid")
        capture "$domid" "$images/$i.img"
        made_as[$i]=$captured
        note "captured: $captured"
        grep -E 'domain [0-9]+( |:)' /var/tmp/capture.log || true
        goes_on "$domid" "$1" 2
    done
    mv "$images"/[12].img "$copied"
}

check_copies() { # VCPUS
    local i domid
    for i in 1 2; do
        put_disks_back "${made_as[$i]}"
        build_copy "$copied/$i.img"
        # Captured in the middle of a check it reads back what the original has written since.
        guest_send "$domid" check
        guest_wait "$domid" '^guest: check ' 60 >/dev/null || fail "the copy of $i reports no check"
        expect_copy "$copied/$i.img" "${captured_at[$i]}" "$1" 2
    done
    put_kept_disks_back "${made_as[stop]}"
    build_copy "$copied/stop.img"
    expect_copy "$copied/stop.img" "${captured_at[stop]}" "$1" 2
    rm -f "$copied"/* /var/tmp/kept-?
}

check_cancelled() { # VCPUS
    refused Internal --cancel 60 "$domid" "$images/cancelled.img"
    expect_no_file
    goes_on "$domid" "$1" 2
}

check_killed() { # VCPUS: the one ending after which somebody else, its guard, has to let the domain go on
    local pid
    /root/capturectl "$domid" "$images/killed.img" >/var/tmp/killed.log 2>&1 &
    pid=$!
    until is_suspended; do
        kill -0 "$pid" || fail "the capture ends before the domain is seen suspended: $(cat /var/tmp/killed.log)"
        sleep 0.3 # without, dom0 takes the only processor, which the guest needs to answer
    done
    kill -KILL "$pid"
    wait "$pid" || true
    wait_until 20 "the domain of a killed capture goes on" is_not_suspended
    rm -f "$images"/* "$images"/.??*
    goes_on "$domid" "$1" 2
}

is_suspended() { [[ $(xl list "$domid" | awk 'NR == 2 {print $5}') == *s* ]]; }

is_not_suspended() { ! is_suspended; }

check_stop() { # VCPUS
    captured_at[stop]=$(guest_tick "$domid")
    capture --stop "$domid" "$images/stop.img"
    made_as[stop]=$captured
    is_suspended || fail "capture --stop leaves the domain running"
    keep_disks "$captured"
    /root/capturectl --undo "$domid" || fail "undo"
    goes_on "$domid" "$1" 2
    mv "$images"/stop.img "$copied"
}

check_refusals() { # VCPUS
    local file
    refused BadValue 0 "$images/x.img"
    xl pause "$domid"
    refused DomainState "$domid" "$images/x.img"
    xl unpause "$domid"
    file=$(ls /var/lib/xen/userdata-d."$domid".*.libxl-json)
    mv "$file" /var/tmp/hidden
    refused ImageRefused "$domid" "$images/x.img"
    mv /var/tmp/hidden "$file"
    xenstore-write "/local/domain/$domid/control/shutdown" nonsense
    refused DomainState "$domid" "$images/x.img"
    xenstore-write "/local/domain/$domid/control/shutdown" ""
    expect_no_file
    goes_on "$domid" "$1" 2
}

check_detached() { # VCPUS: what is not there any more is not in the image
    xl block-detach "$domid" xvdb || fail "block-detach"
    xl rename "$domid" other || fail "rename"
    capture "$domid" "$images/detached.img"
    expect_equal "first disk in the image" xvda "$(json "$captured" '$.config.disks[0].vdev')"
    expect_equal "second disk in the image" "" "$(json "$captured" '$.config.disks[1].vdev')"
    expect_equal "name in the image" other "$(json "$captured" '$.config.name')"
    rm -f "$images"/*
}

# A guest whose kernel does not look at control/shutdown; the function has had two names.
check_deaf() {
    local pid began=$SECONDS
    guest_up "$type-deaf" 1 initcall_blacklist=xen_setup_shutdown_event,setup_shutdown_event
    refused TimedOut --timeout 3000 "$domid" "$images/x.img"
    goes_on "$domid" 1 2
    /root/capturectl --timeout 60000 "$domid" "$images/x.img" >/var/tmp/stopped 2>&1 &
    pid=$!
    sleep 2
    expect_equal "request to the deaf guest" suspend "$(xenstore-read "/local/domain/$domid/control/shutdown")"
    began=$SECONDS
    kill -TERM "$pid"
    wait "$pid" && fail "a capture stopped by a signal succeeds"
    ((SECONDS - began <= 5)) || fail "a capture is slow to stop"
    note "stopped: $(cat /var/tmp/stopped)"
    goes_on "$domid" 1 2
    expect_no_file
    guest_down
}

for vcpus in "$@"; do
    note "== $type, $vcpus vCPUs"
    guest_up "$type-$vcpus" "$vcpus"
    resources_mark
    xen_log_clean
    check_captures "$vcpus"
    check_cancelled "$vcpus"
    check_killed "$vcpus"
    check_stop "$vcpus"
    check_refusals "$vcpus"
    expect_nothing_left
    xen_log_clean
    check_detached "$vcpus"
    guest_down # before the copies: it would go on to write to their disks
    check_copies "$vcpus"
done
check_deaf

note "== $type, 400 MiB"
mib=400
guest_up "$type-big" 1
for i in 1 2 3; do
    capture "$domid" "$images/big-$i.img"
    note "stood still for $(json "$captured" '$.still_us') us, $(json "$captured" '$.payload_pages') pages"
done
guest_down
echo "capture $type: all is well"
