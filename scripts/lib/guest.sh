# What the programs around a guest share: how its configuration is written for xl, what dompool's JSON says, how a daemon ends.
# Sourced by bash: by scripts/demo, tests/bench/dom0.sh, and dom0-helpers.sh.
# shellcheck shell=bash

json_field() { # JSON NAME: a number or a plain string of an object that has no other member of this name
    tr -d '\n' <<<"$1" | sed -n "s/.*\"$2\": *\"\{0,1\}\([^,\"}]*\).*/\1/p" | head -n 1
}

# guest_xl_config NAME TYPE MIB VCPUS EXTRA VIFS VDEV=FILE...: prints an xl configuration of the test guest (guest/guest.c).
# EXTRA goes to its kernel's command line; VIFS is what stands between the brackets of vif = [ ]; disks are raw files.
# GUEST_KERNEL, GUEST_INITRD: its kernel. GUEST_ON_CRASH: its on_crash, if that is not to be destroy.
guest_xl_config() {
    local disk
    printf 'name = "%s"\ntype = "%s"\nmemory = %s\nmaxmem = %s\nvcpus = %s\n' "$1" "$2" "$3" "$3" "$4"
    printf 'kernel = "%s"\nramdisk = "%s"\n' "${GUEST_KERNEL:-/boot/vmlinuz-guest}" "${GUEST_INITRD:-/boot/initrd-guest}"
    printf 'extra = "console=hvc0 quiet %s"\nvif = [%s]\n' "$5" "$6"
    printf 'on_poweroff = "destroy"\non_reboot = "destroy"\non_crash = "%s"\ndisk = [\n' "${GUEST_ON_CRASH:-destroy}"
    for disk in "${@:7}"; do
        printf '    "format=raw, vdev=%s, access=rw, target=%s",\n' "${disk%%=*}" "${disk#*=}"
    done
    printf ']\n'
}

# daemon_end PID: asks a daemon to stop, and waits until it is gone; 1 if it is still there after 30 s.
daemon_end() {
    local tries
    kill -TERM "$1" 2>/dev/null || return 0
    for ((tries = 0; tries < 300; tries++)); do
        kill -0 "$1" 2>/dev/null || return 0
        sleep 0.1
    done
    return 1
}
