# Makes the part of dom0's initramfs that is of one run: the project's build, files put, the command. Sourced by
# scripts/xen-run after common.sh.
# shellcheck shell=bash disable=SC2154

# build_prepare DIR: configures and builds the project unless DIR has been configured before.
build_prepare() {
    local dir=$1
    [[ -f $dir/CMakeCache.txt ]] && return
    [[ -f $root_dir/CMakeLists.txt ]] || fail 125 "there is no project to build (use --build none)"
    note "building the project in $dir"
    { cmake -S "$root_dir" -B "$dir" -DCMAKE_BUILD_TYPE=RelWithDebInfo && cmake --build "$dir" -j "$(nproc)"; } >&2 ||
        fail 125 "the build failed"
}

# overlay_build DIR TREE: installs the build DIR into TREE, and the libraries that its programs need and dom0 has not.
overlay_build() {
    local dir=$1 tree=$2
    DESTDIR=$tree cmake --install "$dir" --prefix /usr >"$run_dir/install.log" 2>&1 ||
        { cat "$run_dir/install.log" >&2 && fail 125 "cannot install the build $dir (has it been built?)"; }
    overlay_libraries "$tree"
}

overlay_libraries() {
    local tree=$1 name path
    find "$tree" -type f \( -perm -u+x -o -name '*.so*' \) -print0 | while IFS= read -r -d '' path; do
        LD_LIBRARY_PATH=$tree/usr/lib:$tree/usr/lib/x86_64-linux-gnu ldd "$path" 2>/dev/null || true
    done | awk '$2 == "=>" { print $1, ($3 == "not" ? "-" : $3) }' | sort -u | while read -r name path; do
        [[ $path != - ]] || fail 125 "the build needs $name, which this machine has not"
        [[ $path != "$tree"/* ]] || continue
        grep -qxF "$name" "$image_dir/libraries" || install -D -m 755 "$path" "$tree/usr/lib/x86_64-linux-gnu/$name"
    done
}

# overlay_put SPEC TREE: LOCAL[:REMOTE] as xen-run's --put has it.
overlay_put() {
    local spec=$1 tree=$2 from=$1 to=
    if [[ ! -e $spec && $spec == *:* ]]; then
        from=${spec%:*} to=${spec##*:}
    fi
    [[ -e $from ]] || fail 125 "--put: there is no $from"
    from=$(realpath "$from")
    case $to in
    '' | */) to=$to${from##*/} ;;
    esac
    [[ $to == /* ]] || to=/root/$to
    to=$(overlay_path "$to")
    mkdir -p "$tree${to%/*}"
    cp -aT --reflink=auto "$from" "$tree$to"
}

# overlay_path PATH: where PATH of dom0 has to be in the archive, which knows nothing of dom0's links.
overlay_path() {
    local path
    path=$(realpath -ms "$1")
    case $path in
    /bin/* | /sbin/* | /lib/* | /lib64/*) path=/usr$path ;;
    /run/* | /var/run/* | /tmp/* | /proc/* | /sys/* | /dev/*) fail 125 "cannot put into $path: dom0 mounts over it" ;;
    esac
    printf '%s\n' "$path"
}

# overlay_make TREE: fills TREE for this run and packs it.
overlay_make() {
    local tree=$1 spec
    mkdir -p "$tree/.xen-run" "$tree/root"
    [[ $build == none ]] || overlay_build "$build" "$tree"
    for spec in "${puts[@]}"; do
        overlay_put "$spec" "$tree"
    done
    ((${#command[@]} == 0)) || printf '%s\0' "${command[@]}" >"$tree/.xen-run/argv"
    : >"$tree/.xen-run/gets"
    ((${#get_remotes[@]} == 0)) || printf '%s\0' "${get_remotes[@]}" >"$tree/.xen-run/gets"
    {
        printf 'xenstored=%s shell=%s\n' "$xenstored" "$shell"
        [[ $shell == no ]] || stty size <&"$terminal" | awk '{ print "rows=" ($1 ? $1 : 24), "columns=" ($2 ? $2 : 80) }'
        printf 'term=%q\n' "${TERM:-linux}"
    } >"$tree/.xen-run/settings"
    (cd "$tree" && find . -mindepth 1 -print0 | cpio --quiet -0 -o -H newc -R 0:0) >"$run_dir/overlay.cpio"
    rm -rf "$tree"
}
