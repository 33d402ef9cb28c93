#!/usr/bin/env bash
# The USDT probes are in the program, with all their arguments: a compiler or linker that drops them says nothing.
#
#     probes.sh PROGRAM PROBE...      PROBE: its name and number of arguments
set -u

notes=$(readelf -n "$1" | awk '$1 == "Provider:" { provider = $2 } $1 == "Name:" { name = $2 }
    $1 == "Arguments:" { print provider ":" name " " NF - 1 }' | sort -u)
program=$1
shift
for probe; do
    if ! printf '%s\n' "$notes" | grep -qx "dompool:$probe"; then
        printf '%s has no probe dompool:%s arguments; there are: %s\n' "$program" "$probe" "$notes"
        exit 1
    fi
done
