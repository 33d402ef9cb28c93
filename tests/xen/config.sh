#!/usr/bin/env bash
# The domain that dompool makes of a saved one has the configuration that xl restore gives it. For each configuration of the
# table below: xl create, xl save, then the same file becomes a domain by dompool, once by each engine, and by xl restore. What
# the hypervisor says of the two (confdump.c), what xl says of them, and their nodes in xenstore must be the same, but for the
# lines of `expected`, each with its reason. The same reasons are in dompoold(8).
#
#   config.sh TYPE [NAME...]       TYPE pv or pvh; without NAMEs all that are for this type
# shellcheck source=tests/xen/lib.sh
source "$(dirname "$0")/lib.sh"
type=$1
shift

# What of a line may differ: a regular expression, then # and why.
expected() {
    cat <<'END'
^/libxl/DOM/dompool  # marks the domain as ours
^/local/domain/DOM/console/backend-id = "0" [(]  # the guest may read it, and not write it
^/vm/UUID/name  # of the slot, as xl rename leaves it too
^list-l .*"domid": 4294967295  # xl restore notes "none yet", and libxl leaves out what is not noted
^/libxl/DOM/dm-version  # there is no device model
/vbd/DOM/[0-9]+/(params|script|physical-device|physical-device-path|node|hotplug-status)  # block devices of our own, no script
^/libxl/DOM/device/vbd/[0-9]+/(params|script|physical-device|physical-device-path|node|hotplug-status)  # the same, libxl's mirror
/vbd/(DOM/)?[0-9]+/(feature-discard|discard-[a-z]+|physical-sector-size)  # what those can do
^list-l .*"(pdev_path|backend)"  # and where they are
/vbd/(DOM/)?[0-9]+/discard-enable  # 0 where the device takes no discards, which spares blkback a write
END
}

# NAME TYPES LINES: TYPES are those for which it is; LINES go into xl's configuration, a ; between them. The names "cdrom",
# "disks" and "many" add disks.
configurations() {
    cat <<'END'
plain       pv,pvh  vcpus=1
hard        pv,pvh  cpus="1"
hard-each   pv      vcpus=2;cpus=["0","1"]
soft        pv,pvh  cpus_soft="1"
both        pv      vcpus=2;cpus="0-1";cpus_soft="0"
share       pv,pvh  cpu_weight=512;cap=50
pool        pv,pvh  pool="lab";cpu_weight=300
tsc-native  pv,pvh  tsc_mode="native"
tsc-emulate pv,pvh  tsc_mode="always_emulate"
ahead       pv,pvh  rtc_timeoffset=7200
behind      pv,pvh  rtc_timeoffset="-7200"
localtime   pv,pvh  localtime=1;rtc_timeoffset=60
balloon     pv,pvh  maxmem=192
vcpus       pv      vcpus=1;maxvcpus=3
grants      pv,pvh  max_grant_frames=40;max_maptrack_frames=300;max_grant_version=1;event_channels=127
cpuid       pv,pvh  cpuid="host,sse3=0"
cdrom       pv,pvh  vcpus=1
disks       pv,pvh  vcpus=1
many        pv      vcpus=1
timer       pvh     timer_mode="one_missed_tick_pending"
relaxed     pv,pvh  msr_relaxed=1
all         pv,pvh  cpus="1";cpu_weight=512;cap=50;rtc_timeoffset="-7200";maxmem=192;max_grant_frames=40;pool="lab"
END
}

guest=the-saved-one mib=128 volume=dptest-volume
import_options=()

write_config() { # NAME LINES
    local line disc=/var/lib/dompool-test/disc.iso
    guest_config "$guest" "$type" "$mib" 1 1 "pattern_mib=4 check_ms=60000 tick_ms=1000"
    for line in ${2//;/ }; do
        sed -i "/^${line%%=*} = /d" "/etc/xen/$guest.cfg"
        echo "$line" >>"/etc/xen/$guest.cfg"
    done
    case $1 in
    cdrom | all)
        truncate -s 1M "$disc"
        add_disk "vdev=xvdc, access=ro, devtype=cdrom, target=$disc"
        ;;
    disks) add_each_kind_of_disk ;;
    many) add_disks_until 16 ;;
    esac
}

add_disk() { # TEXT
    sed -i "s|^disk = \[|&\n    \"format=raw, $1\",|" "/etc/xen/$guest.cfg"
}

