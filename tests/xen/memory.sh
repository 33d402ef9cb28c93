#!/usr/bin/env bash
# An allocated domain is what Xen's own tools make of the same save file: one guest is restored by xl and one allocated by
# dompool, both paused, and everything in them is compared (domdump.c). And the comparison can fail: a changed bit of a page,
# of a page table and of a register is found.
#
#   memory.sh TYPE VCPUS...
# shellcheck source=tests/xen/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/xen/compare-memory.sh
source "$(dirname "$0")/compare-memory.sh"
type=$1
shift
DOMDUMP=${DOMDUMP:-/root/domdump}

allocate_paused() {
    dompool image import g /var/tmp/g.save >/dev/null || fail "import"
    dompool pool set g min=1 >/dev/null
    dompool pool wait g --timeout 180s >/dev/null || fail "the pool does not fill"
    dompool allocate g --name ours --wait 60s --paused --json >/var/tmp/lease.json || fail "allocate"
    dompool pool set g min=0 >/dev/null
}

restore_paused() {
    xl restore -p /var/tmp/g.save >/var/tmp/xl.log 2>&1 || fail "xl restore: $(tail -n 3 /var/tmp/xl.log)"
}

# A page of that class and type: the fiftieth, or the last.
page_of() { # DOMID CLASS TYPE
    "$DOMDUMP" "$1" >/var/tmp/page-of
    awk -v class="$2" -v type="$3" '$4 == class && $2 ~ type && ++n <= 50 { key = $1 } END { print key }' /var/tmp/page-of
}

expect_found() { # WHAT CLASS KEY
    local report
    report=$(compare_memory "$theirs" "$ours") && fail "$1: not found"
    [[ $report == *"different: $2 1"* && $(grep -c '^different: ' <<<"$report") == 1 && $report == *" $2 $3 "* ]] ||
        fail "$1: the report is: $report"
    note "found: $1: $(head -n 1 <<<"$report")"
}

# Each bit is flipped again, so that the next difference is alone.
poke() { # WHAT CLASS KEY OPTION ARGUMENT
    "$DOMDUMP" "$4" "$ours" "$5" || fail "poke: $1"
    expect_found "$1" "$2" "$3"
    "$DOMDUMP" "$4" "$ours" "$5" || fail "poke back: $1"
}

check_differences_are_found() {
    local pfn
    pfn=$(page_of "$ours" ram '^notab$')
    poke "a bit of a page" ram "$pfn" --poke "$pfn"
    if [[ $type == pv ]]; then
        pfn=$("$DOMDUMP" --poke-entry "$ours" 1000)
        expect_found "a bit of a page-table entry" table "$pfn"
        "$DOMDUMP" --poke-entry "$ours" "$pfn" >/dev/null
        poke "a bit of a register" vcpu vcpu0.regs --poke-register 0
    else
        poke "a bit of a register" hvm context.2.0 --poke-register 0
    fi
    compare_memory "$theirs" "$ours" || fail "the domains differ after all was flipped back"
}

for vcpus in "$@"; do
    note "== $type, $vcpus vCPUs"
    make_save "$type" 160 "$vcpus" 1
    resources_mark
    xen_log_clean
    daemon_start
    allocate_paused
    restore_paused
    ours=$(xl domid ours)
    theirs=$(xl domid g)
    expect_engine ours
    note "domains $theirs of xl and $ours of dompool"
    compare_memory "$theirs" "$ours" || fail "the domains differ"
    check_differences_are_found
    xl destroy "$theirs"
    xen_log_clean
    dompool release --all >/dev/null || fail "release --all"
    dompool image rm g || fail "image rm"
    daemon_stop
    expect_nothing_left
    rm -rf "$STATE" /var/tmp/g.save
done
echo "memory $type: all is well"
