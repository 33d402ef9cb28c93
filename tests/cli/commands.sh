#!/usr/bin/env bash
# shellcheck disable=SC1091,SC2016 # lib.sh is checked by itself; $0 is for the inner shell
# Every command against the scripted daemon: the request that it sends, what it prints for
# people and with --json, and its exit status.
set -u
. "$(dirname "$0")/lib.sh"

now=$(($(date +%s) * 1000))

# ask METHOD PARAMETERS REPLY: a script of one step.
ask() {
    printf '[{"expect":{"method":"io.dompool.%s"%s},"replies":[{"parameters":%s}]}]' \
        "$1" "${2:+,\"parameters\":$2}" "$3"
}

# no METHOD PARAMETERS ERROR TEXT
no() {
    printf '[{"expect":{"method":"io.dompool.%s"%s},"replies":[{"error":"io.dompool.%s","parameters":{"text":"%s"}}]}]' \
        "$1" "${2:+,\"parameters\":$2}" "$3" "$4"
}

image='{"name":"web","id":"6f1c","base":null,"guest":"pvh","vcpus":2,"memory_kib":409600,"pages":102400,"zero_pages":2400,"stored_pages":100000,"file":"/var/lib/dompool/images/6f1c.img","file_bytes":419430400,"created_ms":'$((now - 3700000))',"disks":[{"vdev":"xvda","kind":"cow","path":"/dev/vg/web","size_bytes":null},{"vdev":"xvdb","kind":"scratch","path":null,"size_bytes":1073741824}],"slots":3,"leases":1}'

case_is "image import"
touch "$T/web.save" # which the command opens
request='{"name":"web","path":"'$T'/web.save","disks":{"xvda":"cow:/dev/vg/web"}}'
script='[{"expect":{"method":"io.dompool.ImageImport","parameters":'$request',"more":true},"replies":[
  {"parameters":{"done_bytes":10,"total_bytes":100},"continues":true},
  {"parameters":{"done_bytes":100,"total_bytes":100},"continues":true},
  {"parameters":{"image":'$image',"done_bytes":100,"total_bytes":100}}]}]'
fake 0 "$script" image import web "$T/web.save" --disk xvda=cow:/dev/vg/web
out_is <<'END'
imported web: pvh, 2 vCPUs, 400.0 MiB of memory, 400.0 MiB on disk
END
err_is </dev/null
fake 0 "$script" image import --json web "$T/web.save" --disk=xvda=cow:/dev/vg/web
echo "{\"image\":$image,\"warnings\":[]}" | out_is

case_is "image import: derived"
derived=$(echo "$image" | sed 's/"base":null/"base":"b","delta_pages":1100,"repeated_pages":10,"free_pages":20/; s/"zero_pages":2400/"zero_pages":100/')
script='[{"expect":{"method":"io.dompool.ImageImport","parameters":{"name":"web","path":"'$T'/web.save","base":"b","disks":{},"replace":true,"disk_digests":true},"more":true},"replies":[
  {"parameters":{"image":'$derived',"warnings":["the delta is large"]}}]}]'
fake 0 "$script" image import web "$T/web.save" --base b --replace --disk-digests
out_is <<'END'
imported web: pvh, 2 vCPUs, 400.0 MiB of memory, 1100 pages differ from its base, 400.0 MiB on disk
END
err_is <<'END'
dompool: warning: the delta is large
END

