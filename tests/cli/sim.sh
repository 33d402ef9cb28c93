#!/usr/bin/env bash
# The command against a whole daemon whose Xen is simulated: the two agree on the interface.
# shellcheck disable=SC1091,SC2016 # lib.sh is checked by itself; $0 is for the inner shell
set -u
. "$(dirname "$0")/lib.sh"

SIM=${SIM:-$BINARY/tests/sim/dompoold-sim}
[ -x "$SIM" ] || exit 77 # not built: skipped

export DOMPOOL_SOCKET="$T/run/io.dompool"
export DOMPOOL_FAKE_HOST="$T/host" DOMPOOL_LIBEXEC="$BINARY/tests/sim/libexec"
mkdir "$T/run" "$T/state" "$T/host"
"$SIM" --state-dir "$T/state" --run-dir "$T/run" --socket "$DOMPOOL_SOCKET" >"$T/log" 2>&1 &
daemon=$!
stop() {
    kill "$daemon" 2>/dev/null
    wait "$daemon"
    [ ! -s "$T/failures" ] || sed 's/^/  daemon: /' "$T/log"
    rm -rf "$T"
}
trap stop EXIT

tries=0
until "$DOMPOOL" status >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || {
        cat "$T/log"
        exit 1
    }
    sleep 0.1
done

# dp STATUS ARGUMENT...
dp() {
    wanted=$1
    shift
    run "$wanted" "$DOMPOOL" "$@"
    if grep -n ' $' "$T/out" >/dev/null; then problem "a line ends with a space"; fi
}

# A member of a flat JSON object on one line.
member() {
    sed -n "s/.*\"$1\":\"\{0,1\}\([^,\"}]*\).*/\1/p" "$T/out" | head -n 1
}

# hold NAME: a lease of that name, held in the background by the process $holder.
hold() {
    "$DOMPOOL" allocate web --hold --name "$1" --wait 20s >"$T/$1" 2>&1 </dev/null &
    holder=$!
    tries=0
    until [ -s "$T/$1" ] || [ "$tries" = 100 ]; do
        tries=$((tries + 1))
        sleep 0.1
    done
}

case_is "nothing there yet"
dp 0 image list
dp 0 list
dp 0 pool show
dp 1 allocate web
err_has "dompool: NoSuchImage: "
dp 1 image show web
err_has "dompool: NoSuchImage: "
dp 1 release web
err_has "dompool: NoSuchLease: "
dp 0 release --all
dp 0 config show
out_has "memory_reserve"
dp 0 config show --json
out_has '{"settings":[{"section":"'
case_is "import"
head -c 65536 /dev/zero >"$T/web.save"
dp 0 image import web "$T/web.save"
out_has "imported web: "
dp 1 image import web "$T/web.save"
err_has "dompool: ImageExists: "
dp 0 image show web
out_has "image     web"
dp 0 image show web --json
out_has '{"image":{"name":"web",'
dp 0 image list --json
out_has '{"images":[{"name":"web",'

case_is "import of what is no file by name"
passed() { # BYTES: what the helper of the last import has read
    got=$(cat "$T"/host/passed.*)
    rm -f "$T"/host/passed.*
    [ "$got" = "$1" ] || problem "the helper read $got bytes instead of $1"
}
rm -f "$T"/host/passed.*
run 0 sh -c "cat '$T/web.save' | '$DOMPOOL' image import piped -"
out_has "imported piped: "
passed 65536
run 0 bash -c "'$DOMPOOL' image import piped --replace <(head -c 5000 '$T/web.save')"
passed 5000
run 0 sh -c "'$DOMPOOL' image import piped --replace /dev/stdin <'$T/web.save'"
passed 65536
dp 0 image import piped --replace "$T/web.save"
passed 65536
dp 74 image import piped --replace "$T/nothing"
dp 0 image rm piped
dp 0 call ImageImport "{\"name\":\"piped\",\"path\":\"$T/web.save\"}" # the daemon opens it
[ -z "$(find "$T/host" -name 'passed.*')" ] || problem "a descriptor came from nowhere"
dp 1 call ImageImport '{"name":"x","path":"-"}'
err_has "dompool: BadValue: "
dp 0 image rm piped

case_is "pool"
dp 0 pool set web min=2
out_has "web "
dp 1 pool set web frobnicate=2
err_has "dompool: NoSuchSetting: "
dp 1 pool set web min=two
err_has "dompool: BadValue: "
dp 0 pool wait web --timeout 20s
dp 0 pool wait --timeout 20s --json
out_has '{"pools":[{"image":"web","min":2,'
dp 0 pool set web min=
dp 0 pool set web min=2

case_is "allocate"
dp 0 allocate web --name mine --meta job=7 --ttl 1h
out_has "domain  mine (domid "
out_has "image   web, from a warm slot"
out_has "total "
dp 1 allocate web --name mine
err_has "dompool: NameInUse: "
dp 0 allocate web --json --wait 20s
lease=$(member lease)
for key in lease image domid uuid name slot from delta_pages total_us stages; do
    out_has "\"$key\":"
