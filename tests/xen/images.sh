#!/usr/bin/env bash
# One warm pool serves many images, on real Xen: a base and three images derived from it (idle; a working set; a tree of
# processes that churns page tables), a pool of base slots alone, allocates interleaved over all four; each guest proves by its
# own checks that it is the image asked for and nothing else. Exported images are save files; the memory of an allocated
# domain is compared page by page with what xl makes of the exported file. A new version of the base turns warm slots in place.
#
#   images.sh TYPE VCPUS ALLOCATIONS EXPORTED...      (which images are exported and compared)
# shellcheck source=tests/xen/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/xen/compare-memory.sh
source "$(dirname "$0")/compare-memory.sh"
type=$1 vcpus=$2 allocations=$3
shift 3
exported=("$@")
disks=2
set_mib=20 processes=6

# What each image's checks must say, as a bash pattern.
declare -A proof=(
    [base]="*work=ok:0 tree=ok:0 tag=-*"
    [idle]="*work=ok:0 tree=ok:0 tag=idle*"
    [set]="*work=ok:$set_mib tree=ok:0 tag=set*"
    [tree]="*work=ok:0 tree=ok:$processes tag=tree*"
)

allocate() { # IMAGE NAME OPTION...: sets domid
    local image=$1 name=$2
    shift 2
    dompool allocate "$image" --name "$name" --wait 120s --json "$@" >"/var/tmp/lease-$name.json" || fail "allocate $image"
    domid=$(json "$(cat "/var/tmp/lease-$name.json")" '$.domid')
}

release() {
    dompool release "$1" >/dev/null || fail "release $1"
}

# A check made after this call, of the guest in domain domid, is right in everything and says what the image's must.
expect_image() { # IMAGE
    local line
    line=$(guest_check "$domid" 90) || fail "domain $domid ($1): $line"
    # shellcheck disable=SC2053 # a pattern
    [[ $line == ${proof[$1]} && $line == *"pattern=ok pages=4096 "* && $line == *"cpus=ok:$vcpus "* ]] ||
        fail "domain $domid is not $1: $line"
    expect_equal "boot id of $1" "$boot_id" "${line##*id=}"
}

command_guest() { # LINE ANSWER
    guest_send "$domid" "$1"
    guest_wait "$domid" "^guest: $2" 60 >/dev/null || fail "domain $domid does not answer '$1'"
}

disk_options=()
for letter in a b; do
    disk_options+=(--disk "xvd$letter=cow:/var/lib/dompool-test/g-xvd$letter.img")
done

make_base() {
    make_save "$type" 160 "$vcpus" "$disks"
    xen_log_clean
    daemon_start
    dompool image import base /var/tmp/g.save >/dev/null || fail "import of the base"
    dompool pool set base min=1 >/dev/null
}

derive_all() {
    local answer
    allocate base one
    expect_image base
    command_guest "name idle" "name idle"
    command_guest free free
    ! answer=$(dompool image capture idle one --base base 2>&1) || fail "a written disk goes unnoticed"
    [[ $answer == *"was written"* ]] || fail "capture of a domain with a written disk: $answer"
    dompool image capture idle one --base base "${disk_options[@]}" || fail "capture of idle"
    expect_image idle # it goes on
    (($(json "$(dompool image show idle --json)" '$.image.free_pages') > 1000)) || fail "free pages are not left out"
    release one

    allocate base two
    command_guest "name set" "name set"
    command_guest "work set $set_mib" "work set"
    dompool image capture set two --base base --stop "${disk_options[@]}" || fail "capture of set"
    wait_until 40 "the lease of a domain that was captured and stopped closes" lease_gone two

    allocate base three # and this one by way of a save file
    command_guest "name tree" "name tree"
    command_guest "work tree $processes" "work tree"
    xl save three /var/tmp/tree.save >/var/tmp/xl.log 2>&1 || fail "xl save of three"
    dompool release three >/dev/null || fail "release of a saved lease"
    dompool image import tree /var/tmp/tree.save --base base "${disk_options[@]}" || fail "import of tree"
    rm -f /var/tmp/tree.save
    xen_log_clean
}

