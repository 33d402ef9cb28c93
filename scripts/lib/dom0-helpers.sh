# Functions for tests that run inside xen-run's dom0, where this file is /usr/lib/dompool-test/helpers.sh. Sourced by bash.
# What the test guest prints and understands is described at the top of guest/guest.c.
# shellcheck shell=bash

# shellcheck source=scripts/lib/guest.sh
. "$(dirname "${BASH_SOURCE[0]}")/guest.sh"

dompool_test_dir=/run/dompool-test
console_dir=/var/log/xen/console

# guest_config NAME TYPE MEM_MIB VCPUS NDISKS [EXTRA [VIFS]]: writes /etc/xen/NAME.cfg and the guest's disks, all new. TYPE is
# pv or pvh; EXTRA goes to the guest's kernel command line; VIFS is what stands between the brackets of vif = [].
# GUEST_ON_CRASH: its on_crash, if that is not to be destroy.
guest_config() {
    local name=$1 ndisks=$5 letters=abcdefghijklmnopqrstuvwxyz i disk disks=()
    for ((i = 0; i < ndisks; i++)); do
        disk=/var/lib/dompool-test/$name-xvd${letters:i:1}.img
        rm -f "$disk"
        truncate -s 16M "$disk"
        disks+=("xvd${letters:i:1}=$disk")
    done
    guest_xl_config "${@:1:4}" "${6-}" "${7-}" "${disks[@]}" >"/etc/xen/$name.cfg"
}

# guest_create NAME TYPE MEM_MIB VCPUS NDISKS [EXTRA [VIFS]]: guest_config, then `xl create`. A guest_wait that
# follows sees every line from its start.
guest_create() {
    local mark domid
    guest_config "$@"
    mark=$(file_size "$console_dir/guest-$1.log")
    xl create -q "/etc/xen/$1.cfg" || return
    domid=$(xl domid "$1") || return
    mark_set "$domid" "$mark"
}

file_size() {
    stat -c %s "$1" 2>/dev/null || echo 0
}

mark_set() {
    mkdir -p "$dompool_test_dir/mark"
    echo "$2" >"$dompool_test_dir/mark/$1"
}

# Log files that xenconsoled has open: those of the domains that are there.
console_logs_open() {
    find "/proc/$(</run/xen/xenconsoled.pid)/fd" -type l -printf '%l\n' | grep "^$console_dir/guest-" || true
}

# console_log NAME_OR_DOMID: the path of the domain's console log. xenconsoled names it guest-<name>.log by the name that the
# domain had when it took the console, a moment after the domain was introduced, and appends if there is one already. A domain
# that got its name later is found by having the guest say something that is in no other file.
console_log() {
    local domid=$1 name known log
    [[ $domid =~ ^[0-9]+$ ]] || domid=$(xl domid "$1") || return
    known=$dompool_test_dir/log/$domid
    if [[ -s $known ]]; then
        cat "$known"
        return
    fi
    mkdir -p "$dompool_test_dir/log"
    name=$(xenstore-read "/local/domain/$domid/name") || return
    log=$console_dir/guest-$name.log
    within_2s console_log_is_open "$log" || log=$(console_log_by_echo "$domid") || return
    echo "$log" | tee "$known"
}

console_log_is_open() { console_logs_open | grep -xF "$1" >/dev/null; }

within_2s() { # COMMAND...
    local tries
    for ((tries = 0; tries < 20; tries++)); do
        ! "$@" || return 0
        sleep 0.1
    done
    return 1
}

console_log_by_echo() {
    local domid=$1 token=log-$1-$RANDOM$RANDOM tries log
    guest_send_raw "$domid" "echo $token" || return
    for ((tries = 0; tries < 100; tries++)); do
        log=$(console_logs_open | xargs -r grep -l "guest: echo $token")
        [[ -z $log ]] || { echo "$log" && return; }
        sleep 0.1
    done
    echo "console_log: domain $domid does not answer, and no log has its name" >&2
    return 1
}

# guest_send DOMID LINE: a line to the guest's console. A guest_wait that follows sees what comes after this.
guest_send() {
    guest_mark "$1" && guest_send_raw "$1" "$2"
}

guest_send_raw() {
    local tty
    within_2s console_tty "$1" || return
    printf '%s\n' "$2" >"$tty"
}

console_tty() { # DOMID: sets tty, once xenconsoled has made the terminal
    tty=$(xenstore-read "/local/domain/$1/console/tty") && [[ -c $tty ]]
}

# guest_mark DOMID: the next guest_wait looks only at lines that come after this.
guest_mark() {
    local log
    log=$(console_log "$1") || return
    mark_set "$1" "$(file_size "$log")"
}

# guest_wait DOMID REGEX [TIMEOUT_S]: waits for a console line that matches (bash regular expression) and prints it; 1 if none
# came in time (30 s). Looks at lines after guest_create, the last guest_mark or guest_send, or the line that the last
# guest_wait found; if there was none of these, at lines that are new.
guest_wait() {
    local domid=$1 regex=$2 end=$((SECONDS + ${3:-30})) log mark line part='' fd tail_pid found=1
    local LC_ALL=C
    log=$(console_log "$domid") || return
    [[ -s $dompool_test_dir/mark/$domid ]] || guest_mark "$domid"
    mark=$(<"$dompool_test_dir/mark/$domid")
    exec {fd}< <(exec tail -c +$((mark + 1)) -f "$log")
    tail_pid=$!
    while ((SECONDS < end)); do
        if ! IFS= read -r -t 1 -u "$fd" line; then
            part+=$line
            continue
        fi
        line=$part$line part=''
        mark=$((mark + ${#line} + 1))
        line=${line%$'\r'}
        if [[ $line =~ $regex ]]; then
            printf '%s\n' "$line"
            found=0
            break
        fi
    done
    exec {fd}<&-
    kill "$tail_pid" 2>/dev/null || true
    mark_set "$domid" "$mark"
    return "$found"
}

# guest_tick DOMID: the counter of the last tick that the guest has printed.
guest_tick() {
    local log
    log=$(console_log "$1") || return
    tail -n 200 "$log" | sed -n 's/^guest: tick \([0-9]*\).*/\1/p' | tail -n 1
}

# guest_check DOMID [TIMEOUT_S]: has the guest verify everything, prints its line; 1 if anything in it is bad. A check that was
# running already does not count: two are asked for, and the second to come is the answer.
guest_check() {
    local line
    guest_send "$1" check && guest_send_raw "$1" check || return
    guest_wait "$1" '^guest: check ' "${2:-60}" >/dev/null && line=$(guest_wait "$1" '^guest: check ' "${2:-60}") || return
    printf '%s\n' "$line"
    [[ $line != *bad* ]]
}

# block_script light|debian: which hotplug script `xl` runs for disks. Debian's is what administrators have; the light one does
# the same with a tenth of the programs, which is what counts on an emulated CPU. See /etc/xen/scripts/block-light.
block_script() {
    ln -sfn "block-$1" /etc/xen/scripts/block
}
