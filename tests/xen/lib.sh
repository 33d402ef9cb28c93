# Functions for the tests that run in the embedded dom0. Sourced, not run.
# shellcheck shell=bash
set -euo pipefail

# guest_create, guest_send, guest_wait, guest_tick, console_log: the test guest, by domid
# shellcheck source=/dev/null
source /usr/lib/dompool-test/helpers.sh

STATE=/var/tmp/dompool
export DOMPOOL_STATE_DIR=$STATE DOMPOOL_RUN_DIR=/run/dompool DOMPOOL_SOCKET=/run/dompool/io.dompool
mkdir -p /var/tmp /var/log
DAEMON_LOG=/var/log/dompoold.log

# A test in which nothing was noted or found as expected for so long stands still. Every wait here has a limit that is shorter.
STANDSTILL_S=480
PROGRESS=$(mktemp)

progress() { echo >"$PROGRESS"; } # whose time of change counts

note() {
    printf '%s %s\n' "$(cut -d' ' -f1 /proc/uptime)" "$*"
    progress
}

show_tasks() { # what each program of Xen's and ours is doing, in the kernel's own words
    local pid task
    ps -e -o pid,ppid,stat,wchan:24,time,args --forest | grep -v '\]$'
    for pid in $(pgrep 'dompool|^xl|xenstored|xenconsoled'); do
        for task in /proc/"$pid"/task/*; do
            printf '%s %s\n' "${task#/proc/}" "$(<"$task/comm")"
            sed 's/^/    /' "$task/stack"
        done
    done
    timeout 20 xl vcpu-list
    timeout 20 xl debug-keys r # Xen's run queues
    timeout 20 xl dmesg | tail -n 60
}

# Ends the test if it stands still, and shows where.
watch_for_standstill() {
    set +e
    while (($(date +%s) - $(stat -c %Y "$PROGRESS") < STANDSTILL_S)); do
        sleep 20
        [[ -e /proc/$$ ]] || return
    done
    printf 'FAILED: the test stood still for %s s\n' "$STANDSTILL_S"
    show_tasks
    show_state
    kill -KILL $$
}

show_state() {
    timeout 20 dompool list || true
    timeout 20 xl list || true
    tail -n 40 "$DAEMON_LOG" "$DOMPOOL_RUN_DIR/dompoold.log" || true
    timeout 20 xl dmesg | tail -n 25 || true
    tail -n 5 /var/log/xen/console/* || true
}

# The one way to fail: says what, shows what there is to see, ends the test.
fail() {
    printf 'FAILED: %s\n' "$*"
    show_state
    # See again-on-triple-fault. Status 3 is for this alone. (No grep -q behind a pipe in these scripts: it ends at the first
    # match, what writes into the pipe may die of that, and under pipefail the match counts as none.)
    ! xl dmesg | grep -E 'Triple fault|domain_crash called from svm' >/dev/null || exit 3
    exit 1
}

watch_for_standstill 2>&1 &

expect_equal() { # WHAT WANTED GOT
    [[ $2 == "$3" ]] || fail "$1: wanted '$2', got '$3'"
    progress
}

json() { # JSON_TEXT FILTER: one value out of a JSON object, by sqlite's json_extract path
    sqlite3 :memory: "select json_extract('${1//\'/\'\'}', '$2')"
}

# The disks and the kernel of the test guest need no --disk. ENGINE: the engine of every pool, of all tests that do not choose
# one themselves.
mkdir -p /etc/dompool
{
    printf '[daemon]\ndisk_dirs = /var/lib/dompool-test:/boot\n'
    [[ -z ${ENGINE-} ]] || printf '[pool]\nengine = %s\n' "$ENGINE"
} >/etc/dompool/dompool.conf

slots() { xl list | awk '$1 ~ /^dp-/ { print $1, $2 }' | sort; } # name and domid of each that is no lease's
no_slots() { [[ -z $(slots) ]]; }

# Which engine made a lease's domain is in its trace; without ENGINE it is the one that "auto" finds.
expect_engine() { # LEASE [ENGINE]
    expect_equal "engine of $1" "${2:-${ENGINE:-direct}}" "$(json "$(dompool trace "$1" --json)" '$.engine')"
}

daemon_start() {
    dompoold --background 2>>"$DAEMON_LOG" || fail "dompoold does not start"
}

daemon_pid() { json "$(dompool status --json)" '$.pid'; }

daemon_stop() {
    local pid
    pid=$(daemon_pid)
    kill -0 "$pid" || fail "there is no dompoold to be stopped"
    daemon_end "$pid" || fail "dompoold does not stop within 30 s"
}

wait_until() { # SECONDS WHAT COMMAND...
    local seconds=$1 what=$2 end=$((SECONDS + $1))
    shift 2
    until "$@"; do
        ((SECONDS < end)) || fail "$what: not within $seconds s"
        sleep 0.2
    done
    progress
}

# The guests of these tests never rest; the toolstack is what is being tested.
xl sched-credit2 -d Domain-0 -w 8192 >/dev/null 2>&1 || true

# What exists on the host that dompool could have left behind.
domains() { xl list | awk 'NR > 2 {print $2}' | sort -n | xargs; }
# The domain that is neither dom0, nor a slot, nor this one.
other_domain() { xl list | awk -v skip="$1" 'NR > 2 && $1 !~ /^dp-/ && $2 != skip { print $2 }'; }
loops() { losetup -a | wc -l; }
snapshots() { find /dev/mapper -mindepth 1 ! -name control | wc -l; }
node_paths() {
    {
        xenstore-ls -fp /local/domain
        xenstore-ls -fp /vm
        xenstore-ls -fp /libxl
    } 2>/dev/null |
        sed 's/ = .*//' | grep -vE '^/local/domain/0/(device-model|libxl|memory|control|backend(/[a-z]+)?$)'
}