# Sectors of 4096 bytes; a linear volume of the device mapper, as LVM makes them. Both are block devices that an import must name.
make_devices() {
    truncate -s 16M /var/lib/dompool-test/large-sectors.img /var/lib/dompool-test/volume.img
    large_sectors=$(losetup --find --show --sector-size 4096 /var/lib/dompool-test/large-sectors.img) || fail "losetup"
    volume_under=$(losetup --find --show /var/lib/dompool-test/volume.img) || fail "losetup"
    echo "0 32768 linear $volume_under 0" | DM_DISABLE_UDEV=1 dmsetup create "$volume" || fail "dmsetup create"
}

drop_devices() {
    DM_DISABLE_UDEV=1 dmsetup remove "$volume" && losetup -d "$volume_under" "$large_sectors" || fail "devices of the test remain"
}

# xl's own script takes no name beyond ASCII: xenstore-read prints an escape for such a letter.
add_each_kind_of_disk() {
    local odd="/var/lib/dompool-test/a disk, indeed.img"
    truncate -s 16M "$odd"
    add_disk "vdev=xvdf1, access=rw, target=$odd"
    truncate -s 16M "${odd%.img}.ro.img"
    add_disk "vdev=xvdf2, access=ro, target=${odd%.img}.ro.img"
    add_disk "vdev=xvdc, access=rw, no-discard, target=$large_sectors"
    add_disk "vdev=xvdd, access=rw, direct-io-safe, target=/dev/mapper/$volume"
    import_options=(--disk "xvdc=cow:$large_sectors" --disk "xvdd=cow:/dev/mapper/$volume")
}

add_disks_until() { # NUMBER
    local letters=abcdefghijklmnopqrstuvwxyz i disk
    for ((i = 1; i < $1; i++)); do
        disk=/var/lib/dompool-test/$guest-xvd${letters:i:1}.img
        truncate -s 16M "$disk"
        add_disk "vdev=xvd${letters:i:1}, access=rw, target=$disk"
    done
}

make_pool() {
    xl cpupool-cpu-remove Pool-0 1 && xl cpupool-create 'name="lab"' 'sched="credit"' 'cpus=["1"]' >/dev/null || fail "cpupool"
}

drop_pool() {
    xl cpupool-destroy lab && xl cpupool-cpu-add Pool-0 1 || fail "cpupool: destroy"
}

save_guest() { # NAME LINES
    local domid
    write_config "$1" "$2"
    xl create -q "/etc/xen/$guest.cfg" >/var/tmp/xl.log 2>&1 || fail "$1: xl create: $(head -n 8 /var/tmp/xl.log)"
    domid=$(xl domid "$guest")
    guest_wait "$domid" '^guest: tick ' 120 >/dev/null || fail "$1: the guest does not come up"
    xl save "$guest" /var/tmp/g.save >/var/tmp/xl.log 2>&1 || fail "$1: xl save: $(tail -n 3 /var/tmp/xl.log)"
}

# ---- what a domain is ----

# Its number, name, UUID, ports and frames are its own.
normalised() { # DOMID NAME UUID
    sed -E \
        -e "s#(/local/domain|/libxl)/$1(/|\$| )#\1/DOM\2#g" -e "s#(/backend/[a-z]+)/$1(/|\$| |\")#\1/DOM\2#g" \
        -e "s#(/local/domain|/libxl)/$1\"#\1/DOM\"#g" -e "s#\b$2\b#NAME#g" -e "s#$3#UUID#g" \
        -e "s#([nrwb])$1\b#\1DOM#g" -e "s#(/domid|/frontend-id) = \"$1\"#\1 = \"DOM\"#" \
        -e 's#(/(store|console)/(port|ring-ref)|/(event-channel|ring-ref|port|start_time|tty)) = "[^"]*"#\1 = "OWN"#' \
        -e "s#\"domid\": $1\b#\"domid\": DOM#"
}

nodes_of() { # DOMID UUID
    local kind
    {
        xenstore-ls -fp "/local/domain/$1"
        xenstore-ls -fp "/libxl/$1"
        xenstore-ls -fp "/vm/$2"
        for kind in $(xenstore-list /local/domain/0/backend); do
            xenstore-ls -fp "/local/domain/0/backend/$kind/$1" 2>/dev/null || true
        done
    } | sed -E 's/[ .]*\(([nrwb0-9,]+)\)$/ (\1)/'
}

what_xl_says() { # DOMID NAME
    xl vcpu-list "$1" | awk 'NR > 1 { $1 = $2 = $4 = $5 = $6 = ""; print "vcpu-list", $0 }' | tr -s ' '
    { xl sched-credit2 -d "$2" || xl sched-credit -d "$2"; } 2>/dev/null | awk '$1 == name { print "sched", $3, $4 }' name="$2"
    xl list -l "$1" | sed 's/^/list-l /'
}

