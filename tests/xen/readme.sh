#!/usr/bin/env bash
# The commands of the README's first session, read from the README and run as they stand, in order: an administrator types
# them, so they have to work. What comes before them, installing and starting the daemon, is done as the other tests do it.
#
#   readme.sh README
# shellcheck source=tests/xen/lib.sh
source "$(dirname "$0")/lib.sh"
readme=$1

# The lines of the code blocks below a heading, from the N-th block on, without comments.
session() { # HEADING FIRST
    awk -v heading="## $1" -v first="$2" '
        /^## / { here = $0 == heading }
        here && /^```sh/ { block++; inside = block >= first; next }
        /^```/ { inside = 0 }
        inside { sub(/ +#.*/, ""); if (length) print }' "$readme"
}

# The guest of the README: its disk is a logical volume. There is no LVM here, so the name leads to a loop device, as udev's
# names of volumes do.
make_guest() {
    mkdir -p /dev/vg
    truncate -s 16M /var/tmp/volume
    ln -s "$(losetup --show -f /var/tmp/volume)" /dev/vg/myguest
    printf '%s\n' 'name = "myguest"' 'type = "pv"' 'memory = 128' 'maxmem = 128' 'vcpus = 1' \
        'kernel = "/boot/vmlinuz-guest"' 'ramdisk = "/boot/initrd-guest"' \
        'extra = "console=hvc0 quiet pattern_mib=16 tick_ms=200 check_ms=0"' 'vif = []' \
        'disk = [ "phy:/dev/vg/myguest,xvda,w" ]' 'on_poweroff = "destroy"' >/etc/xen/myguest.cfg
    xl create -q /etc/xen/myguest.cfg || fail "xl create"
    guest_wait "$(xl domid myguest)" '^guest: tick' 120 >/dev/null || fail "the guest does not come up"
}

# A console is for people: here it is enough that the guest is heard on it.
run() { # COMMAND
    note "\$ $1"
    if [[ $1 == 'xl console '* ]]; then
        eval "timeout 10 $1" </dev/null >/var/tmp/console.txt 2>&1 || true
        grep -a 'guest: tick' /var/tmp/console.txt >/dev/null || fail "nothing is heard on the console: $(cat /var/tmp/console.txt)"
        return
    fi
    eval "$1" || fail "a command of the README failed: $1"
}

make_guest
daemon_start
mapfile -t commands < <(session "A first session on a real dom0" 2)
((${#commands[@]} >= 10)) || fail "the README has only these commands: ${commands[*]}"
for command in "${commands[@]}"; do run "$command"; done
dompool image show editor >/dev/null || fail "there is no image editor"
expect_equal "leases at the end" 1 "$(json "$(dompool list --json)" '$.leases' | grep -o '"lease"' | wc -l)"
dompool release --all >/dev/null || fail "release"
daemon_stop
xen_log_clean
echo "readme: all is well"