case_is "image import: disks that nobody has named"
script='[{"replies":[{"error":"io.dompool.DisksNotAllowed","parameters":{"text":"the save file asks for 2 disks",
  "disks":{"xvda":"cow:/dev/vg/web","xvdb":"ro:/srv/it'"'"'s \u001b[31m; rm.iso"}}}]}]'
fake 1 "$script" image import web "$T/web.save"
err_is <<'END'
dompool: DisksNotAllowed: the save file asks for 2 disks
dompool: if the guest may have the disks, repeat the command and add --disk xvda=cow:/dev/vg/web --disk 'xvdb=ro:/srv/it'\''s ?[31m; rm.iso'
END
out_plain
fake 1 '[{"replies":[{"error":"io.dompool.DisksNotAllowed","parameters":{"text":"x","disks":7}}]}]' image import web "$T/web.save"
err_is <<'END'
dompool: DisksNotAllowed: x
END

case_is "image import: files that cannot be read"
run 74 "$DOMPOOL" image import web "$T/nothing"
err_is <<END
dompool: open save file $T/nothing: No such file or directory
END
run 74 "$DOMPOOL" image import web "$T"
err_is <<END
dompool: open save file $T: Is a directory
END
run 74 script -qec "$DOMPOOL image import web -" /dev/null
out_has "standard input is a terminal"

case_is "image capture"
script='[{"expect":{"method":"io.dompool.ImageCapture","parameters":{"name":"web","domain":"l7","base":"b","disks":{"xvda":"ro:/d"},"disk_digests":true,"stop":true,"timeout_ms":5000},"more":true},"replies":[
  {"parameters":{"done_bytes":1,"total_bytes":2},"continues":true},{"parameters":{"image":'$derived'}}]}]'
fake 0 "$script" image capture web l7 --base b --stop --timeout 5s --disk xvda=ro:/d --disk-digests
out_is <<'END'
captured web: pvh, 2 vCPUs, 400.0 MiB of memory, 1100 pages differ from its base, 400.0 MiB on disk
END
fake 1 '[{"replies":[{"error":"io.dompool.TimedOut","parameters":{"text":"domain 3 did not suspend within 60 s"}}]}]' image capture web vm
err_is <<'END'
dompool: TimedOut: domain 3 did not suspend within 60 s
END
fake 2 '[{"replies":[{"parameters":{"done_bytes":1,"total_bytes":2}}]}]' image capture web vm
err_is <<'END'
dompool: the daemon ended the call without a result; its log says more (journalctl -u dompool)
END

case_is "image diff"
difference='{"pages":1100,"tables":[7,1,0,2],"type_changes":3,"to_zero":5,"added":0,"removed":0,"bytes":2048000,"toolstack_pages":130,"records":["X86_PV_VCPU_BASIC","SHARED_INFO"]}'
script='[{"expect":{"method":"io.dompool.ImageDiff","parameters":{"a":"b","b":"web"},"more":true},"replies":[{"parameters":{"difference":'$difference'}}]}]'
fake 0 "$script" image diff b web
out_is <<'END'
pages     1100 (4.3 MiB); 2.0 MiB of their bytes differ; 5 are zero now
tables    7 L1, 1 L2, 0 L3, 2 L4; 3 pages have another type
left out  130 pages of the toolstack
record    X86_PV_VCPU_BASIC
record    SHARED_INFO
END
fake 0 "$script" image diff b web --json
echo "{\"difference\":$difference}" | out_is

case_is "image verify"
script='[{"expect":{"method":"io.dompool.ImageVerify","parameters":{"name":"a"}},"replies":[{"error":"io.dompool.ImageRefused","parameters":{"text":"section PAGES damaged"}}]},
  {"expect":{"method":"io.dompool.ImageVerify","parameters":{"name":"b"}},"replies":[{}]}]'
fake 1 "$script" image verify a b
echo "verified b" | out_is
err_is <<'END'
dompool: ImageRefused: section PAGES damaged
END
fake 1 "$script" image verify a b --json
echo '{"verified":["b"]}' | out_is

case_is "image export"
script='[{"expect":{"method":"io.dompool.ImageExport","parameters":{"name":"web","path":"'$T'/x.save"},"more":true},"replies":[{"parameters":{"done_bytes":1,"total_bytes":2},"continues":true},{}]}]'
cd "$T" || exit 1
fake 0 "$script" image export web x.save
echo "exported web to $T/x.save" | out_is
fake 0 "$script" image export web x.save --json
echo "{\"image\":\"web\",\"path\":\"$T/x.save\"}" | out_is
cd / || exit 1

