#!/bin/sh
# shellcheck disable=SC1091,SC2016 # lib.sh is checked by itself; $0 is for the inner shell
# What the command table makes: manual pages without a warning, completion that bash takes.
set -u
. "$(dirname "$0")/lib.sh"

"$DOMPOOL" help --man >"$T/dompool.1"
case_is "dompool(1) names every command"
for words in "image import" "image list" "image show" "image rm" allocate release list trace status \
    "pool show" "pool set" "pool wait" "config show" call help; do
    [ "$(grep -cx ".Cm $words" "$T/dompool.1")" -ge 2 ] || problem "$words"
done
case_is "dompool(1) hides what the build alone needs"
if grep -q -- '-completion' "$T/dompool.1"; then problem "help --completion"; fi

case_is "manual pages"
if command -v mandoc >/dev/null; then
    for page in "$T/dompool.1" "$BINARY"/docs/*.[1-8]; do
        [ -e "$page" ] || continue
        run 0 mandoc -Tlint -W warning "$page"
        out_is </dev/null
    done
fi

case_is "dompoold(8) names every option"
if [ -x "${DOMPOOLD:-}" ]; then
    run 0 "$DOMPOOLD" --help
    sed -n 's/^  --\([a-z-]*\).*/\1/p' "$T/out" >"$T/options"
    [ -s "$T/options" ] || problem "no options in dompoold --help"
    while read -r option; do
        grep -q "^.It Fl -$option" "$BINARY/docs/dompoold.8" || problem "--$option is missing"
    done <"$T/options"
fi

"$DOMPOOL" help --completion >"$T/completion"
case_is "completion: syntax"
run 0 bash -n "$T/completion"
if command -v shellcheck >/dev/null; then run 0 shellcheck -s bash "$T/completion"; fi

# complete WORD... : what bash would offer for the last word.
cat >"$T/complete" <<'END'
. "$1"
shift
dompool()
{
    case $* in
    "image list") printf '%s\n' "IMAGE  GUEST" "web    pvh" "db     pv" '$(touch${IFS}pwned)  pv' ;;
    list) printf '%s\n' "SLOT  IMAGE  STATE  DOMID  DOMAIN" "s1  web  leased  1  web-1" "s2  web  warm  2  w" ;;
    call*) printf '{\n  "description": "%s"\n}\n' 'interface io.dompool\n\nmethod Status() -> (\n' ;;
    esac
}
COMP_WORDS=(dompool "$@")
COMP_CWORD=$#
_dompool
echo "${COMPREPLY[*]}"
END

offers()
{
    wanted_words=$1
    shift
    case_is "completion of: $*"
    run 0 bash "$T/complete" "$T/completion" "$@"
    echo "$wanted_words" | out_is
}

cd "$T" || exit 1
touch file.save
offers "allocate" al
offers "import list rm show" image ""
offers "--meta" allocate --me
offers "--ttl" allocate web --tt
offers "web" allocate w
offers "db web" --socket /x allocate --ttl 5m ""
offers "db web" image rm web ""
offers "web-1" release ""
offers "web-1" trace ""
offers "file.save" image import web fil
offers "--no-wait" release --n
offers "Status" call S
offers "wait" pool w
offers "" list ""
[ -e pwned ] && problem "a name was run"

finish