show_deltas() {
    local image counts
    for image in idle set tree; do
        dompool image verify "$image" >/dev/null || fail "verify $image"
        counts=$(dompool image diff base "$image" --json) || fail "diff base $image"
        note "delta of $image: $(tr -d '\n' <<<"$counts")"
        expect_equal "pages of $image's delta" "$(json "$counts" '$.difference.pages')" \
            "$(json "$(dompool image show "$image" --json)" '$.image.delta_pages')"
        (($(json "$counts" '$.difference.to_zero') > 0)) || fail "no page of $image has become zero: the test proves less than it says"
        note "files: $image $(json "$(dompool image show "$image" --json)" '$.image.file_bytes')," \
            "base $(json "$(dompool image show base --json)" '$.image.file_bytes') bytes"
    done
    (($(json "$(dompool image diff base set --json)" '$.difference.pages') >= set_mib * 256)) ||
        fail "the delta of set does not hold its working set"
}

no_delta() { # WHY OPTION...: the other guest is refused, and goes on
    local answer why=$1
    shift
    ! answer=$(dompool image capture other other --base base "$@" 2>&1) || fail "another guest becomes a delta"
    [[ $answer == *ImageRefused*"no delta over this base: $why"* ]] || fail "capture of another guest: $answer"
    note "refused: $answer"
}

other_ticks() {
    local domid
    domid=$(xl domid other)
    guest_mark "$domid"
    guest_wait "$domid" '^guest: tick ' 30 >/dev/null || fail "the other guest stands still after a refusal"
}

other_gone() { ! xl domid other 2>/dev/null; }

# Another guest's state is no delta over this base; but an image of its own, with which the guest ends.
check_refusals() {
    local answer domid
    guest_create other "$type" 192 "$vcpus" 2 "pattern_mib=4" >/dev/null
    domid=$(xl domid other)
    guest_wait "$domid" '^guest: tick ' 90 >/dev/null || fail "the other guest does not come up"
    no_delta "max_memkb is 196608, the base's is 163840"
    other_ticks
    dompool image capture other other --stop || fail "capture of a domain that is no lease"
    wait_until 30 "a domain that was captured and stopped is gone" other_gone
    expect_equal "nodes of a domain that was stopped" "" "$(xenstore-ls -f /local/domain 2>/dev/null | grep "/vbd/$domid/" || true)"
    dompool image rm other || fail "image rm other"
    ! answer=$(dompool image rm base 2>&1) || fail "a base goes before what is derived from it"
    [[ $answer == *ImageInUse*idle*set*tree* ]] || fail "image rm base: $answer"
    expect_equal "image files" 4 "$(find "$STATE/images" -name '*.img*' | wc -l)"
}

allocate_interleaved() {
    local i image order=(tree base set idle)
    dompool pool set base min=2 >/dev/null
    for ((i = 0; i < allocations; i++)); do
        image=${order[i % 4]}
        allocate "$image" "turn-$i"
        expect_equal "pages written for $image" \
            "$(json "$(dompool image show "$image" --json)" '$.image.delta_pages')" \
            "$(json "$(cat "/var/tmp/lease-turn-$i.json")" '$.delta_pages')"
        expect_image "$image"
        expect_engine "turn-$i"
        release "turn-$i"
    done
    xen_log_clean
    note "$allocations allocations over 4 images, none wrong"
}

# A disk that changes under an image: no slot is built until it is put back.
check_changed_disk() {
    local answer disk=/var/lib/dompool-test/g-xvdb.img
    touch -r "$disk" /var/tmp/stamp
    touch "$disk"
    dompool pool set base min=3 >/dev/null
    ! answer=$(dompool pool wait base --timeout 60s 2>&1) || fail "slots are built over a changed disk"
    [[ $answer == *"disk xvdb: $disk has another time of change"* ]] || fail "pool wait over a changed disk: $answer"
    note "refused: $answer"
    touch -r /var/tmp/stamp "$disk"
    wait_until 120 "slots are built after the disk was put back" pool_fills # after the next try, the wait is refused till then
}

pool_fills() { dompool pool wait base --timeout 5s >/dev/null 2>&1; }

# An image whose file cannot be opened costs the base no slot: nothing of theirs was changed.
check_unreadable() {
    local file answer before
    dompool pool wait base --timeout 120s >/dev/null || fail "pool wait"
    before=$(slots)
    file=$(json "$(dompool image show idle --json)" '$.image.file')
    mv "$file" /var/tmp/idle.img
    ! answer=$(dompool allocate idle --name unread --wait 60s 2>&1) || fail "an image is allocated that is not there"
    note "refused: $answer"
    [[ $answer == *AllocateFailed*"$file"* ]] || fail "allocate of an image that is not there: $answer"
    expect_equal "slots after that" "$before" "$(slots)"
    mv /var/tmp/idle.img "$file"
    allocate idle again
    expect_image idle
    release again
}

