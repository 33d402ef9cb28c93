#!/usr/bin/env bash
# shellcheck disable=SC1091,SC2016 # lib.sh is checked by itself; $0 is for the inner shell
# Wrong command lines, an unreachable daemon, help: no daemon is asked in any of these.
set -u
. "$(dirname "$0")/lib.sh"

usage() {
    text=$1
    shift
    case_is "usage: $*"
    run 64 "$DOMPOOL" --socket "$T/none" "$@"
    [ -s "$T/out" ] && problem "something on stdout"
    err_has "dompool: $text"
    err_has "usage: dompool "
}

usage "no command given"
usage "unknown command frobnicate" frobnicate
usage "image is a group of commands: \`dompool help image\` lists them" image
usage "unknown command image frobnicate" image frobnicate
usage "unknown option --frobnicate" list --frobnicate
usage "unknown option --frobnicate=1" list --frobnicate=1
usage "unknown option -x" list -x
usage "list has no option --ttl" list --ttl 5m
usage "list has no option --ttl" --ttl 5m list
usage "allocate: arguments are missing" allocate
usage "allocate: one argument too many: b" allocate a b
usage "allocate: argument 1 is empty" allocate ""
usage "option --hold takes no value" allocate a --hold=yes
usage "option --ttl needs a value: --ttl DURATION" allocate a --ttl
usage "--ttl 5x: not a duration like 500ms, 10s, 5m or 2h" allocate a --ttl 5x
usage "--ttl : not a duration" allocate a --ttl=
usage "--wait -1s: not a duration" allocate a --wait -1s
usage "--name: the value is empty" allocate a --name=
usage "--socket: the value is empty" list --socket=
usage "--meta x: not of the form KEY=VALUE" allocate a --meta x
usage "--meta =x: not of the form KEY=VALUE" allocate a --meta =x
usage "--meta: k is given twice" allocate a --meta k=1 --meta k=2
usage "--disk xvda: not of the form VDEV=SPEC" image import a b --disk xvda
usage "image import: an argument is missing" image import a
usage "image rm: arguments are missing" image rm
usage "pool set: an argument is missing" pool set a
usage "pool set: min is not of the form KEY=VALUE" pool set a min
usage "pool set: min is given twice" pool set a min=1 min=2
usage "pool show: one argument too many: b" pool show a b
usage "release: name the leases, or give --all" release
usage "release: give either names or --all, not both" release --all a
usage "trace: arguments are missing" trace
usage "trace: one argument too many: l2" trace l1 l2
usage "call: the parameters are not JSON: " call Status '{'
usage "call: the parameters are not a JSON object" call Status '[]'
usage "help: unknown command frobnicate" help frobnicate
usage "list: one argument too many: --json" list -- --json
usage "argument 4 is not UTF-8 text" allocate "$(printf '\377')"

case_is "control characters of the command line"
run 64 "$DOMPOOL" "$(printf 'a\033[31mb')"
err_has "unknown command a?[31mb"
out_plain

case_is "no daemon"
run 2 "$DOMPOOL" --socket "$T/none" list
err_is <<END
dompool: cannot reach the daemon at $T/none: No such file or directory; is dompoold running? Start it (systemctl start dompool), or name its socket with --socket or DOMPOOL_SOCKET
END
case_is "no daemon, by the environment"
run 2 env DOMPOOL_SOCKET="$T/other" "$DOMPOOL" status
err_has "cannot reach the daemon at $T/other: "
case_is "no daemon, by default"
run 2 env DOMPOOL_SOCKET= "$DOMPOOL" list --socket=/nonexistent/x
err_has "cannot reach the daemon at /nonexistent/x: "
case_is "path too long"
run 2 "$DOMPOOL" status --socket "/$(printf '%0200d' 0)"
err_has "File name too long"

for words in "" "image import" "image list" "image show" "image rm" allocate release list trace status \
    "pool show" "pool set" "pool wait" "config show" call help; do
    case_is "help: $words"
    # shellcheck disable=SC2086 # words are words
    run 0 "$DOMPOOL" $words --help
    cp "$T/out" "$T/by_option"
    out_has "usage: dompool "
    out_has "--socket PATH"
    # shellcheck disable=SC2086
    run 0 "$DOMPOOL" help $words
    out_is <"$T/by_option"
    if grep -n ' $' "$T/out"; then problem "a line ends with a space"; fi
done

case_is "help of a group"
run 0 "$DOMPOOL" image --help
out_has "image import"
if grep -q "pool show" "$T/out"; then problem "another group's command"; fi
case_is "-h"
run 0 "$DOMPOOL" -h
out_has "commands:"
case_is "--version"
run 0 "$DOMPOOL" --version
grep -Eq '^dompool [0-9]+\.[0-9]+\.[0-9]+$' "$T/out" || problem "no version"

case_is "stdout that cannot be written"
run 74 sh -c '"$0" help >/dev/full' "$DOMPOOL"
err_is <<'END'
dompool: cannot write to standard output: No space left on device
END
case_is "stdout closed"
run 74 sh -c '"$0" help >&-' "$DOMPOOL"
err_has "cannot write to standard output"
case_is "reader gone"
run 0 sh -c '{ sleep 0.2; "$0" help; echo $? >"$1"; } | :' "$DOMPOOL" "$T/status"
[ "$(cat "$T/status")" = 74 ] || problem "status $(cat "$T/status") instead of 74"
[ -s "$T/err" ] && problem "a closed pipe is worth no message"

finish
