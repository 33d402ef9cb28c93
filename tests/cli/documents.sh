#!/usr/bin/env bash
# shellcheck disable=SC1091,SC2016 # lib.sh is checked by itself; $0 is for the inner shell
# What the command table makes: manual pages without a warning, completion that bash takes.
set -u
. "$(dirname "$0")/lib.sh"

docs=$BINARY/docs
case_is "dompool(1) names every command"
"$DOMPOOL" help | sed -n '/^commands:/,/^$/s/^  \([a-z]\{1,\}\( [a-z]\{1,\}\)\{0,1\}\)  .*/\1/p' >"$T/commands"
[ "$(wc -l <"$T/commands")" -ge 15 ] || problem "dompool help lists too few commands"
while read -r words; do
    [ "$(grep -cx ".Cm $words" "$docs/dompool.1")" -ge 2 ] || problem "$words"
done <"$T/commands"

case_is "no template is left unfilled"
if grep -n '@insert\|@[A-Z_]*@' "$docs"/*.[1-8] "$docs/dompool.conf" "$docs/dompool.bash"; then
    problem "a marker in a document"
fi

case_is "dompool(1) says what each command prints with --json"
while read -r words; do
    [ "$words" = help ] || grep -qx ".It Cm $words" "$docs/dompool.1" || problem "$words"
done <"$T/commands"

case_is "a table that does not exist"
printf '.\\" @insert frobnicate\n' >"$T/template"
run 1 "$docs/document" "$T/template" "$SOURCE/pool/core/io.dompool.varlink"
err_has "no table is called frobnicate"

case_is "the methods of the command table are in the interface"
sed -n 's/^\.Sy \([A-Za-z]*\) \.$/\1/p' "$docs/dompool.1" >"$T/methods"
[ "$(wc -l <"$T/methods")" -ge 10 ] || problem "too few methods"
while read -r method; do
    grep -qx ".Ss $method" "$docs/io.dompool.7" || problem "$method"
done <"$T/methods"

case_is "manual pages"
if command -v mandoc >/dev/null; then
    for page in "$docs"/*.[1-8]; do
        [ -e "$page" ] || continue
        run 0 mandoc -Tlint -W warning "$page"
        out_is </dev/null
    done
fi

case_is "dompoold(8) has the keys of saved configurations"
for key in c_info pool_name vcpu_hard_affinity xenstore_quota slack_memkb pvshim msr_relaxed cap is_cdrom; do
    grep -Eq "^\.It Cm (.* )?$key( |\$)" "$docs/dompoold.8" || problem "$key"
done

case_is "dompoold(8) names every option"
if [ -x "${DOMPOOLD:-}" ]; then
    run 0 "$DOMPOOLD" --help
    sed -n 's/^  --\([a-z-]*\).*/\1/p' "$T/out" >"$T/options"
    [ -s "$T/options" ] || problem "no options in dompoold --help"
    while read -r option; do
        grep -q "^.It Fl -$option" "$docs/dompoold.8" || problem "--$option is missing"
    done <"$T/options"
fi

cp "$docs/dompool.bash" "$T/completion"
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

offers() {
    wanted_words=$1
    shift
    case_is "completion of: $*"
    run 0 bash "$T/complete" "$T/completion" "$@"
    echo "$wanted_words" | out_is
}

cd "$T" || exit 1
touch file.save
offers "allocate" al
offers "adopt capture diff export import list rm show verify" image ""
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
