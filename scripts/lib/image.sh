# Makes what xen-run boots: the hypervisor, the kernel and the part of dom0's initramfs that is the same for every run.
# Sourced by scripts/xen-run after common.sh; needs root_dir.
# shellcheck shell=bash disable=SC2154

# Modules of dom0; what they depend on comes along.
dom0_modules=(
    virtio_pci virtio_console
    xen-privcmd xenfs xen-evtchn xen-gntdev xen-gntalloc xen-blkback xen-netback xen-blkfront
    loop dm-mod dm-snapshot bridge tun ext4 sch_ingress cls_matchall cls_flower act_skbmod
)

# The Debian kernel package of today.
kernel_package() {
    apt-cache depends linux-image-amd64 | awk '$1 == "Depends:" { print $2; exit }'
}

dom0_package_names() {
    awk '/^[^#]/ { print $1 }' "$root_dir/scripts/lib/dom0-packages"
    kernel_package
}

# NAME=VERSION of every package of dom0, by what apt would install today. Asking apt takes seconds, so the answer is kept for
# as long as apt's lists and the package list stay as they are.
dom0_package_versions() {
    local memo
    memo=$(cache_dir)/versions/$(
        {
            find /var/lib/apt/lists /etc/apt -type f -printf '%p %s %T@\n' 2>/dev/null | sort
            cat "$root_dir/scripts/lib/dom0-packages"
        } | sha256sum | cut -c1-16
    )
    cache_make "$memo" package_versions_make
    cat "$memo/versions"
}