case_is "image import: relative paths"
script='[{"expect":{"method":"io.dompool.ImageImport","parameters":{"name":"web","path":"'$T'/web.save","disks":{"xvda":"ro:'$T'/d.img","xvdb":"scratch:1G"}},"more":true},"replies":[{"error":"io.dompool.ImageRefused","parameters":{"text":"w.save: truncated at byte 12"}}]}]'
cd "$T" || exit 1
fake 1 "$script" image import web web.save --disk xvda=ro:d.img --disk xvdb=scratch:1G
err_is <<'END'
dompool: ImageRefused: w.save: truncated at byte 12
END
cd / || exit 1

case_is "image import: the daemon dies"
fake 2 '[{"replies":[{"parameters":{"done_bytes":10,"total_bytes":100},"continues":true}],"end":true}]' image import web "$T/web.save"
err_has "the connection to the daemon at "
err_has "the daemon closed the connection"

case_is "image list"
fake 0 "$(ask ImageList "" "{\"images\":[$image]}")" image list
out_is <<'END'
IMAGE  GUEST  VCPUS     MEMORY     STORED  SLOTS  LEASES   AGE  BASE
web    pvh        2  400.0 MiB  400.0 MiB      3       1  1h1m  -
END
fake 0 "$(ask ImageList "" "{\"images\":[$image]}")" image list --json
echo "{\"images\":[$image]}" | out_is

case_is "image show"
reply="{\"image\":$image,\"config\":{\"max_vcpus\":2,\"name\":\"old\",\"disks\":[]}}"
fake 0 "$(ask ImageShow '{"name":"web"}' "$reply")" image show web
out_is <<'END'
image     web
id        6f1c
guest     pvh, 2 vCPUs
memory    400.0 MiB: 102400 pages
stored    400.0 MiB: 100000 pages
file      /var/lib/dompool/images/6f1c.img
saved     9.4 MiB: 2400 zero pages
created   1h1m ago
in use    3 slots, 1 leases
disk      xvda cow /dev/vg/web
disk      xvdb scratch 1.0 GiB
config    max_vcpus = 2
config    name = "old"
END
fake 0 "$(ask ImageShow '{"name":"web"}' "$reply")" image show --json web
echo "$reply" | out_is
fake 0 "$(ask ImageShow '{"name":"web"}' "{\"image\":$derived,\"config\":{}}")" image show web
out_has "base      b"
out_has "delta     1100 pages differ from the base"
out_has "saved     40.0 KiB: 10 repeated pages"
out_has "saved     80.0 KiB: 20 free pages"
# A base has zeros in the place of free pages: each page is counted once.
freed=$(echo "$image" | sed 's/"zero_pages":2400/"zero_pages":2400,"free_pages":2144/')
fake 0 "$(ask ImageShow '{"name":"web"}' "{\"image\":$freed,\"config\":{}}")" image show web
out_has "saved     1.0 MiB: 256 zero pages"
out_has "saved     8.4 MiB: 2144 free pages"
fake 1 "$(no ImageShow '{"name":"web"}' NoSuchImage 'no image is called web')" image show web
err_is <<'END'
dompool: NoSuchImage: no image is called web
END

case_is "image rm"
script='[{"expect":{"method":"io.dompool.ImageRemove","parameters":{"name":"a"}},"replies":[{}]},
  {"expect":{"method":"io.dompool.ImageRemove","parameters":{"name":"b"}},"replies":[{"error":"io.dompool.ImageInUse","parameters":{"text":"b: 2 leases"}}]},
  {"expect":{"method":"io.dompool.ImageRemove","parameters":{"name":"c"}},"replies":[{}]}]'
fake 1 "$script" image rm a b c
out_is <<'END'
removed a
removed c
END
err_is <<'END'
dompool: ImageInUse: b: 2 leases
END
fake 1 "$script" image rm a b c --json
echo '{"removed":["a","c"]}' | out_is