done
case_is "trace"
dp 0 trace mine
out_has "domain  mine (domid "
out_has "TIMELINE"
out_has "handover"
dp 0 trace "$lease" --json
out_has "{\"lease\":\"$lease\",\"image\":\"web\""
dp 1 trace nobody
err_has "dompool: NoSuchLease: "
case_is "allocate"
dp 0 list
out_has "leased"
out_has "mine"
dp 0 list --json
out_has '"meta":{"job":"7"}'
dp 0 status
out_has "leases   2 alive"
dp 1 image rm web
err_has "dompool: ImageInUse: "

case_is "release"
dp 0 release mine
out_has "released "
out_has "domain mine"
dp 0 release "$lease" --json
out_has "{\"released\":[{\"lease\":\"$lease\","
dp 1 release mine
err_has "dompool: NoSuchLease: "
dp 0 trace mine
out_has ", ended "
out_has "ago: released"
dp 0 trace "$lease"

case_is "hold"
dp 0 pool wait web --timeout 20s
hold held
dp 0 list --json
out_has '"name":"held"'
kill -TERM "$holder"
wait "$holder" || problem "status $? of the holder"
dp 1 release held
err_has "dompool: NoSuchLease: "

case_is "hold, killed"
hold held2
kill -KILL "$holder"
wait "$holder"
sleep 0.3
dp 1 release held2
err_has "dompool: NoSuchLease: "

case_is "hold, released by another"
hold held3
dp 0 release held3
wait "$holder" || problem "status $? of the holder"
grep -q "has ended: released" "$T/held3" || problem "the holder says nothing"

# The file of a domain ends with whether it is paused, as warm slots are.
case_is "xl unpause of all warm slots"
dp 0 pool wait web --timeout 20s
sed -i 's/ 1$/ 0/' "$DOMPOOL_FAKE_HOST"/domain.*
dp 1 allocate web
err_has "dompool: PoolEmpty: "
err_has "somebody"
dp 0 allocate web --wait 20s --name after
dp 0 release after

case_is "a disk of the image has changed"
dp 0 pool wait web --timeout 20s
echo changed >"$DOMPOOL_FAKE_HOST/disk"
dp 1 allocate web
err_has "dompool: ImageBroken: image web: look: the fake disk has changed"
rm "$DOMPOOL_FAKE_HOST/disk"
dp 0 pool wait web --timeout 20s

# within TEXT COMMAND...: prints it before long.
within() {
    text=$1 tries=0
    shift
    until "$DOMPOOL" "$@" 2>&1 | grep -qF -- "$text"; do
        tries=$((tries + 1))
        [ "$tries" -lt 200 ] || {
            problem "never said: $text"
            return
        }
        sleep 0.1
    done
}

case_is "a lease that cannot write"
dp 0 allocate web --json --name sick --wait 20s
echo "$(member uuid) xvda Invalid" >"$DOMPOOL_FAKE_HOST/layers"
within "disk xvda takes no writes any more: its layer /dev/mapper/dompool-" list
dp 0 status
out_has "faults   1 leases have a disk that takes no writes"
dp 0 list --json
out_has '"fault":"disk xvda takes no writes'
grep -q "warning: lease .*disk xvda takes no writes" "$T/log" || problem "the log says nothing"
rm "$DOMPOOL_FAKE_HOST/layers"
dp 0 release sick

case_is "a full disk"
dp 0 pool wait web --timeout 20s
echo 3 >"$DOMPOOL_FAKE_HOST/disk_free"
within "3.0 MiB free of" status
dp 1 allocate web
err_has "dompool: NoHostDisk: 3 MiB are free"
rm "$DOMPOOL_FAKE_HOST/disk_free"
dp 0 allocate web --name room
dp 0 release room

case_is "call"
dp 0 call org.varlink.service.GetInfo
out_has '"vendor"'
dp 1 call Frobnicate
err_has "org.varlink.service.MethodNotFound"
dp 1 call ImageShow '{"name":7}'
err_has "org.varlink.service.InvalidParameter: parameter name"
dp 0 call Status --json
out_has '{"version":"'

case_is "images"
dp 0 call ImageImport "{\"name\":\"shop\",\"path\":\"$T/web.save\",\"base\":\"web\"}"
out_has '"base"'
dp 0 call ImageShow '{"name":"shop"}' --json
out_has '"base":"web"'
dp 1 call ImageImport "{\"name\":\"web\",\"path\":\"$T/web.save\",\"replace\":true}"
err_has "ImageInUse"
dp 0 allocate shop --wait 20s
out_has "image   shop, from a"
dp 0 call ImageVerify '{"name":"shop"}'
dp 0 call ImageDiff '{"a":"web","b":"shop"}'
dp 1 image rm web
err_has "dompool: ImageInUse: "
dp 0 release --all
dp 0 image rm shop
dp 0 call ImageImport "{\"name\":\"web\",\"path\":\"$T/web.save\",\"replace\":true}"
dp 0 pool wait web --timeout 20s

case_is "remove"
dp 0 release --all
dp 0 image rm web
out_has "removed web"
dp 0 image list --json
echo '{"images":[]}' | out_is

finish