resources() { echo "domains=[$(domains)] loops=$(loops) snapshots=$(snapshots) nodes=$(node_paths | wc -l)"; }

# Remembers what there is, and later insists that there is no more.
resources_mark() {
    resources_before=$(resources)
    node_paths >/var/tmp/nodes-before
}

expect_nothing_left() {
    diff /var/tmp/nodes-before <(node_paths) || true
    expect_equal "what is left behind" "$resources_before" "$(resources)"
}

# Xen's log may grow, but not by complaints. What it says while it boots does not count.
xen_log_lines=$(xl dmesg | wc -l)
xen_log_clean() {
    local all bad
    all=$(xl dmesg)
    bad=$(tail -n +$((xen_log_lines + 1)) <<<"$all" |
        grep -iwE 'bad (type|page)|crash(ed)?|fault|error|invalid|refcount|bug|panic' || true)
    xen_log_lines=$(wc -l <<<"$all")
    [[ -z $bad ]] || fail "the hypervisor complains: $bad"
}

# A check that the guest makes when asked: patterns, vCPUs, disks. On a busy emulated machine disks may
# take longer to reconnect than a check waits ("slow"); then the next check counts. Sets healthy_line.
expect_healthy() { # DOMID VCPUS DISKS
    local line try
    for try in 1 2 3 4 5; do
        guest_send "$1" check
        line=$(guest_wait "$1" '^guest: check ' 60) || fail "domain $1 reports no check"
        [[ $line == *"pattern=ok"* && $line == *"disks=slow"* ]] || break
        note "domain $1, check $try: $line"
    done
    [[ $line == *"pattern=ok pages=4096 "* && $line == *"cpus=ok:$2 "* && $line == *"disks=ok:$3 "* ]] ||
        fail "domain $1 is not healthy: $line"
    # shellcheck disable=SC2034 # for the tests
    healthy_line=$line
}

# shellcheck disable=SC2034 # saved_tick and boot_id are for the tests
# A saved guest, of this many MiB and vCPUs and with so many disks, in /var/tmp/g.save. Sets saved_tick and boot_id.
make_save() { # TYPE MIB VCPUS DISKS
    local domid line pace="check_ms=5000 tick_ms=200"
    # Three PVH guests with several vCPUs each are all that the emulated machine can carry.
    [[ $1 != pvh || $3 == 1 ]] || pace="check_ms=60000 tick_ms=400"
    guest_create g "$1" "$2" "$3" "$4" "pattern_mib=16 $pace" >/dev/null
    domid=$(xl domid g)
    line=$(guest_wait "$domid" '^guest: check ' 240) || fail "the guest does not come up"
    boot_id=${line##*id=}
    note "guest is up: $line"
    saved_tick=$(guest_tick "$domid")
    xl save g /var/tmp/g.save >/var/tmp/xl.log 2>&1 || fail "xl save: $(tail -n 3 /var/tmp/xl.log)"
}

# From names_watch to names_watched nobody sees a domain without a name, however often he looks.
names_watch() {
    : >/var/tmp/watching
    while [[ -e /var/tmp/watching ]]; do
        xl list
        sleep 0.2
    done >/var/tmp/listings &
    names_watcher=$!
}
names_watched() {
    rm /var/tmp/watching
    wait "$names_watcher" || true
    note "xl list was run $(grep -c '^Name ' /var/tmp/listings) times"
    ! grep -F '(null)' /var/tmp/listings || fail "xl list shows domains without a name"
    rm /var/tmp/listings
}

lease_gone() { ! dompool list --json | grep "\"name\":[[:space:]]*\"$1\"" >/dev/null; }
