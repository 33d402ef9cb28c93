#!/usr/bin/env bash
# The domain that an engine makes is the one that xl makes: memory, page tables, vCPUs, shared_info and grants of an allocated
# domain, of a base and of an image derived from it, are compared with what xl restores from the exported file (domdump.c).
# The base runs and is right by its own checks while the image is captured from it; the image's domain goes on from the
# comparison, and xl saves and restores it.
#
#   oracle.sh TYPE ENGINE VCPUS...
# shellcheck source=tests/xen/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/xen/compare-memory.sh
source "$(dirname "$0")/compare-memory.sh"
type=$1 engine=$2
shift 2
set_mib=8

make_images() { # VCPUS: base, and set derived from it, with a working set and a tree of processes behind it
    local domid
    make_save "$type" 160 "$1" 1
    resources_mark
    xen_log_clean
    daemon_start
    dompool image import base /var/tmp/g.save >/dev/null || fail "import"
    dompool pool set base engine="$engine" min=1 >/dev/null || fail "pool set"
    dompool pool wait base --timeout 180s >/dev/null || fail "the pool does not fill"
    dompool allocate base --name origin --wait 60s >/dev/null || fail "allocate"
    domid=$(xl domid origin)
    expect_healthy "$domid" "$1" 1
    command_guest "$domid" "name set" "name set"
    command_guest "$domid" "work set $set_mib" "work set"
    command_guest "$domid" "work tree 4" "work tree"
    dompool image capture set origin --base base --stop --disk xvda=cow:/var/lib/dompool-test/g-xvda.img ||
        fail "capture"
    xen_log_clean
}

command_guest() { # DOMID LINE ANSWER
    guest_send "$1" "$2"
    guest_wait "$1" "^guest: $3" 60 >/dev/null || fail "domain $1 does not answer '$2'"
}

allocate_paused() { # IMAGE: sets ours and prints how long what took
    local lease
    dompool pool wait base --timeout 120s >/dev/null || fail "the pool does not fill"
    lease=$(dompool allocate "$1" --name "ours-$1" --wait 60s --paused --json) || fail "allocate $1"
    ours=$(xl domid "ours-$1")
    note "$1: $(tr -d ' \n' <<<"$lease")"
}

compare_with_xl() { # IMAGE
    local theirs report
    dompool image export "$1" /var/tmp/x.save >/dev/null || fail "export $1"
    xl restore -p /var/tmp/x.save >/var/tmp/xl.log 2>&1 || fail "xl restore: $(tail -n 3 /var/tmp/xl.log)"
    theirs=$(other_domain "$ours")
    report=$(compare_memory "$theirs" "$ours") || fail "$1: what engine $engine makes is not what xl makes: $report"
    note "$1: $report"
    xl destroy "$theirs"
    rm -f /var/tmp/x.save
}

expect_alive() { # DOMID
    local line
    line=$(guest_check "$1" 90) || fail "domain $1: $line"
    [[ $line == *"work=ok:$set_mib tree=ok:4 tag=set"* ]] || fail "domain $1 is not set: $line"
}

# It goes on as any domain does, in another domain of xl's as well.
live_on() {
    local domid
    dompool pool set base min=0 >/dev/null
    xl unpause "$ours"
    expect_alive "$ours"
    xl save ours-set /var/tmp/y.save >/var/tmp/xl.log 2>&1 || fail "xl save: $(tail -n 3 /var/tmp/xl.log)"
    xl restore /var/tmp/y.save >/var/tmp/xl.log 2>&1 || fail "xl restore: $(tail -n 3 /var/tmp/xl.log)"
    domid=$(xl domid ours-set)
    expect_alive "$domid"
    xl destroy "$domid"
    rm -f /var/tmp/y.save
    dompool release ours-set >/dev/null 2>&1 || true
    xen_log_clean
}

# Where engine direct has nothing to copy with, "auto" takes the other one, and says why.
check_fallback() { # VCPUS
    dompool pool set base engine=auto min=0 >/dev/null
    wait_until 60 "no slot of engine direct is left" no_slots
    mv /dev/xen/gntdev /dev/xen/gntdev-away
    dompool pool set base min=1 >/dev/null
    dompool pool wait base --timeout 180s >/dev/null || fail "no slot without gntdev"
    mv /dev/xen/gntdev-away /dev/xen/gntdev
    dompool allocate base --name fallen --wait 60s >/dev/null || fail "allocate without gntdev"
    dompool pool set base min=0 >/dev/null
    expect_engine fallen guest
    grep -F "engine direct is not used: engine direct needs /dev/xen/gntdev" "$DOMPOOL_RUN_DIR/dompoold.log" || fail "the log does not say why"
    expect_healthy "$(xl domid fallen)" "$1" 1
    dompool release fallen >/dev/null || fail "release"
}

for vcpus in "$@"; do
    note "== $type, engine $engine, $vcpus vCPUs"
    make_images "$vcpus"
    for image in base set; do
        allocate_paused "$image"
        expect_engine "ours-$image" "$engine"
        compare_with_xl "$image"
        [[ $image == set ]] || dompool release "ours-$image" >/dev/null || fail "release"
    done
    live_on
    [[ $engine != direct || $vcpus != 1 ]] || check_fallback "$vcpus"
    dompool release --all >/dev/null || fail "release --all"
    dompool image rm set base >/dev/null || fail "image rm"
    daemon_stop
    expect_nothing_left
    rm -rf "$STATE" /var/tmp/g.save
done
echo "oracle $type $engine: all is well"