describe() { # DOMID FILE: of a domain that has run for a moment
    local name uuid
    name=$(xl domname "$1")
    uuid=$(xenstore-read "/local/domain/$1/vm")
    uuid=${uuid#/vm/}
    {
        /root/confdump "$1" || echo "confdump failed"
        what_xl_says "$1" "$name"
        nodes_of "$1" "$uuid"
    } | normalised "$1" "$name" "$uuid" | sort >"$2"
    progress
}

# Front ends connect, a PVH guest maps its shared_info, and then nothing moves.
run_and_pause() { # DOMID
    xl unpause "$1"
    guest_mark "$1"
    guest_wait "$1" '^guest: tick ' 60 >/dev/null || fail "domain $1 does not run"
    wait_until 180 "domain $1: its disks are connected" disks_are_connected "$1"
    xl pause "$1"
}

# Linux takes no CD-ROM in a PVH guest (xen-blkfront.c: blkfront_probe).
disks_are_connected() {
    local disk disks
    disks=$(xenstore-list "/local/domain/$1/device/vbd") && [[ -n $disks ]] || return
    for disk in $disks; do
        [[ $type != pvh || $(xenstore-read "/local/domain/$1/device/vbd/$disk/device-type") != cdrom ]] || continue
        [[ $(xenstore-read "/local/domain/$1/device/vbd/$disk/state") == 4 ]] || return
    done
}

# ---- both ways ----

by_dompool() { # NAME ENGINE: its description in /var/tmp/ENGINE
    local domid
    dompool pool set saved engine="$2" min=1 >/dev/null || fail "$1: pool set"
    dompool pool wait saved --timeout 120s >/dev/null || fail "$1: the pool does not fill"
    dompool allocate saved --name ours --wait 60s --paused >/dev/null || fail "$1: allocate"
    dompool pool set saved min=0 >/dev/null
    expect_engine ours "$2"
    domid=$(xl domid ours)
    run_and_pause "$domid"
    describe "$domid" "/var/tmp/$2"
    dompool release ours >/dev/null || fail "$1: release"
    wait_until 60 "no slot is left" no_slots
}

by_xl() { # NAME: /var/tmp/xl
    local domid
    xl restore -p /var/tmp/g.save >/var/tmp/xl.log 2>&1 || fail "$1: xl restore: $(tail -n 3 /var/tmp/xl.log)"
    domid=$(xl domid "$guest")
    run_and_pause "$domid"
    describe "$domid" /var/tmp/xl
    xl destroy "$guest"
}

compare() { # NAME ENGINE
    local differences
    expected | sed 's/  # .*//' >/var/tmp/expected
    differences=$(diff /var/tmp/xl "/var/tmp/$2" | sed -n 's/^\([<>]\) /\1/p' |
        while IFS= read -r line; do
            grep -Eq -f /var/tmp/expected <<<"${line:1}" || printf '    %s\n' "$line"
        done) || true # diff says with its status that there are some
    [[ -n $differences ]] || return 0
    note "$1, engine $2: not what xl restore makes (< xl, > dompool):
$differences"
    different+=("$1 by engine $2")
}

# After the first domain of xl's: what all of them share in xenstore is there.
mark_once() {
    [[ -z ${resources_before-} ]] || return 0
    resources_mark
    xen_log_clean
    daemon_start
}

check_configuration() { # NAME LINES
    note "== $type, $1: $2"
    [[ $2 != *pool=* ]] || make_pool
    [[ $1 != disks ]] || make_devices
    import_options=()
    save_guest "$1" "$2"
    mark_once
    dompool image import saved /var/tmp/g.save "${import_options[@]}" >/dev/null || fail "$1: import"
    by_dompool "$1" direct
    by_dompool "$1" guest
    dompool image rm saved >/dev/null || fail "$1: image rm"
    by_xl "$1"
    compare "$1" direct
    compare "$1" guest
    [[ $2 != *pool=* ]] || drop_pool
    [[ $1 != disks ]] || drop_devices
}

is_asked_for() { # NAME NAMES...
    local name=$1
    shift
    (($# == 0)) || [[ " $* " == *" $name "* ]]
}

export TZ=XYZ-1:30 # what localtime adds
different=()
while read -r name types lines; do
    [[ ,$types, == *",$type,"* ]] && is_asked_for "$name" "$@" || continue
    check_configuration "$name" "$lines"
done < <(configurations)
daemon_stop
expect_nothing_left
xen_log_clean
((${#different[@]} == 0)) || fail "other domains than xl's: ${different[*]}"
echo "config $type: all is well"
