# Shared by scripts/xen-run's parts: messages, the cache. Sourced, never run.
# shellcheck shell=bash

program=${0##*/}

note() {
    printf '%s: %s\n' "$program" "$*" >&2
}

# fail STATUS MESSAGE...
fail() {
    local status=$1
    shift
    note "$@"
    exit "$status"
}

cache_dir() {
    printf '%s\n' "${DOMPOOL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/dompool}"
}

# cache_make PATH COMMAND [ARG...]: makes the cache entry PATH (a directory) unless it is there. COMMAND gets the name of an
# empty directory to fill as its last argument. One process makes it, others wait for that; an entry that could not be made
# completely is never seen, because it gets its name only at the end.
cache_make() {
    local path=$1 lock status=0
    shift
    [[ -d $path ]] && return
    mkdir -p "$(dirname "$path")"
    exec {lock}>"$path.lock"
    flock "$lock"
    if [[ ! -d $path ]]; then
        rm -rf "$path.tmp"
        mkdir "$path.tmp"
        # A function called as part of a condition would not stop at its first error.
        set +e
        (set -euo pipefail && "$@" "$path.tmp")
        status=$?
        set -e
        if ((status != 0)); then
            rm -rf "$path.tmp"
            fail 125 "could not make $path"
        fi
        mv -T "$path.tmp" "$path"
    fi
    # Left open, the lock would be inherited by QEMU and outlive us.
    exec {lock}>&-
}
