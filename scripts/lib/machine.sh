# What ./quickstart and ./bench share: a build, and the choice between this host, if it is a Xen dom0, and the embedded Xen.
# Sourced in the top directory.
# shellcheck shell=bash

build_dir=${DOMPOOL_BUILD:-build}

say() { printf '\033[1m%s\033[0m\n' "$*"; }

is_dom0() { grep -qs control_d /proc/xen/capabilities; }

# [SECTION]: what this kind of machine needs besides the build (scripts/packages)
build_project() {
    say "Installing what is missing, and building"
    scripts/install-packages build "$@"
    cmake -S . -B "$build_dir" >build.log 2>&1 && cmake --build "$build_dir" -j "$(nproc)" >>build.log 2>&1 || {
        tail -n 40 build.log >&2
        exit 1
    }
    rm build.log
}

# On a dom0: installs the build into a directory that goes away at the end, and makes the test guest for this host's own
# kernel. Sets host_work, host_kernel, host_initrd and what programs need to find one another.
host_install() {
    local prefix
    host_work=$(mktemp -d) # not local: the trap outlives this function
    trap 'rm -rf "$host_work"' EXIT
    prefix=$host_work/usr
    host_kernel=/boot/vmlinuz-$(uname -r)
    host_initrd=$host_work/initrd-guest
    cmake --install "$build_dir" --prefix "$prefix" >/dev/null
    guest/make-initrd / "$(uname -r)" "$host_initrd"
    export PATH=$prefix/bin:$prefix/sbin:$PATH DOMPOOL_LIBEXEC=$prefix/libexec/dompool
    LD_LIBRARY_PATH=$prefix/lib/$(gcc -print-multiarch)
    export LD_LIBRARY_PATH host_kernel host_initrd
}
