#!/usr/bin/env bash
# The bench, inside a Xen dom0 (a real one or the embedded one) that has dompool installed. ./bench starts it.
#
#   dom0.sh [--rounds N] [--quick] [ROW...]         ROW: allocate floor build release busy size scale superpages resume
#                                                   network (all) or smp
#   dom0.sh --check ...                             only says whether the rest is understood
#
# Samples go to standard output, one JSON object a line as they are measured (tests/bench/series.h says what is in them), so
# that a run that is cut short has not been in vain. What it is doing goes to standard error. docs/bench/README.md says what
# each row is. Exit status 0 also when a measurement failed: that is a line "failed" among the samples.
#
# Guests that several rows need are made once; one group of guests after the other, for the sake of dom0's memory. Within a
# group what is compared takes turns, round by round, so that a machine that grows slower while it runs is slower for all.
set -euo pipefail

# shellcheck source=scripts/lib/guest.sh
. "${BENCH_LIB:-$(dirname "$0")}/guest.sh"

dir=${BENCH_DIR:-/var/tmp/dompool-bench}
tools=${BENCH_TOOLS:-$(dirname "$0")}
disks=(xvda xvdb xvdc xvdd)
engines=(direct guest)
all_rows=(allocate floor build release busy size scale superpages resume network)
more_rows=(smp)
patience=300s # for a pool to fill on a busy emulated machine

export LC_ALL=C DOMPOOL_STATE_DIR=$dir/state DOMPOOL_RUN_DIR=$dir/run DOMPOOL_SOCKET=$dir/run/io.dompool

quick=no
check=no
rounds=5
rows=()

note() { printf '%s %s\n' "$(cut -d' ' -f1 /proc/uptime)" "$*" >&2; }
die() { note "bench: $*" && exit 1; }
wrong() { echo "bench: $*" >&2 && exit 64; }