spoiled_gone() { ! xl domid spoiled 2>/dev/null; }

pool_fills() { dompool pool wait base --timeout 30s >/dev/null 2>&1; }

# Xen refuses the vCPUs, as it does those of another processor: found while slots are built, and no domain is left of it.
check_other_processor() {
    local file answer
    dompool pool set base min=0 >/dev/null
    wait_until 60 "no slot of the base is left" no_slots
    file=$(json "$(dompool image show base --json)" '$.image.file')
    cp "$file" /var/tmp/base.img
    /root/spoil --vcpu "$file" || fail "spoil --vcpu"
    ! answer=$(dompool allocate base --name alien --wait 120s 2>&1) || fail "a guest runs whose vCPU no processor has"
    note "refused: $answer"
    [[ $answer == *ImageBroken*"does not take the image's vCPUs on this host"* ]] || fail "allocate of such an image: $answer"
    expect_equal "domains that are left" 1 "$(($(xl list | wc -l) - 1))"
    cat /var/tmp/base.img >"$file"
    rm /var/tmp/base.img
    dompool image verify base >/dev/null || fail "base is not what it was"
    dompool pool set base min=1 >/dev/null
    wait_until 60 "the pool fills again" pool_fills # after a pause
    ! grep -a 'features that this host lacks' /run/dompool/dompoold.log || fail "it lacks what it has told its own guest"
    xen_log_lines=$(xl dmesg | wc -l) # it may say what it refused
}

# Xen refuses a page table: the request fails, after another slot has failed as well, and no guest starts.
check_refused_by_xen() {
    local file answer pfn
    [[ $type == pv ]] || return 0
    file=$(json "$(dompool image show tree --json)" '$.image.file')
    cp "$file" /var/tmp/tree.img
    pfn=$(/root/spoil "$file") || fail "spoil"
    ! answer=$(dompool allocate tree --name spoiled --wait 120s 2>&1) || fail "a guest runs whose page table maps itself"
    [[ $answer == *ImageBroken*"2 slots in a row failed to become it"* ]] || fail "allocate of a spoiled image: $answer"
    note "refused, table at pfn $pfn: $answer"
    ! grep -a tick /var/log/xen/console/guest-spoiled.log 2>/dev/null || fail "a guest with such a page table has run"
    wait_until 30 "the domains of a failed allocation are gone" spoiled_gone
    cat /var/tmp/tree.img >"$file"
    rm /var/tmp/tree.img
    dompool image verify tree >/dev/null || fail "tree is not what it was"
    sleep 3 # the pause after two failures
    allocate tree again
    expect_image tree
    release again
    xl dmesg | tail -n 5
    xen_log_lines=$(xl dmesg | wc -l) # it may say what it refused
}

nodes_of() { # DOMID
    node_paths | grep -E "/(domain|libxl|backend/[a-z]+)/$1(/|\$)|^/vm/$(xenstore-read "/local/domain/$1/vm" | cut -d/ -f3)(/|\$)" | sort
}

# An allocation writes to nodes of the warm slot, and makes none.
allocate_untouched() { # IMAGE NAME
    local created
    node_paths | sort >/var/tmp/nodes-warm
    allocate "$1" "$2" --paused
    expect_equal "where $2 comes from" warm "$(json "$(cat "/var/tmp/lease-$2.json")" '$.from')"
    nodes_of "$domid" >/var/tmp/nodes-leased
    (($(wc -l </var/tmp/nodes-leased) > 100)) || fail "domain $domid has few nodes: $(cat /var/tmp/nodes-leased)"
    created=$(comm -13 /var/tmp/nodes-warm /var/tmp/nodes-leased)
    [[ -z $created ]] || fail "the allocation made nodes: $created"
}