lease='{"lease":"k3f9","image":"web","domid":12,"uuid":"0f6c","name":"web-1","slot":"s7","from":"warm","delta_pages":12,"total_us":3456,"stages":[{"name":"claim","us":120,"hypercalls":0},{"name":"delta","us":2100,"hypercalls":14},{"name":"unpause","us":45,"hypercalls":1}]}'
case_is "allocate"
fake 0 "$(ask Allocate '{"image":"web"}' "$lease")" allocate web
out_is <<'END'
domain  web-1 (domid 12)
lease   k3f9
image   web, from a warm slot, 12 pages written
STAGE       TIME  HYPERCALLS
claim     120 us           0
delta    2.10 ms          14
unpause    45 us           1
total    3.46 ms          15
END
fake 0 "$(ask Allocate '{"image":"web","name":"n","ttl_ms":300000,"wait_ms":0,"paused":true,"meta":{"job":"a=b","empty":""}}' "$lease")" \
    allocate --name n --ttl=5m web --wait 0 --paused --meta job=a=b --meta empty= --json
echo "$lease" | out_is
fake 1 "$(no Allocate '{"image":"web"}' PoolEmpty 'pool web: no slot is warm; give --wait')" allocate web
err_is <<'END'
dompool: PoolEmpty: pool web: no slot is warm; give --wait
END
fake 1 "$(no Allocate '{"image":"web"}' PoolEmpty 'x\u001b[31m\u009by')" allocate web
err_is <<'END'
dompool: PoolEmpty: x?[31m?y
END

case_is "allocate: output that nobody gets"
script='[{"expect":{"method":"io.dompool.Allocate","parameters":{"image":"web"}},"replies":[{"parameters":'$lease'}]},
  {"expect":{"method":"io.dompool.Release","parameters":{"leases":["k3f9"],"wait":false}},"replies":[{"parameters":{"released":[]}}]}]'
run 74 "$FAKE" "$script" sh -c '"$0" allocate web --json >/dev/full' "$DOMPOOL"
err_has "No space left on device"
err_has "releasing lease k3f9"

allocate_held='{"expect":{"method":"io.dompool.Allocate","parameters":{"image":"web","hold":true}},"replies":[{"parameters":'$lease'}]}'
release_held='{"expect":{"method":"io.dompool.Release","parameters":{"leases":["k3f9"],"wait":true}}'
watched='{"expect":{"method":"io.dompool.LeaseWait","parameters":{"lease":"k3f9"}}'
case_is "allocate --hold, ended by a signal"
for signal in 2 15 1; do
    fake 0 '['"$allocate_held,$watched"',"signal":'$signal'},
      '"$release_held"',"replies":[{"parameters":{"released":[]}}]}]' allocate web --hold --json
    echo "$lease" | out_is
done
case_is "allocate --hold, two signals"
fake 0 '['"$allocate_held,$watched"',"signal":2},'"$release_held"',"signal":15}]' allocate web --hold
case_is "allocate --hold, the lease ends"
fake 0 '['"$allocate_held,$watched"',"replies":[{"parameters":{"lease":"k3f9","reason":"its time to live is over"}}]}]' allocate --hold web
err_has "lease k3f9 has ended: its time to live is over"
case_is "allocate --hold, ended already when waited for"
fake 0 '['"$allocate_held,$watched"',"replies":[{"error":"io.dompool.NoSuchLease"}]}]' allocate --hold web
err_has "lease k3f9 has ended"
case_is "allocate --hold, ended already when released"
fake 0 '['"$allocate_held,$watched"',"signal":15},'"$release_held"',"replies":[{"error":"io.dompool.NoSuchLease"}]}]' allocate --hold web
err_is </dev/null
case_is "allocate --hold, the daemon stops"
fake 1 '['"$allocate_held,$watched"',"replies":[{"error":"io.dompool.Stopping","parameters":{"text":"the daemon is shutting down"}}]}]' allocate --hold web
err_has "Stopping: the daemon is shutting down"
case_is "allocate --hold, the daemon dies"
fake 2 '['"$allocate_held,$watched"',"end":true}]' allocate --hold web
err_has "the daemon closed the connection"

