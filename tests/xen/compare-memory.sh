#!/usr/bin/env bash
# Says whether two domains hold the same: memory, page tables, vCPUs, shared_info, grants. Both should be paused.
#
#   compare-memory.sh DOMID DOMID [CLASS...]
#
# CLASSes are not compared; domdump.c says what they are and which may differ. Without any it is store and console. Prints
# "equal" and what was compared, or the first 20 differences of each class (key, then type and value in the one and in the
# other). Exit status: 0 equal, 1 different, 2 it could not be found out, or a dump has a complaint.
#
# Sourced, it gives the function compare_memory with the same parameters.

# differences FILE FILE CLASSES: lines "CLASS KEY TYPE VALUE TYPE VALUE", - for what is not there.
memory_differences() {
    awk -v skip=" $3 " '
        index(skip, " " $4 " ") { next }
        FNR == NR { first[$1] = $2 " " $3; class[$1] = $4; next }
        !($1 in first) { print $4, $1, "- -", $2, $3; next }
        first[$1] != $2 " " $3 || class[$1] != $4 { print $4, $1, first[$1], $2, $3 }
        { delete first[$1] }
        END { for (key in first) print class[key], key, first[key], "- -" }' "$1" "$2" | sort
}

memory_report() { # FILE OF DIFFERENCES
    awk '
        { count[$1]++ }
        count[$1] <= 20 { print "  " $0 }
        END { for (class in count) printf "different: %s %d\n", class, count[class] }' "$1"
}

compare_memory() {
    local domdump=${DOMDUMP:-/root/domdump} dir status=0
    local one=$1 other=$2
    shift 2
    (($# > 0)) || set -- store console
    dir=$(mktemp -d /var/tmp/compare-memory.XXXXXX) || return 2
    "$domdump" "$one" "$dir/one" && "$domdump" "$other" "$dir/other" || status=2
    if ((status == 2)); then
        grep -n -m 20 '!' "$dir/one" "$dir/other"
    else
        memory_differences "$dir/one" "$dir/other" "$*" >"$dir/differences"
        if [[ -s $dir/differences ]]; then
            memory_report "$dir/differences"
            status=1
        else
            echo "equal: $(awk '{ n[$4]++ } END { for (class in n) printf "%s %d, ", class, n[class] }' "$dir/one")not compared: $*"
        fi
    fi
    rm -rf "$dir"
    return "$status"
}

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
    (($# >= 2)) || { echo "usage: compare-memory.sh DOMID DOMID [CLASS...]" >&2 && exit 64; }
    compare_memory "$@"
fi