parse_options() {
    while (($# > 0)); do
        case $1 in
        --check) check=yes ;;
        --quick) quick=yes rounds=3 ;;
        --rounds)
            [[ ${2-} =~ ^[1-9][0-9]{0,2}$ ]] || wrong "--rounds needs a number"
            rounds=$2
            shift
            ;;
        -*) wrong "no option $1" ;;
        *)
            [[ " ${all_rows[*]} ${more_rows[*]} " == *" $1 "* ]] ||
                wrong "no row is called $1; there are: ${all_rows[*]} ${more_rows[*]}"
            rows+=("$1")
            ;;
        esac
        shift
    done
    ((${#rows[@]} > 0)) || rows=("${all_rows[@]}")
}

wanted() { # ROW...: one of them is to be measured
    local row
    for row in "$@"; do
        [[ " ${rows[*]} " != *" $row "* ]] || return 0
    done
    return 1
}

# ---- samples ----

type='' mib='' vcpus='' extra='' vif='' round=0 # of the guest that is being measured; vif as xl has it

# Standard output is for these alone, whatever a command prints: see the end.
emit() { # ROW WHO DELTA MEMBERS: MEMBERS is a part of a JSON object
    printf '{"row": "%s", "who": "%s", "guest": "%s", "mib": %s, "vcpus": %s, "disks": %s, "delta": %s, "round": %s, %s}\n' \
        "$1" "$2" "$type" "$mib" "$vcpus" "${#disks[@]}" "$3" "$round" "$4" >&"$samples"
}

emit_failure() { # ROW WHO DELTA WHAT
    local what=${4//[^A-Za-z0-9 .,:()=_-]/ }
    note "$1, $2: not measured: $what"
    emit "$1" "$2" "$3" "\"failed\": \"${what:0:300}\""
}

about() {
    local quoted
    quoted=$(printf '"%s", ' "${rows[@]}")
    printf '{"about": {"machine": "%s", "commit": "%s", "date": "%s", "xen": "%s", "processors": %s, "memory_mib": %s, ' \
        "${BENCH_MACHINE:-unknown}" "${BENCH_COMMIT:-unknown}" "$(date -u +%Y-%m-%dT%H:%MZ)" "$(xl_info xen_version)" \
        "$(xl_info nr_cpus)" "$(xl_info total_memory)"
    printf '"rounds": %s, "quick": %s, "rows": [%s]}}\n' "$rounds" "$([[ $quick == yes ]] && echo true || echo false)" \
        "${quoted%, }"
}

xl_info() { xl info | awk -F: -v name="$1" '{ gsub(/ /, "") } $1 == name { print $2 }'; }

ms_since() { # EPOCHREALTIME of then
    awk -v from="$1" -v to="$EPOCHREALTIME" 'BEGIN { printf "%.3f", (to - from) * 1000 }'
}

# ---- guests ----

# A guest is called TYPE-MIB-VCPUS, or TYPE-vif-..., if it has a vif; its images TYPE-MIB-VCPUS-ENGINE, and what is derived from
# these ...-PAGES: each engine has an image of its own, since a pool has one engine.

write_config() { # FILE NAME DISK_PREFIX PATTERN_MIB
    local disk list=()
    for disk in "${disks[@]}"; do list+=("$disk=$3-$disk.img"); done
    guest_xl_config "$2" "$type" "$mib" "$vcpus" "pattern_mib=$4 tick_ms=50 check_ms=0 $extra" "${vif:+\"$vif\"}" \
        "${list[@]}" >"$1"
}

lifesign() { "$tools/lifesign" "$@"; }

send_line() { # NAME LINE: to a guest's console
    printf '%s\n' "$2" >"$(xenstore-read "/local/domain/$(xl domid "$1")/console/tty")"
}

# Of a running PVH guest, how many pages its p2m takes.
emit_superpages() { # WHO NAME
    local pages
    [[ $type == pvh ]] && wanted superpages || return 0
    pages=$("$tools/p2m_pages" "$(xl domid "$2")" 2>>"$dir/xl.log") || return
    note "$2 ($1): $pages pages of p2m"
    emit superpages "$1" 0 "\"counts\": {\"p2m pages\": $pages}"
}

# Boots a guest, has it declare its free memory free (change_pages.c), and saves it: base.save.
make_save() { # NAME PATTERN_MIB
    local name=$1 disk
    note "$name: boots, and is saved"
    for disk in "${disks[@]}"; do truncate -s 16M "$dir/$name-$disk.img"; done
    write_config "$dir/$name.cfg" "$name" "$dir/$name" "$2"
    xl create -q "$dir/$name.cfg" >"$dir/xl.log" 2>&1 &&
        lifesign "$name" 'guest: check' >/dev/null &&
        { [[ -z $vif ]] || network_settle "$name"; } &&
        emit_superpages "xl create" "$name" &&
        send_line "$name" free &&
        lifesign "$name" 'guest: free' >/dev/null &&
        xl save "$name" "$dir/base.save" >"$dir/xl.log" 2>&1 || return
    # What xl restores writes to its disks, and an image whose disks have changed is refused: xl gets copies.
    for disk in "${disks[@]}"; do cp "$dir/$name-$disk.img" "$dir/$name-xl-$disk.img"; done
    write_config "$dir/$name-xl.cfg" "$name-xl" "$dir/$name-xl" "$2"
}

# The base, with PAGES changed, as an image of each engine. The last one takes the save file itself.
derive() { # NAME PAGES COMMAND, which makes delta.save
    local engine
    "${@:3}" "$dir/base.save" "$dir/delta.save" && "$tools/change_pages" "$dir/delta.save" "$2" >&2 || return
    for engine in "${engines[@]}"; do
        dompool image import "$1-$engine-$2" "$dir/delta.save" --base "$1-$engine" >&2 && has_delta "$1-$engine-$2" "$2" ||
            return
    done
    rm "$dir/delta.save"
}

has_delta() { # IMAGE PAGES
    local pages
    pages=$(json_field "$(dompool image show "$1" --json)" delta_pages)
    ((${pages:-0} == $2)) || { note "bench: $1 has $pages pages that differ, not $2" && return 1; }
}

use_guest() { # TYPE MIB VCPUS: what is measured from now on; sets guest
    type=$1 mib=$2 vcpus=$3 guest=$1${vif:+-vif}-$2-$3
}

make_images() { # PAGES...: of base.save
    local engine disk options=()
    for disk in "${disks[@]}"; do options+=(--disk "$disk=cow:$dir/$guest-$disk.img"); done
    for engine in "${engines[@]}"; do
        dompool image import "$guest-$engine" "$dir/base.save" "${options[@]}" >&2 &&
            dompool pool set "$guest-$engine" engine="$engine" min=0 >/dev/null || return
    done
    while (($# > 1)); do
        derive "$guest" "$1" cp || return
        shift
    done
    (($# == 0)) || derive "$guest" "$1" mv
}

make_guest() { # TYPE MIB VCPUS PATTERN_MIB PAGES...
    use_guest "$1" "$2" "$3"
    if make_save "$guest" "$4" && make_images "${@:5}"; then
        rm -f "$dir/base.save"
        return
    fi
    emit_failure guest "$guest" 0 "no such guest or image could be made: $(reason)"
    xl destroy "$guest" >/dev/null 2>&1 || true
    rm -f "$dir/base.save" "$dir/delta.save"
    drop_guest
    return 1
}

drop_guest() { # its images and disks
    local images
    recover
    mapfile -t images < <(dompool image list | awk -v name="$guest-" 'index($1, name) == 1 { print length($1), $1 }' |
        sort -rn | cut -d' ' -f2)
    ((${#images[@]} == 0)) || dompool image rm "${images[@]}" >&2 || note "image rm ${images[*]}"
    rm -f "$dir/$guest"*.img "$dir/$guest"*.cfg
}

image_of() { # ENGINE PAGES
    [[ $2 == 0 ]] && echo "$guest-$1" || echo "$guest-$1-$2"
}

# ---- one measurement ----

pools=() # that are to be full before anything is measured

# A pool of SLOTS warm slots that does not refill while a lease lives ("still"), or does ("refilling").
fill() { # ENGINE SLOTS still|refilling
    local max=0
    [[ $3 == refilling ]] || max=$2
    dompool pool set "$guest-$1" min="$2" max="$max" >/dev/null
    pools+=("$guest-$1")
}

empty_pools() {
    local pool
    for pool in "${pools[@]}"; do dompool pool set "$pool" min=0 max=0 >/dev/null || true; done
    pools=()
    wait_no_slots
}

count_slots() { # STATE...: that are in one of these
    dompool list | awk -v states=" $* " 'NR > 1 && index(states, " " $3 " ") { n++ } END { print n + 0 }'
}

coming_or_going() { count_slots building completing releasing broken; }

wait_no_slots() {
    local tries
    for ((tries = 0; tries < 600; tries++)); do
        (($(count_slots warm) + $(coming_or_going) > 0)) || return 0
        sleep 0.2
    done
    note "slots remain: $(dompool list)"
    return 1
}

# Helpers of warm slots that are still making ready what they expect.
helpers_at_work() { ps -C dompool-slot -o stat= | awk '/^[RD]/ { n++ } END { print n + 0 }'; }

# Every pool is full, nothing is being built or destroyed, and slots have made ready what they expect.
quiet() {
    local pool tries rests=0
    for pool in "${pools[@]}"; do
        dompool pool wait "$pool" --timeout "$patience" || return
    done
    for ((tries = 0; tries < 600; tries++)); do
        (($(coming_or_going) + $(helpers_at_work) == 0)) && rests=$((rests + 1)) || rests=0
        ((rests < 3)) || { sleep 0.3 && return; }
        sleep 0.1
    done
    return 1
}

# Leaves no lease and no domain of xl's behind a measurement that failed.
recover() {
    dompool release --all >/dev/null 2>&1 || true
    xl destroy "$guest-xl" >/dev/null 2>&1 || true
    rm -f "$dir/x.save"
    empty_pools || true
}

lease_json() { tr -d '\n' <"$dir/lease.json"; }

# Allocates an image and waits for the guest's first line: sets sign and lease.
allocate_alive() { # ENGINE PAGES NAME
    sign=$(lifesign "$3" 'guest: tick' dompool allocate "$(image_of "$1" "$2")" --name "$3" --json 2>"$dir/lease.json") || return
    lease=$(lease_json)
}

# Allocates without looking at the guest: sets lease.
allocate_only() { # ENGINE PAGES NAME OPTION...
    dompool allocate "$(image_of "$1" "$2")" --name "$3" --json "${@:4}" >"$dir/lease.json" 2>"$dir/allocate.err" || return
    lease=$(lease_json)
}

show_lease() { note "$guest, $1 pages, round $round: $2 $(awk -v us="$(json_field "$lease" total_us)" 'BEGIN { print us / 1000 }') ms"; }

measure_allocate() { # ENGINE PAGES
    local start sign lease
    quiet && allocate_alive "$1" "$2" bench || return
    show_lease "$2" "$1"
    emit allocate "$1" "$2" "\"lease\": $lease, \"sign\": $sign"
    start=$EPOCHREALTIME
    dompool release bench >/dev/null 2>>"$dir/allocate.err" || return
    emit release "$1" "$2" "\"ms\": {\"gone\": $(ms_since "$start")}"
}

# As users of xl would have it: the image as a save file, restored under a name of its own. Sets sign.
restore_xl() { # PAGES [LINE]: LINE is the sign of life
    dompool image export "$(image_of direct "$1")" "$dir/x.save" >&2 && quiet || return
    sign=$(lifesign "$guest-xl" "${2:-guest: tick}" xl restore "$dir/$guest-xl.cfg" "$dir/x.save" 2>"$dir/xl.log") || return
    note "$guest, $1 pages, round $round: xl restore $(json_field "$sign" exit_ms) ms"
    rm -f "$dir/x.save"
}

measure_xl() { # PAGES [ROW WHO]
    local start sign
    restore_xl "$1" || return
    emit "${2:-allocate}" "${3:-xl}" "$1" "\"sign\": $sign"
    start=$EPOCHREALTIME
    xl destroy "$guest-xl" || return
    [[ -n ${2-} ]] || emit release xl "$1" "\"ms\": {\"gone\": $(ms_since "$start")}"
}

measure_xl_as() { measure_xl "$3" "$1" "$2"; } # ROW WHO PAGES

reason() { # what the last failure left behind
    cat "$dir/allocate.err" "$dir/xl.log" "$dir/lease.json" 2>/dev/null | tail -n 3 | tr '\n' ' '
}

# Runs one measurement; one that fails is noted, and cleaned up behind.
try() { # ROW WHO PAGES REFILL COMMAND...
    local row=$1 who=$2 pages=$3 refill=$4
    : >"$dir/xl.log"
    : >"$dir/lease.json"
    : >"$dir/allocate.err"
    "${@:5}" && return
    {
        tail -n 5 "$dir/run/dompoold.log"
        xl dmesg | tail -n 5
    } >&2 || true
    emit_failure "$row" "$who" "$pages" "$(reason)"
    recover
    "$refill"
}

# ---- rows ----

fill_engines() {
    local engine
    for engine in "${engines[@]}"; do fill "$engine" 1 still; done
}

# Both engines and xl, in turn, at each size of the delta.
row_allocate() { # PAGES...
    local pages engine
    fill_engines
    for ((round = 1; round <= rounds; round++)); do
        for pages in "$@"; do
            for engine in "${engines[@]}"; do
                try allocate "$engine" "$pages" fill_engines measure_allocate "$engine" "$pages"
            done
            try allocate xl "$pages" fill_engines measure_xl "$pages"
        done
    done
    empty_pools
}

file_of_image() { # NAME
    dompool image show "$1" | awk '$1 == "file" { print $2 }'
}

emit_floor() { # WHO PAGES KIND COMMAND...: what a tool prints, a line each time
    local line
    "$tools/$4" "${@:5}" $((rounds * 3)) >"$dir/floor.out" || return
    while read -r line; do emit floor "$1" "$2" "\"$3\": $line"; done <"$dir/floor.out"
}

measure_memcpy() { # PAGES
    emit_floor memcpy "$1" ms floor memcpy "$(file_of_image "$(image_of direct "$1")")"
}

measure_ways() { (cd "$dir" && emit_floor "ways, us a page" "$1" counts ways "$1"); } # PAGES

measure_hypercalls() {
    local lease
    quiet && allocate_only direct 0 bench --paused &&
        emit_floor hypercalls 0 ms floor hypercalls "$(json_field "$lease" domid)" &&
        dompool release bench >/dev/null
}

fill_direct() { fill direct 1 still; }

row_floor() { # PAGES...
    local pages
    note "floor: memcpy and hypercalls"
    for pages in "$@"; do try floor memcpy "$pages" : measure_memcpy "$pages"; done
    try floor ways 4096 : measure_ways 4096
    fill_direct
    try floor hypercalls 0 fill_direct measure_hypercalls
    empty_pools
}

measure_build() { # ENGINE WHO
    local start=$EPOCHREALTIME ms
    fill "$1" 1 still
    dompool pool wait "$guest-$1" --timeout "$patience" || return
    ms=$(ms_since "$start")
    note "$guest, round $round: a slot of $2 in $ms ms"
    emit build "$2" 0 "\"ms\": {\"warm\": $ms}"
    empty_pools
}

row_build() { # SUFFIX: of whose memory is in use
    local engine
    for ((round = 1; round <= rounds; round++)); do
        for engine in "${engines[@]}"; do
            try build "$engine$1" 0 : measure_build "$engine" "$engine$1"
        done
        try build "xl$1" 0 : measure_xl_as build "xl$1" 0
    done
}

# The first allocation of each cycle finds a full pool and a quiet host, the others a pool that refills and domains that are
# being destroyed; that this was so is part of the sample.
measure_busy() { # SLOTS
    local i lease beside
    quiet && allocate_only direct 1024 busy-0 || return
    emit busy idle 1024 "\"lease\": $lease"
    for ((i = 1; i < $1; i++)); do
        dompool release "busy-$((i - 1))" --no-wait >/dev/null || return
        sleep 0.3 # longer than background work stands aside for an allocation
        beside=$(coming_or_going)
        allocate_only direct 1024 "busy-$i" || return
        show_lease 1024 "direct, beside $beside slots that come or go,"
        emit busy "$( ((beside > 0)) && echo busy || echo between)" 1024 "\"beside\": $beside, \"lease\": $lease"
    done
    dompool release "busy-$((i - 1))" >/dev/null
}

fill_busy() { fill direct 4 refilling; }

# One idle allocation a round: a 95th percentile of fewer than 20 is the largest of them.
row_busy() {
    local n=$((rounds * 2))
    [[ $quick == yes ]] || ((n >= 20)) || n=20
    fill_busy
    for ((round = 1; round <= n; round++)); do
        try busy busy 1024 fill_busy measure_busy 4
    done
    empty_pools
}

measure_quick() { # ROW WHO PAGES: an allocation by engine direct, nothing but the time
    local lease
    quiet && allocate_only direct "$3" bench || return
    show_lease "$3" "$2"
    emit "$1" "$2" "$3" "\"lease\": $lease"
    dompool release bench >/dev/null
}

fill_sizes() {
    use_guest pv 128 1 && fill_direct
    use_guest pv 1024 1 && fill_direct
}

measure_superpages() { # ENGINE
    local sign lease
    quiet && allocate_alive "$1" 0 bench && emit_superpages "$1" bench && dompool release bench >/dev/null
}

measure_superpages_xl() {
    local sign
    restore_xl 0 && emit_superpages xl "$guest-xl" && xl destroy "$guest-xl"
}

# Of the guest as it was booted, before it was saved, see make_save; and of what is made of it.
row_superpages() {
    local engine
    round=1
    fill_engines
    for engine in "${engines[@]}"; do
        try superpages "$engine" 0 fill_engines measure_superpages "$engine"
    done
    empty_pools
    try superpages xl 0 : measure_superpages_xl
}

# Small and large in turn.
row_size() {
    local size
    fill_sizes
    for ((round = 1; round <= rounds * 3; round++)); do
        for size in 128 1024; do
            use_guest pv "$size" 1
            try size direct 1024 fill_sizes measure_quick size direct 1024
        done
    done
    empty_pools
}

# N slots of which half have leases, whose domains stay paused: what is looked for is the cost of their being there, not of
# what they do.
fill_scale() { # N
    local i
    fill direct $(($1 / 2)) refilling
    for ((i = 0; i < $1 / 2; i++)); do
        quiet && allocate_only direct 0 "scale-$i" --paused || return
    done
}

measure_scale() { # N ALLOCATIONS
    local i
    fill_scale "$1" || return
    for ((i = 0; i < $2; i++)); do
        measure_quick scale "$1 slots and leases" 1024 || return
    done
    dompool release --all >/dev/null
    empty_pools
}

# Few, many, few: a drift of the machine hits both.
row_scale() {
    local n
    round=0
    for n in 2 20 2; do
        round=$((round + 1))
        try scale "$n slots and leases" 1024 : measure_scale "$n" $((n == 2 ? rounds : 2 * rounds))
    done
}

# From the unpause, as far as the end of the command shows it, until a line comes.
emit_resume() { # SIGN METRIC WHO
    note "$guest, $3, round $round: $2 after $(json_field "$1" exit_ms) to $(json_field "$1" life_ms) ms"
    emit resume "$3" 0 "\"ms\": {\"$2\": $(awk -v life="$(json_field "$1" life_ms)" \
        -v ended="$(json_field "$1" exit_ms)" 'BEGIN { print life - ended }')}"
}

measure_resume() { # WHO METRIC LINE
    local sign
    quiet && sign=$(lifesign bench "$3" dompool allocate "$guest-direct" --name bench --json 2>"$dir/lease.json") || return
    emit_resume "$sign" "$2" "$1"
    dompool release bench >/dev/null
}

measure_resume_xl() { # WHO METRIC LINE
    local sign
    restore_xl 0 "$3" && emit_resume "$sign" "$2" "$1 by xl" && xl destroy "$guest-xl"
}

# What guest and kernel of dom0 ask xenstored for while a guest resumes. Only the daemon in C logs it.
measure_requests() { # ROW WHO COMMAND...: COMMAND runs `xl unpause` and waits for the guest
    local lease domid counts status=0
    quiet && allocate_only direct 0 bench --paused || return
    domid=$(json_field "$lease" domid)
    rm -f "$dir/requests"
    xenstore-control logfile "$dir/requests" >/dev/null && xenstore-control log on >/dev/null || return
    "${@:3}" xl unpause "$domid" >/dev/null || status=$?
    sleep 1
    xenstore-control log off >/dev/null
    ((status == 0)) || return "$status"
    counts=$(requests_count "$dir/requests" "$domid")
    note "$guest, $2: requests $counts"
    emit "$1" "$2" 0 "\"counts\": $counts"
    dompool release bench >/dev/null
}

# A line of the log: IN CONNECTION DATE TIME REQUEST (ARGUMENTS). The guest's paths are relative, or its own; the kernel
# speaks of back ends.
requests_count() { # FILE DOMID
    awk -v own="[(](/local/domain/0/)?backend/v(bd|if)/$2/" '
        $1 == "IN" { n[$2]++; if ($0 ~ /\((device|control|data|memory)[\/ )]/) guest = $2; if ($0 ~ own) kernel[$2]++ }
        END { for (c in kernel) if (kernel[c] > most) { most = kernel[c]; k = c }
              printf "{\"requests of the guest\": %d, \"requests of dom0\": %d}", n[guest], n[k] }' "$1"
}

resume_lines() { # METRIC: the line that ends it
    case $1 in
    'first line') echo 'guest: tick' ;;
    'first disk') echo "guest: read ${disks[0]} " ;;
    'last disk') echo "guest: read ${disks[-1]} " ;;
    esac
}

# One guest with so many disks that reads them all the time.
resume_guest() { # WHO DISKS VCPUS [KERNEL_PARAMETER]
    local disks=("${disks[@]:0:$2}") extra="read_ms=50 ${4-}" metrics=('first line') metric
    make_guest pv 128 "$3" 16 || return
    (($2 == 0)) || metrics+=('first disk')
    (($2 < 2)) || metrics+=('last disk')
    fill_direct
    for ((round = 1; round <= rounds; round++)); do
        for metric in "${metrics[@]}"; do
            try resume "$1" 0 fill_direct measure_resume "$1" "$metric" "$(resume_lines "$metric")"
        done
        try resume "$1 by xl" 0 : measure_resume_xl "$1" "${metrics[-1]}" "$(resume_lines "${metrics[-1]}")"
    done
    try resume "$1" 0 fill_direct measure_requests resume "$1" lifesign bench "$(resume_lines "${metrics[-1]}")"
    empty_pools
    drop_guest
}

group_resume() {
    wanted resume || return 0
    resume_guest "0 disks" 0 1 || true
    resume_guest "1 disk" 1 1 || true
    resume_guest "2 disks" 2 1 || true
    resume_guest "4 disks" 4 1 || true
    resume_guest "4 vCPUs, 1 disk" 1 4 || true
    resume_guest "4 vCPUs, 1 disk, 1 queue" 1 4 xen_blkfront.max_queues=1 || true
}

# shellcheck source=tests/bench/dom0-network.sh
source "$(dirname "$0")/dom0-network.sh"

# ---- the run ----

# The reference guest: everything that is not about its size.
group_reference() {
    local deltas=(256 1024 4096 16384)
    [[ $quick == no ]] || deltas=(1024 4096)
    wanted allocate floor build release busy || return 0
    make_guest pv 400 1 64 "${deltas[@]}" || return
    ! wanted floor || row_floor "${deltas[@]}"
    if wanted allocate; then
        row_allocate 0 "${deltas[@]}"
    elif wanted release; then
        row_allocate 1024
    fi
    ! wanted build || row_build ""
    ! wanted busy || row_busy
    drop_guest
}

# The same guest with most of its memory in use: there is more to write into a slot.
group_full() {
    wanted build && [[ $quick == no ]] || return 0
    make_guest pv 400 1 300 || return
    row_build " full"
    drop_guest
}

allocates_all() { wanted allocate && [[ $quick == no ]]; }

group_sizes() {
    wanted size scale || allocates_all || return 0
    allocates_all || local engines=(direct)
    make_guest pv 128 1 4 1024 || return
    ! wanted scale || row_scale
    if wanted size || allocates_all; then
        two_sizes || note "bench: no guest of 1024 MB"
    fi
    use_guest pv 128 1
    drop_guest
}

two_sizes() {
    local size
    make_guest pv 1024 1 64 1024 || return
    ! wanted size || row_size
    for size in 128 1024; do
        allocates_all || break
        use_guest pv "$size" 1
        row_allocate 1024
    done
    use_guest pv 1024 1
    drop_guest
}

# One guest that differs from the reference.
group_other() { # TYPE MIB VCPUS PATTERN_MIB PAGES...
    local superpages=no pages=()
    [[ "$1 $2 $3" != "pvh 400 1" ]] || ! wanted superpages || superpages=yes
    ! wanted allocate || pages=("${@:5}")
    wanted allocate || [[ $superpages == yes ]] || return 0
    make_guest "$1" "$2" "$3" "$4" "${pages[@]}" || return
    ! wanted allocate || row_allocate 0 "${pages[@]}"
    [[ $superpages == no ]] || row_superpages
    drop_guest
}

others=(
    "pv 400 4 64 1024"
    "pvh 400 1 64 1024 16384"
    "pvh 128 1 4 1024"
    "pvh 1024 1 64 1024"
)

# Under emulation it takes a machine with one processor.
group_smp() {
    wanted smp || { allocates_all && [[ ${BENCH_MACHINE-} == host ]]; } || return 0
    make_guest pvh 400 4 64 1024 || return
    row_allocate 0 1024
    drop_guest
}

group_others() {
    local other
    [[ $quick == no ]] || others=("pvh 400 1 64 1024")
    for other in "${others[@]}"; do
        # shellcheck disable=SC2086 # words
        group_other $other || note "bench: no guest $other"
    done
}

daemon=
guest=none

start_daemon() {
    mkdir -p "$dir/run"
    printf '[pool]\nmin = 0\n' >"$dir/dompool.conf" # a pool is filled when its row comes
    dompoold --config "$dir/dompool.conf" --background 2>"$dir/dompoold.log" {samples}>&- || die "dompoold: $(cat "$dir/dompoold.log")"
    daemon=$(json_field "$(dompool status --json)" pid)
}

clean_up() {
    local status=$?
    if [[ -n $daemon ]] && kill -0 "$daemon" 2>/dev/null; then
        dompool release --all >/dev/null 2>&1 || true
        daemon_end "$daemon" || true
        [[ $status == 0 ]] || tail -n 30 "$dir/dompoold.log" "$dir/run/dompoold.log" >&2 || true
    fi
    xl destroy "$guest" >/dev/null 2>&1 || true
    xl destroy "$guest-xl" >/dev/null 2>&1 || true
    ip link delete "$bridge" >/dev/null 2>&1 || true
    rm -rf "$dir"
}

parse_options "$@"
[[ $check == no ]] || exit 0
mkdir -p "$dir"
trap clean_up EXIT
exec {samples}>&1 >&2
start_daemon
about >&"$samples"
for group in group_reference group_full group_sizes group_resume group_network group_others group_smp; do
    "$group" || note "bench: $group was cut short"
done
note "done"