case_is "release"
released='{"released":[{"lease":"k3f9","domid":12,"name":"web-1","image":"web"}]}'
fake 0 "$(ask Release '{"leases":["k3f9","12"],"wait":true}' "$released")" release k3f9 12
out_is <<'END'
released k3f9 (domain web-1, domid 12, image web)
END
fake 0 "$(ask Release '{"all":true,"wait":false}' "$released")" release --all --no-wait --json
echo "$released" | out_is
fake 1 "$(no Release '{"leases":["x"],"wait":true}' NoSuchLease 'no lease is called x')" release x
err_has "dompool: NoSuchLease: no lease is called x"

case_is "list"
now=$(($(date +%s) * 1000))
slots='{"slots":[{"slot":"s7","image":"web","state":"leased","engine":"guest","domid":12,"uuid":"0f","name":"web-1","since_ms":'$((now - 65000))',"lease":"k3f9","reason":null},{"slot":"s8","image":"web","state":"broken","engine":null,"domid":null,"uuid":"10","name":"dompool-s8","since_ms":'$((now - 7200000))',"lease":null,"reason":"no\nmemory"}],"leases":[{"lease":"k3f9","image":"web","slot":"s7","domid":12,"uuid":"0f","name":"web-1","owner_uid":1000,"created_ms":1,"expires_ms":'$((now + 7200000 + 59000))',"hold":false,"paused":false,"meta":{"a":"b"}}]}'
fake 0 "$(ask List '{}' "$slots")" list
sed -i 's/1m[5-9]s/1m5s/' "$T/out"
out_is <<'END'
SLOT  IMAGE  STATE   DOMID  DOMAIN      SINCE  LEASE  EXPIRES   UID  REASON
s7    web    leased     12  web-1        1m5s  k3f9        2h  1000  -
s8    web    broken      -  dompool-s8     2h  -            -     -  no?memory
END
fake 0 "$(ask List '{}' "$slots")" list --json
out_has '"meta":{"a":"b"}'

case_is "trace"
stages='[{"name":"pick","us":10,"hypercalls":0,"pages":0},{"name":"handover","us":390,"hypercalls":0,"pages":0},{"name":"delta","us":2000,"hypercalls":14,"pages":12},{"name":"unpause","us":600,"hypercalls":1,"pages":0},{"name":"commit","us":1000,"hypercalls":0,"pages":0}]'
trace='{"lease":"l7","image":"web","name":"web-1","owner_uid":0,"created_ms":'$((now - 65000))',"ended_ms":null,"end_reason":null,"slot":"s3","domid":12,"engine":"direct","from":"warm","retries":0,"delta_pages":12,"total_us":4000,"stages":'$stages'}'
fake 0 "$(ask Trace '{"lease":"web-1"}' "$trace")" trace web-1
sed -i 's/1m[5-9]s/1m5s/' "$T/out"
out_is <<'END'
lease   l7, allocated 1m5s ago
domain  web-1 (domid 12)
image   web, from a warm slot (s3, engine direct), 12 pages written
STAGE       START     TIME  TIMELINE                                  HYPERCALLS  PAGES
pick         0 us    10 us  #                                                  0      0
handover    10 us   390 us  ####                                               0      0
delta      400 us  2.00 ms      ####################                          14     12
unpause   2.40 ms   600 us                          ######                     1      0
commit    3.00 ms  1.00 ms                                ##########           0      0
total        0 us  4.00 ms  ########################################          15     12
END
fake 0 "$(ask Trace '{"lease":"l7"}' "$trace")" trace l7 --json
echo "$trace" | out_is
ended=$(echo "$trace" | sed 's/"ended_ms":null,"end_reason":null/"ended_ms":'$((now - 7200000))',"end_reason":"rel\\u001beased"/; s/"retries":0/"retries":2/')
fake 0 "$(ask Trace '{"lease":"l7"}' "$ended")" trace l7
out_has "lease   l7, ended 2h ago: rel?eased"
out_has "failed  2 slots before this one; the first stage includes their time"
# Numbers that do not fit together: still one mark a stage, and none beyond the end.
for us in 0 -1 9223372036854775807; do
    for total in 0 1 -1 9223372036854775807; do
        fake 0 "$(ask Trace '{"lease":"l7"}' '{"total_us":'$total',"stages":[{"name":"a","us":'$us'},{"name":"b","us":'$us'}]}')" trace l7
        if grep -Eq '#{41}|# +#' "$T/out"; then problem "a bar is too long"; fi
    done
