#!/usr/bin/env bash
# kill -9, of the daemon and of its helper, at many moments of an import, of a capture and of a replacement: what was there
# before is there after, or what was to come is there whole; no file is left over; a captured domain goes on.
#
#   kill-images.sh ROUNDS
# shellcheck source=tests/xen/lib.sh
source "$(dirname "$0")/lib.sh"
rounds=${1:-6}
declare -A lasts # operation: milliseconds it takes when nobody disturbs it
declare -A ended # operation-outcome: how often

now_ms() { date +%s%3N; }

disk_options=()
for letter in a b; do
    disk_options+=(--disk "xvd$letter=cow:/var/lib/dompool-test/g-xvd$letter.img")
done

# The three operations. The first two make the image `new`, the third gives `app` another content.
start_import() { exec dompool image import new /var/tmp/other.save --base base "${disk_options[@]}"; }
start_capture() { exec dompool image capture new survivor --base base "${disk_options[@]}"; }
start_replace() { exec dompool image import app /var/tmp/other.save --base base --replace "${disk_options[@]}"; }

image_id() { json "$(dompool image show "$1" --json 2>/dev/null || echo '{}')" '$.image.id'; }
image_names() { dompool image list --json | grep -oE '"name": *"[a-z]+"' | sed 's/.*"\([a-z]*\)"$/\1/' | sort | xargs; }
image_files() { find "$STATE/images" -type f | wc -l; }
files_are() { [[ $(image_files) == "$1" ]]; }
no_image_helper() { ! pgrep -xc dompool-image >/dev/null; }

# Either state, and nothing between or beside.
expect_settled() { # OPERATION ROUND ID_BEFORE
    local names outcome=before
    wait_until 30 "helpers end ($1, round $2)" no_image_helper
    names=$(image_names)
    case $1,$names in
    replace,"app base") [[ $(image_id app) == "$3" ]] || outcome=after ;;
    *,"app base") ;;
    import,"app base new" | capture,"app base new") outcome=after ;;
    *) fail "images after a killed $1 (round $2): $names" ;;
    esac
    wait_until 30 "one file an image ($1, round $2): $(ls -a "$STATE/images")" files_are "$(wc -w <<<"$names")"
    for image in $names; do
        dompool image verify "$image" >/dev/null || fail "image $image is damaged by a killed $1 (round $2)"
    done
    ended[$1 - $outcome]=$((${ended[$1 - $outcome]-0} + 1))
    [[ $names != *new* ]] || dompool image rm new >/dev/null || fail "image rm new"
    [[ $1 != replace || $outcome == before ]] || restore_app
}

restore_app() { # `app` as it was, so that the next replacement replaces something
    dompool image import app /var/tmp/app.save --base base --replace "${disk_options[@]}" >/dev/null || fail "app again"
}

goes_on() { # WHEN: the domain that is captured
    local tick
    tick=$(guest_tick "$domid")
    ticked() { (($(guest_tick "$domid") > tick)); }
    wait_until 30 "domain $domid goes on $1" ticked
    expect_equal "leases $1" 1 "$(json "$(dompool list --json)" '$.leases' | grep -o '"lease"' | wc -l)"
}

kill_at() { # OPERATION ROUND VICTIM
    local before pid moment
    before=$(image_id app)
    moment=$((lasts[$1] * $2 / rounds))
    pid=$(daemon_pid)
    "start_$1" >/var/tmp/killed.log 2>&1 &
    sleep "$(awk -v ms="$moment" 'BEGIN {print ms / 1000}')"
    case $3 in
    daemon) kill -KILL "$pid" ;;
    helper) pkill -KILL -x dompool-image || true ;; # it may have ended by now
    esac
    wait $! || true
    [[ $3 != daemon ]] || { wait_until 20 "the daemon is gone" daemon_gone "$pid" && daemon_start; }
    expect_settled "$1" "$2" "$before"
    goes_on "after a killed $1 (round $2, $3)"
}

daemon_gone() { ! kill -0 "$1" 2>/dev/null; }

undisturbed() { # OPERATION: how long it takes
    local start before
    before=$(image_id app)
    start=$(now_ms)
    ("start_$1") >/var/tmp/undisturbed.log 2>&1 || fail "$1: $(cat /var/tmp/undisturbed.log)"
    lasts[$1]=$(($(now_ms) - start))
    note "$1 takes ${lasts[$1]} ms"
    expect_settled "$1" 0 "$before"
}

saved_lease() { # NAME FILE: another state of the base's guest, as a save file
    dompool allocate base --name "$1" --wait 120s >/dev/null || fail "allocate"
    # Awake, and not just ticking: Linux passes over a request to suspend while it is still waking up.
    expect_healthy "$(xl domid "$1")" 1 2
    xl save "$1" "$2" >/var/tmp/xl.log 2>&1 || fail "xl save: $(tail -n 3 /var/tmp/xl.log)"
    dompool release "$1" >/dev/null || fail "release of a saved lease"
}

make_save pv 160 1 2
resources_mark
daemon_start
dompool image import base /var/tmp/g.save >/dev/null || fail "import"
dompool pool set base min=1 >/dev/null
saved_lease first /var/tmp/app.save
saved_lease second /var/tmp/other.save
dompool image import app /var/tmp/app.save --base base "${disk_options[@]}" >/dev/null || fail "import of app"
dompool allocate base --name survivor --wait 120s >/dev/null || fail "allocate"
domid=$(xl domid survivor)
expect_healthy "$domid" 1 2

for operation in import capture replace; do
    undisturbed "$operation"
    for ((round = 1; round <= rounds; round++)); do
        kill_at "$operation" "$round" daemon
        kill_at "$operation" "$round" helper
    done
    in_time=${ended[$operation - before]-0}
    note "$operation: killed $((2 * rounds)) times, $in_time times with the state before, else it was through"
    ((in_time >= rounds / 2)) || fail "hardly a kill of $operation came in time: $in_time"
done

expect_healthy "$domid" 1 2
dompool release --all >/dev/null || fail "release --all"
dompool image rm app >/dev/null && dompool image rm base >/dev/null || fail "image rm"
daemon_stop
expect_nothing_left
xen_log_clean
rm -rf "$STATE" /var/tmp/*.save
echo "kill-images: all is well"