# What xl restores from the exported file is what dompool makes of the image, and runs. It writes to the disks themselves, so
# they are put back.
check_export() { # IMAGE
    local ours report disk
    dompool image export "$1" /var/tmp/exported.save >/dev/null || fail "export $1"
    dompool pool set base min=1 >/dev/null
    dompool pool wait base --timeout 120s >/dev/null || fail "the pool does not fill"
    allocate_untouched "$1" "paused-$1"
    ours=$domid
    dompool pool set base min=0 >/dev/null
    xl restore -p /var/tmp/exported.save >/var/tmp/xl.log 2>&1 || fail "xl restore of $1: $(tail -n 3 /var/tmp/xl.log)"
    domid=$(other_domain "$ours")
    report=$(compare_memory "$domid" "$ours") || fail "$1 differs from what xl restores: $report"
    note "$1: $report"
    release "paused-$1"
    for disk in a b; do cp -p "/var/lib/dompool-test/g-xvd$disk.img" "/var/tmp/kept-$disk"; done
    wait_until 60 "no slot of the base is left" no_slots # they read these disks, too
    xl unpause "$domid"
    expect_image "$1"
    xl destroy "$domid"
    for disk in a b; do cp -p "/var/tmp/kept-$disk" "/var/lib/dompool-test/g-xvd$disk.img"; done
    mv /var/tmp/exported.save /var/tmp/exported-derived.save # the last one is judged by with-verify-stream, and the base
}

check_exports() {
    local image
    dompool image export base /var/tmp/exported-base.save >/dev/null || fail "export base"
    for image in "${exported[@]}"; do
        check_export "$image"
    done
    dompool pool set base min=1 >/dev/null
}

# Files of images that each slot's helper has mapped, and how much of them, in KiB.
helpers_mapped() {
    local pid
    for pid in $(pgrep -x dompool-slot); do
        awk -v "dir=$STATE/images/" '/^[0-9a-f]+-/ { file = index($6, dir) == 1 ? $6 : "" }
                                     file && $1 == "Rss:" { kib[file] += $2 }
                                     END { for (f in kib) print f, kib[f] }' "/proc/$pid/smaps"
    done
}

# Each helper has, besides the base's, the files of so many images, with all their pages.
all_mapped() { # IMAGES
    local file kib n=0 slots
    slots=$(pgrep -xc dompool-slot)
    while read -r file kib; do
        ((kib * 1024 * 100 >= $(stat -c %s "$file" 2>/dev/null || echo 0) * 95)) && n=$((n + 1))
    done < <(helpers_mapped)
    ((slots > 0 && n == slots * $1 && $(helpers_mapped | wc -l) == slots * ($1 + 1)))
}

# Warm slots have what they may become at hand.
check_ahead() {
    dompool pool wait base --timeout 120s >/dev/null || fail "the pool does not fill"
    wait_until 60 "warm slots map the images derived from their base" all_mapped "$(($(dompool image list | wc -l) - 2))"
    dompool pool set base expect_max=0 >/dev/null
    wait_until 60 "they let go of them" all_mapped 0
    dompool pool set base expect_max=256M >/dev/null
    wait_until 60 "they map them again" all_mapped "$(($(dompool image list | wc -l) - 2))"
}

# A new version of the base: leases go on, the warm slot is turned in place, the old file goes.
check_replace() {
    local warm lease
    ! dompool image import base /var/tmp/g.save --replace 2>/dev/null || fail "a base is replaced under its derived images"
    allocate base old
    lease=$domid
    allocate base newer
    expect_image base # awake: Linux may pass over a request to suspend while it is still waking up
    command_guest "name idle" "name idle"
    dompool image rm idle set tree >/dev/null || fail "image rm"
    dompool pool wait base --timeout 120s || fail "the pool does not fill"
    wait_until 60 "warm slots let go of images that are no more" all_mapped 0
    warm=$(xl list | awk '$1 ~ /^dp-/ { print $2 }')
    dompool image capture base newer --replace --stop "${disk_options[@]}" || fail "capture --replace"
    dompool pool wait base --timeout 120s || fail "the pool does not hold the new version"
    allocate base new
    expect_equal "domain of the turned slot" "$warm" "$domid"
    expect_image idle
    domid=$lease
    expect_image base
    wait_until 20 "the old version's file goes" one_image_file
    release new
    release old
}

one_image_file() { [[ $(find "$STATE/images" -name '*.img*' | wc -l) == 1 ]]; }

note "== $type, $vcpus vCPUs"
make_base
derive_all
show_deltas
check_refusals
check_ahead
resources_mark
allocate_interleaved
check_changed_disk
check_unreadable
check_other_processor
check_refused_by_xen
check_exports
check_replace
xen_log_clean
dompool release --all >/dev/null || fail "release --all"
dompool image rm base || fail "image rm"
daemon_stop
rm -rf "$STATE" /var/tmp/g.save
echo "images $type: all is well"