done
fake 1 "$(no Trace '{"lease":"l9"}' NoTrace 'no trace of lease l9 was kept')" trace l9
err_has "dompool: NoTrace: no trace of lease l9 was kept"

pool='{"image":"web","min":3,"max":0,"engine":"guest","warm":2,"building":1,"leased":1,"waiting":0,"broken":0,"backoff_ms":0,"last_error":null,"hits":9,"misses":1}'
sick='{"image":"db","min":1,"max":4,"engine":"guest","warm":0,"building":0,"leased":0,"waiting":2,"broken":1,"backoff_ms":4000,"last_error":"disk xvda: no such file","hits":0,"misses":0}'
case_is "status"
answer='{"version":"0.1.0","pid":77,"uptime_ms":93784000,"xen":true,"host_total_kib":4194304,"host_free_kib":1572864,"pools":['$pool','$sick'],"leases":1,"allocations":10,"failures":0,"last_allocate_us":3456,"median_allocate_us":3000}'
fake 0 "$(ask Status "" "$answer")" status
out_is <<'END'
daemon   dompoold 0.1.0, pid 77, up 1d2h
xen      reachable
memory   1.5 GiB free of 4.0 GiB
leases   1 alive; 10 allocations, 0 failures
hits     90.0%: 9 served warm, 1 not
latency  last 3.46 ms, median 3.00 ms
POOL  MIN  MAX  WARM  BUILDING  LEASED  WAITING  BROKEN  HITS  MISSES  ENGINE
web     3    0     2         1       1        0       0     9       1  guest
db      1    4     0         0       0        2       1     0       0  guest
db: next try in 4s: disk xvda: no such file
END
fake 0 "$(ask Status "" "$answer")" --json status
echo "$answer" | out_is

case_is "pool show"
fake 0 "$(ask PoolShow '{}' "{\"pools\":[$pool]}")" pool show
out_has "web     3    0     2         1       1        0       0     9       1  guest"
fake 0 "$(ask PoolShow '{"image":"web"}' "{\"pools\":[$pool]}")" pool show web --json
echo "{\"pools\":[$pool]}" | out_is

case_is "pool set"
fake 0 "$(ask PoolSet '{"image":"web","settings":{"min":"3","ttl":""}}' "{\"pool\":$pool}")" pool set web min=3 ttl=
out_has "web     3"
fake 0 "$(ask PoolSet '{"image":"web","settings":{"min":"3"}}' "{\"pool\":$pool}")" pool set web min=3 --json
echo "{\"pool\":$pool}" | out_is
fake 1 "$(no PoolSet '{"image":"web","settings":{"x":"3"}}' NoSuchSetting 'no setting is called x')" pool set web x=3
err_has "dompool: NoSuchSetting: no setting is called x"

case_is "pool wait"
fake 0 "$(ask PoolWait '{}' "{\"pools\":[$pool]}")" pool wait
out_is </dev/null
fake 0 "$(ask PoolWait '{"image":"web","timeout_ms":60000}' "{\"pools\":[$pool]}")" pool wait web --timeout 1m --json
echo "{\"pools\":[$pool]}" | out_is
fake 1 "$(no PoolWait '{"image":"web","timeout_ms":0}' TimedOut 'pool web: 2 of 3')" pool wait web --timeout 0
err_has "dompool: TimedOut: pool web: 2 of 3"

