# For the shell tests: sourced with DOMPOOL (the command) and FAKE (the scripted daemon) set.
# shellcheck shell=bash

T=$(mktemp -d "${TMPDIR:-/tmp}/dompool-test-XXXXXX")
trap 'rm -rf "$T"' EXIT
: >"$T/failures" # a line each; a file, because checks at the end of a pipe run in a subshell
: >"$T/out"
: >"$T/err"
unset DOMPOOL_SOCKET

# case_is NAME: what the following checks are about.
case_is() {
    case_name=$1
}

problem() {
    echo "$case_name" >>"$T/failures"
    printf 'FAILED: %s: %s\n' "$case_name" "$1"
    sed 's/^/  stdout: /' "$T/out"
    sed 's/^/  stderr: /' "$T/err"
}

# run STATUS COMMAND...: keeps stdout and stderr, checks the exit status.
run() {
    wanted=$1
    shift
    status=0
    "$@" >"$T/out" 2>"$T/err" </dev/null || status=$?
    [ "$status" = "$wanted" ] || problem "exit status $status instead of $wanted: $*"
}

# The same through the scripted daemon: fake STATUS SCRIPT ARGUMENT...
fake() {
    wanted=$1 script=$2
    shift 2
    run "$wanted" "$FAKE" "$script" "$DOMPOOL" "$@"
    if grep -n ' $' "$T/out" >/dev/null; then problem "a line ends with a space"; fi
}

# out_is / err_is: compare with standard input. out_has / err_has TEXT: a line holds it.
out_is() {
    cat >"$T/wanted"
    diff -u "$T/wanted" "$T/out" || problem "stdout differs"
}

err_is() {
    cat >"$T/wanted"
    diff -u "$T/wanted" "$T/err" || problem "stderr differs"
}

out_has() {
    grep -qF -- "$1" "$T/out" || problem "stdout lacks: $1"
}

err_has() {
    grep -qF -- "$1" "$T/err" || problem "stderr lacks: $1"
}

# No control character but the newline in what was printed.
out_plain() {
    if LC_ALL=C grep -q '[[:cntrl:]]' "$T/out" "$T/err"; then problem "control characters"; fi
}

finish() {
    if [ -s "$T/failures" ]; then
        echo "$(wc -l <"$T/failures") failures"
        exit 1
    fi
}