package_versions_make() {
    local names
    mapfile -t names < <(dom0_package_names)
    [[ ${names[*]} == *linux-image-* ]] || fail 125 "apt does not know linux-image-amd64: run apt-get update"
    apt-cache policy "${names[@]}" | awk '
		/^[^ ]/ { name = $1; sub(/:$/, "", name) }
		$1 == "Candidate:" && $2 != "(none)" { print name "=" $2 }' >"$1/versions"
    (($(wc -l <"$1/versions") == ${#names[@]})) || fail 125 "apt does not know all packages of dom0: run apt-get update"
}

# Every file whose contents decide what the image is.
image_sources() {
    find "$root_dir/guest" "$root_dir/scripts/lib" -type f \( -path '*/guest/*' -o -name 'dom0-*' -o -name guest.sh -o -name image.sh \) -print0 |
        sort -z
}

image_key() {
    {
        dom0_package_versions
        image_sources | xargs -0 sha256sum | sed "s|$root_dir/||"
    } | sha256sum | cut -c1-16
}

packages_key() {
    dom0_package_versions | sha256sum | cut -c1-16
}

# packages_make DIR: downloads and unpacks dom0's packages into DIR.
packages_make() {
    local dir=$1 versions package
    mapfile -t versions < <(dom0_package_versions)
    note "downloading ${#versions[@]} Debian packages for dom0 (once)"
    mkdir "$dir/deb" "$dir/root"
    # Root's downloads are otherwise made by a user that may not write here, which apt warns about.
    (cd "$dir/deb" && apt-get -q -o APT::Sandbox::User=root download "${versions[@]}") >"$dir/log" 2>&1 ||
        { tail -n 20 "$dir/log" >&2 && fail 125 "cannot download the packages of dom0"; }
    # Debian 12 has /bin and the like as links into /usr; packages do not bring them.
    mkdir -p "$dir"/root/usr/{bin,sbin,lib,lib64}
    ln -s usr/bin usr/sbin usr/lib usr/lib64 "$dir/root"
    for package in "$dir"/deb/*.deb; do
        # dpkg -x would put directories in the place of those links.
        dpkg-deb --fsys-tarfile "$package" | tar -C "$dir/root" -x --no-same-owner --keep-directory-symlink ||
            fail 125 "cannot unpack ${package##*/}"
    done
    rm -r "$dir/deb"
    kernel_version_of "$dir/root" >"$dir/kernel-version"
    PATH=$PATH:/sbin:/usr/sbin depmod -b "$dir/root" "$(<"$dir/kernel-version")"
}

kernel_version_of() {
    local images=("$1"/boot/vmlinuz-*)
    printf '%s\n' "${images[0]##*/vmlinuz-}"
}

# copy_modules PACKAGES TREE VERSION: dom0_modules and what they need.
copy_modules() {
    local packages=$1 tree=$2 version=$3 path name
    for name in "${dom0_modules[@]}"; do
        PATH=$PATH:/sbin:/usr/sbin modprobe -d "$packages" -S "$version" --show-depends "$name" ||
            fail 125 "the kernel has no module $name"
    done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r path; do
        path=$(realpath "$path")
        install -D -m 644 "$path" "$tree/${path#"$packages"/}"
    done
    cp "$packages/usr/lib/modules/$version"/modules.{order,builtin,builtin.modinfo} "$tree/usr/lib/modules/$version/"
    PATH=$PATH:/sbin:/usr/sbin depmod -b "$tree" "$version"
}

# copy_userland PACKAGES TREE: all but the kernel and what nobody reads there.
copy_userland() {
    tar -C "$1" -cf - --anchored --exclude=./boot --exclude='./usr/lib/modules' --exclude='./usr/share/doc' \
        --exclude='./usr/share/man' --exclude='./usr/share/locale' --exclude='./usr/share/info' \
        --exclude='./usr/share/bash-completion' --exclude='./usr/lib/x86_64-linux-gnu/gconv' \
        --exclude='./usr/lib/xen-4.17/boot' --exclude='./usr/lib/systemd' --exclude='./usr/lib/debug' \
        --exclude='./usr/lib/x86_64-linux-gnu/tc' . | tar -C "$2" -xf -
}

# Every library that a program of TREE names must be in it.
check_libraries() {
    local tree=$1 missing
    missing=$(comm -23 <(needed_libraries "$tree" | sort -u) <(find "$tree" -name '*.so*' -printf '%f\n' | sort -u))
    [[ -z $missing ]] || fail 125 "scripts/lib/dom0-packages lacks the packages of: ${missing//$'\n'/ }"
}

needed_libraries() {
    find "$1/usr" -type f \( -perm -u+x -o -name '*.so*' \) -print0 |
        xargs -0 readelf -d 2>/dev/null | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'
}

# Xen's programs by their own names: Debian's wrappers start a shell first to find out which Xen is running.
link_xen_tools() {
    local tree=$1 tool
    for tool in "$tree"/usr/lib/xen-4.17/bin/*; do
        ln -sf "../lib/xen-4.17/bin/${tool##*/}" "$tree/usr/sbin/${tool##*/}"
    done
}

configure_dom0() {
    local tree=$1
    mkdir -p "$tree"/{dev,proc,sys,run,tmp,root,mnt,.xen-run} "$tree"/usr/lib/dompool-test \
        "$tree"/var/{lib/xen,lib/dompool-test,log/xen/console,lib/xenstored}
    rm -rf "$tree/var/run" "$tree/var/lock"
    ln -s /run "$tree/var/run"
    ln -s /run/lock "$tree/var/lock"
    ln -sf mawk "$tree/usr/bin/awk"
    ln -sf bash "$tree/usr/bin/sh"
    echo 'autoballoon="off"' >"$tree/etc/xen/xl.conf"
    echo dom0 >"$tree/etc/hostname"
    printf '%s\n' 'root:x:0:0:root:/root:/bin/bash' \
        'nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin' >"$tree/etc/passwd"
    printf 'root:x:0:\ntty:x:5:\n' >"$tree/etc/group"
    printf '127.0.0.1 localhost dom0\n' >"$tree/etc/hosts"
    : >"$tree/etc/fstab"
    mv "$tree/etc/xen/scripts/block" "$tree/etc/xen/scripts/block-debian"
    install -m 755 "$root_dir/scripts/lib/dom0-block" "$tree/etc/xen/scripts/block-light"
    ln -s block-light "$tree/etc/xen/scripts/block"
    install -m 755 "$root_dir/scripts/lib/dom0-init" "$tree/init"
    install -m 644 "$root_dir/scripts/lib/dom0-helpers.sh" "$tree/usr/lib/dompool-test/helpers.sh"
    install -m 644 "$root_dir/scripts/lib/guest.sh" "$tree/usr/lib/dompool-test/guest.sh"
    "${CC:-cc}" -std=c17 -O2 -static -o "$tree/usr/lib/dompool-test/runner" "$root_dir/scripts/lib/dom0-runner.c"
}

# kernel_unpack VMLINUZ: the ELF image within. Xen can do that itself, and takes four emulated seconds for it. The fields are
# those of Linux's Documentation/x86/boot.rst; a length in 4 bytes follows the compressed data.
kernel_unpack() {
    local setup_sects payload_offset payload_length
    setup_sects=$(od -An -tu1 -j $((0x1f1)) -N 1 "$1")
    payload_offset=$(od -An -tu4 -j $((0x248)) -N 4 "$1")
    payload_length=$(od -An -tu4 -j $((0x24c)) -N 4 "$1")
    dd if="$1" bs=64k iflag=skip_bytes,count_bytes skip=$(((setup_sects + 1) * 512 + payload_offset)) \
        count="$payload_length" status=none | xz -dc --single-stream
}

install_guest() {
    local packages=$1 tree=$2 version=$3
    mkdir -p "$tree/boot"
    # Unpacked too: libxenguest would take ten seconds over it for each guest.
    kernel_unpack "$packages/boot/vmlinuz-$version" >"$tree/boot/vmlinuz-guest"
    "$root_dir/guest/make-initrd" "$packages" "$version" "$tree/boot/initrd-guest"
    install -m 644 "$root_dir"/guest/*.cfg "$tree/etc/xen/"
}

# cpio_of TREE: the archive of TREE, owned by root whoever runs this.
cpio_of() {
    (cd "$1" && find . -mindepth 1 -print0 | cpio --quiet -0 -o -H newc -R 0:0)
}

# image_make PACKAGES DIR: DIR/xen, DIR/vmlinuz, DIR/dom0.cpio, and DIR/libraries: what the overlay need not bring.
image_make() {
    local packages=$1/root dir=$2 tree=$2/tree version
    version=$(<"$1/kernel-version")
    note "making the image of dom0 (once, until packages or sources change)"
    mkdir "$tree"
    copy_userland "$packages" "$tree"
    copy_modules "$packages" "$tree" "$version"
    link_xen_tools "$tree"
    configure_dom0 "$tree"
    check_libraries "$tree"
    install_guest "$packages" "$tree" "$version"
    find "$tree/usr/lib" "$tree/usr/lib64" -name '*.so*' -printf '%f\n' | sort -u >"$dir/libraries"
    cpio_of "$tree" >"$dir/dom0.cpio"
    # QEMU takes a multiboot kernel uncompressed only.
    gunzip -c "$packages/boot/xen-4.17-amd64.gz" >"$dir/xen"
    cp "$tree/boot/vmlinuz-guest" "$dir/vmlinux"
    rm -rf "$tree"
}

# Old images go when a new one has been made, so that the cache does not grow with every edit: those used last stay.
cache_prune() {
    local kind=$1 old
    find "$(cache_dir)/$kind" -mindepth 1 -maxdepth 1 -type d ! -name '*.tmp' -printf '%T@ %p\n' | sort -rn | tail -n +5 |
        while read -r _ old; do rm -rf "$old" "$old.lock"; done
}

# Sets image_dir to a directory with everything that is needed to boot.
image_prepare() {
    local tool packages
    for tool in apt-cache apt-get dpkg cpio flock modprobe depmod readelf cc qemu-system-x86_64; do
        PATH=$PATH:/sbin:/usr/sbin command -v "$tool" >/dev/null ||
            fail 125 "$tool is missing: run scripts/install-packages xen"
    done
    image_dir=$(cache_dir)/image/$(image_key)
    if [[ -d $image_dir ]]; then
        # What is in use is new: see cache_prune.
        touch "$image_dir"
        return
    fi
    packages=$(cache_dir)/packages/$(packages_key)
    cache_make "$packages" packages_make
    cache_make "$image_dir" image_make "$packages"
    cache_prune packages
    cache_prune image
    cache_prune versions
}