case_is "config show"
settings='{"settings":[{"section":"daemon","key":"parallel","value":"1","origin":"default"},{"section":"image web","key":"min","value":"","origin":"/etc/dompool/dompool.conf:7"}]}'
fake 0 "$(ask ConfigShow "" "$settings")" config show
out_is <<'END'
SECTION    KEY       VALUE  ORIGIN
daemon     parallel  1      default
image web  min       -      /etc/dompool/dompool.conf:7
END
fake 0 "$(ask ConfigShow "" "$settings")" config show --json
echo "$settings" | out_is

case_is "call"
fake 0 "$(ask ImageShow '{"name":"web"}' '{"a":[1]}')" call ImageShow '{"name": "web"}'
out_is <<'END'
{
  "a": [
    1
  ]
}
END
fake 0 "$(ask Status '{}' '{"a":"\u001b\u009b"}')" call Status --json
echo '{"a":"\u001B\u009B"}' | out_is
echo '{"x":1}' >"$T/input"
run 0 "$FAKE" "$(ask Status '{"x":1}' '{}')" sh -c '"$0" call io.dompool.Status - <"$1"' "$DOMPOOL" "$T/input"
fake 1 '[{"expect":{"method":"org.example.No","parameters":{}},"replies":[{"error":"org.varlink.service.InterfaceNotFound","parameters":{"interface":"org.example"}}]}]' call org.example.No
err_is <<'END'
dompool: org.varlink.service.InterfaceNotFound: the daemon has no interface org.example
END
fake 0 '[{"expect":{"method":"io.dompool.Events","parameters":{},"more":true},"replies":[{"parameters":{"n":1},"continues":true},{"parameters":{"n":2}}]}]' call --more --json Events
out_is <<'END'
{"n":1}
{"n":2}
END
case_is "call --more, reader gone"
run 0 "$FAKE" '[{"replies":[{"parameters":{"n":1},"continues":true}]}]' sh -c '
    { sleep 0.2; "$0" call --more Events; echo $? >"$1"; } | :' "$DOMPOOL" "$T/status"
[ "$(cat "$T/status")" = 74 ] || problem "status $(cat "$T/status") instead of 74"

case_is "no varlink"
fake 2 '[{"raw":"hello"}]' status
err_has "malformed JSON"
fake 2 '[{"end":true}]' status
err_has "the daemon closed the connection"

case_is "stdout closed"
run 74 "$FAKE" "$(ask ImageList "" '{"images":[]}')" sh -c '"$0" image list >&- 2>/dev/null' "$DOMPOOL"

case_is "progress on a terminal only"
script='[{"replies":[{"parameters":{"done_bytes":10,"total_bytes":100},"continues":true},{"parameters":{"image":'$image'}}]}]'
if command -v script >/dev/null; then
    run 0 "$FAKE" "$script" script -qec "$DOMPOOL image import web $T/web.save" /dev/null
    out_has "importing web:  10%, 10 B of 100 B"
fi

case_is "examples of the library"
run 0 "$FAKE" '[{"expect":{"method":"io.dompool.Allocate","parameters":{"image":"web","wait_ms":10000,"hold":true}},"replies":[{"parameters":'"$lease"'}]}]' "$EXAMPLES/cli_example_allocate"
out_has "domain web-1, domid 12, after 3456 us"
run 1 "$FAKE" "$(no Allocate '{"image":"x","wait_ms":10000,"hold":true}' NoSuchImage 'no image is called x')" "$EXAMPLES/cli_example_allocate" x
err_has "NoSuchImage: no image is called x"
run 0 "$FAKE" "$(ask PoolWait '{"image":"web"}' '{"pools":[]}')" "$EXAMPLES/cli_example_watch"
out_has 'filled: {"pools":[]}'

finish
