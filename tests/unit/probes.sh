#!/bin/sh
# The USDT probes are in the program: a compiler or linker that drops them says nothing.
#
#     probes.sh PROGRAM
set -u

notes=$(readelf -n "$1" | awk '$1 == "Provider:" { provider = $2 } $1 == "Name:" { print provider ":" $2 }' | sort -u)
for probe in start stage; do
    if ! printf '%s\n' "$notes" | grep -qx "dompool:$probe"; then
        printf '%s has no probe dompool:%s; there are: %s\n' "$1" "$probe" "$notes"
        exit 1
    fi
done
