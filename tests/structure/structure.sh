#!/usr/bin/env bash
# scripts/check-structure judges small trees, made here: a sound one, and for each rule one that
# breaks it.
#
#     structure.sh CHECK-STRUCTURE
set -euo pipefail
check=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failures=0

# The sound tree: two rooms, "low" and "high", and what each rule lets pass.
begin() { # NAME
    name=$1
    rm -rf "$dir/tree"
    mkdir -p "$dir/tree/low" "$dir/tree/high"
    git -C "$dir/tree" init -q
    : >"$dir/except"
    cat >"$dir/rooms" <<END
target low STATIC_LIBRARY
source low $dir/tree/low/list.c
target high STATIC_LIBRARY
source high $dir/tree/high/shop.c
link high low
END
    file low/list.h 'struct list { int n; };' '#define LIST_MAX 3' 'int list_add(struct list *l);' \
        'extern int (*list_full)(void);' 'int list_spare(void) __attribute__((weak));'
    file low/list.c '#include "low/list.h"' 'int (*list_full)(void);' \
        'int list_add(struct list *l) { return l->n < LIST_MAX ? l->n++ : list_full(); }'
    file high/shop_private.h '#include "high/shop.h"' 'int shop_wait(struct shop *s);'
    file high/shop.h '#include "low/list.h"' 'struct shop { struct list queue; };' \
        'int shop_open(struct shop *s);'
    file high/shop.c '#include "high/shop_private.h"' 'static int full(void) { return 7; }' \
        'int shop_open(struct shop *s) { list_full = full; return list_spare ? list_add(&s->queue) : 0; }' \
        'int shop_wait(struct shop *s) { return shop_open(s); }' \
        'int list_spare(void) { return 0; }'
}

file() { # PATH LINE...
    mkdir -p "$(dirname "$dir/tree/$1")"
    printf '%s\n' "${@:2}" >"$dir/tree/$1"
}

append() { # PATH LINE...
    printf '%s\n' "${@:2}" >>"$dir/tree/$1"
}

judge() {
    status=0
    "$check" --rooms "$dir/rooms" --except "$dir/except" "$dir/tree" >"$dir/out" 2>&1 || status=$?
}

problem() { # TEXT
    failures=$((failures + 1))
    echo "FAILED: $name: $1"
    sed 's/^/    /' "$dir/out"
}

passes() {
    judge
    [[ $status == 0 && ! -s $dir/out ]] || problem "exit status $status; it should pass"
}

# These faults and no other; what follows a fault indented is its way round.
fails() { # LINE...
    judge
    [[ $status == 1 ]] || problem "exit status $status, not 1"
    printf '%s\n' "${@/#/check-structure: }" | sed 's/^check-structure: \(    \)/\1/' >"$dir/wanted"
    diff "$dir/wanted" "$dir/out" >/dev/null || problem "not only, or not: $*"
}

lines() { # NUMBER
    for ((i = 0; i < $1; i++)); do echo ";"; done
}

begin "sound"
passes

begin "includes in a circle"
file low/node.h '#include "low/list.h"' 'struct node { struct list l; };'
file low/list.h '#include "low/node.h"' 'struct list { struct node *first; int n; };' '#define LIST_MAX 3' \
    'int list_add(struct list *l);' 'extern int (*list_full)(void);' \
    'int list_spare(void) __attribute__((weak));'
fails 'a circle of includes: low/list, low/node' \
    '    low/list.h includes low/node.h' '    low/node.h includes low/list.h'

begin "functions in a circle, which includes do not show"
append low/list.h 'int node_kept(void);' 'int list_end(void);'
append low/list.c 'int list_end(void) { return node_kept(); }'
file low/node.c '#include "low/list.h"' 'int node_kept(void) { return list_add(0); }'
fails 'a circle of functions: low/list, low/node' \
    '    low/list.c needs node_kept of low/node.c' '    low/node.c needs list_add of low/list.c'

begin "functions in a circle, one through a macro"
append low/list.h 'int node_kept(void);' '#define NODE_KEPT() (node_kept() + 1)' 'int list_end(void);'
append low/list.c 'int list_end(void) { return NODE_KEPT(); }'
file low/node.c '#include "low/list.h"' 'int node_kept(void) { return list_add(0); }'
fails 'a circle of functions: low/list, low/node' \
    '    low/list.c needs node_kept of low/node.c' '    low/node.c needs list_add of low/list.c'

begin "folders in a circle, files in none"
file high/word.h '#define WORD 1'
file low/other.c '#include "high/word.h"' 'int other = WORD;'
sed -i "s|^link .*|source low $dir/tree/low/other.c\n&\nlink low high|" "$dir/rooms"
fails 'a circle of folders: high, low' \
    '    high/shop.c needs list_add of low/list.c' '    low/other.c includes high/word.h'

begin "an arrow that the build does not have"
sed -i '/^link/d' "$dir/rooms"
fails 'high/shop.h includes low/list.h, but its target high does not link low'

begin "an arrow by way of another room"
printf '%s\n' 'target middle STATIC_LIBRARY' 'public middle low' >>"$dir/rooms"
sed -i 's/^link .*/link high middle/' "$dir/rooms"
passes

begin "a link that is not passed on"
printf '%s\n' 'target middle STATIC_LIBRARY' 'link middle low' >>"$dir/rooms"
sed -i 's/^link high .*/link high middle/' "$dir/rooms"
fails 'high/shop.h includes low/list.h, but its target high does not link low'

begin "a source in no target, with a constant of another folder"
file guest/guest.h 'int guest_say(void);'
file guest/guest.c '#include "guest/guest.h"' '#include "low/list.h"' 'int guest_say(void) { return LIST_MAX; }'
file guest/main.c '#include "guest/guest.h"' 'int main(void) { return guest_say(); }'
passes

begin "a source in no target, with a function of another folder"
file guest/guest.c '#include "low/list.h"' 'int main(void) { return list_add(0); }'
fails 'guest/guest.c needs list_add of low/list.c, but is in no target'

begin "faults below tests"
file tests/sim/sim.h 'int sim_run(void);' 'int sim_fail(void);'
file tests/sim/run.c '#include "tests/sim/sim.h"' '#include "low/list.h"' 'int sim_run(void) { return sim_fail(); }'
file tests/sim/fail.c '#include "tests/sim/sim.h"' 'int sim_fail(void) { return sim_run(); }'
file tests/sim/long.c "$(lines 801)"
printf '%s\n' 'target sim EXECUTABLE' "source sim $dir/tree/tests/sim/run.c" >>"$dir/rooms"
fails 'a circle of functions: tests/sim/fail, tests/sim/run' \
    '    tests/sim/fail.c needs sim_run of tests/sim/run.c' '    tests/sim/run.c needs sim_fail of tests/sim/fail.c' \
    'tests/sim/run.c includes low/list.h, but its target sim does not link low' \
    'tests/sim/run.c includes low/list.h and uses nothing that it declares' \
    'tests/sim/long.c has 801 lines, more than 800'

begin "an include that is not needed"
file low/unit.h '#define UNIT_KIB 1024' 'struct unit;' 'int unit_read(struct unit *u);'
append low/list.c '#include "low/unit.h"' 'static const char word[] = "UNIT_KIB"; /* unit_read */'
fails 'low/list.c includes low/unit.h and uses nothing that it declares'

begin "an include that a header does not need, though its source does"
file low/unit.h '#define UNIT_KIB 1024'
file low/list.h '#include "low/unit.h"' "$(cat "$dir/tree/low/list.h")"
append low/list.c 'int list_kib = UNIT_KIB;'
fails 'low/list.h includes low/unit.h and uses nothing that it declares'

begin "includes that a header needs: a member's type, a pointer's, a size"
file low/unit.h 'struct unit { int n; };'
file low/kib.h 'struct kib { int n; };'
file low/size.h '#define SIZE 3'
file low/pair.h '#include "low/kib.h"' '#include "low/size.h"' '#include "low/unit.h"' \
    'struct pair { struct unit u; int n[SIZE]; };' 'int pair_add(struct kib *k);'
passes

begin "an include for the sake of what it includes"
file low/unit.h '#include "low/kib.h"' 'int unit_read(struct kib *k);'
file low/kib.h 'struct kib { int n; };'
append low/list.c '#include "low/unit.h"' 'static struct kib k;'
fails 'low/list.c includes low/unit.h and uses nothing that it declares; what it uses is in low/kib.h'

begin "a header that stands for others"
file low/low.h '#include "low/kib.h"'
file low/kib.h 'struct kib { int n; };'
append low/list.c '#include "low/low.h"' 'static struct kib k;'
passes

begin "a header that stands for others, with a guard"
file low/low.h '#ifndef LOW_H' '#define LOW_H' '#include "low/kib.h"' '#endif'
file low/kib.h 'struct kib { int n; };'
append low/list.c '#include "low/low.h"' 'static struct kib k;'
passes
file low/list.c '#include "low/list.h"' '#include "low/low.h"' 'int (*list_full)(void);' \
    'int list_add(struct list *l) { return l->n < LIST_MAX ? l->n++ : list_full(); }'
fails 'low/list.c includes low/low.h and uses nothing that it declares'

begin "a header that stands for the system's"
file low/low.h '#ifndef LOW_H' '#define LOW_H' '#include <stdio.h>' '#endif'
append low/list.c '#include "low/low.h"' 'static FILE *f;'
passes
append low/low.h '#define LOW 1' # of its own
fails 'low/list.c includes low/low.h and uses nothing that it declares'

begin "includes for an announced type, a pasted name, a member"
file low/unit.h 'struct unit;'
file low/answer.h '#define ANSWER_ENUM(sym) ANSWER_##sym,' '#define ANSWERS(X) X(YES) X(NO)' \
    'enum answer { ANSWERS(ANSWER_ENUM) };'
file low/pair.h 'struct pair { int left, right; };'
file low/holder.h '#include "low/pair.h"' 'struct holder { struct pair *pair; };'
append low/list.c '#include "low/unit.h"' '#include "low/answer.h"' '#include "low/holder.h"' \
    '#include "low/pair.h"' 'static struct unit *u;' 'static int a = ANSWER_NO;' \
    'static int left(struct holder *h) { return h->pair->left; }'
passes

begin "an exception, and one that is none any more"
file low/unit.h '#define UNIT_KIB 1024'
append low/list.c '#include "low/unit.h"'
echo 'low/list.c low/unit.h # it sets what the system headers offer' >"$dir/except"
passes
echo 'low/list.c low/list.h # once' >>"$dir/except"
fails 'low/list.c and low/list.h are excepted from the check, but need not be'

begin "names that two files may have: static ones, announced ones, a test's, each program's main"
file base/node.h 'struct node { int n; };' 'int node_end(struct node *n);'
file base/node.c '#include "base/node.h"' 'static int one(void) { return 1; }' \
    'int node_end(struct node *n) { return n->n + one(); }'
file guest/guest.h 'struct node;' 'int guest_say(struct node *n);'
file guest/guest.c '#include "guest/guest.h"' 'static int one(void) { return 1; }' \
    'int guest_say(struct node *n) { return n ? one() : 0; }' 'int main(void) { return guest_say(0); }'
file cli/main.c 'int main(void) { return 0; }'
file tests/sim/fake.c 'struct node { int fake; };' 'int node_end(struct node *n) { return n->fake; }'
passes

begin "names that two files have"
file base/node.h 'struct node { int n; };' 'int node_end(struct node *n);'
file base/node.c '#include "base/node.h"' 'enum place { HERE };' 'int node_end(struct node *n) { return n->n; }'
file cli/lease.c 'struct place { int n; };' 'struct node { int n; };'
file guest/guest.c 'struct place { int n; };' 'int node_end(void) { return 0; }'
fails 'the function node_end is defined in base/node.c and guest/guest.c' \
    'the tag node is defined in base/node.h and cli/lease.c' \
    'the tag place is defined in base/node.c and cli/lease.c and guest/guest.c'

begin "functions at the limit, and above"
append low/list.c 'static int f(void)' '{' "$(lines 57)" '}' 'static int g(void)' '{' "$(lines 58)" '}'
file tool.sh '#!/bin/sh' 'f() {' "$(lines 58)" '}' 'g() {' "$(lines 59)" '}'
fails 'low/list.c:64: g has 61 lines, more than 60' 'tool.sh:62: g has 61 lines, more than 60'

begin "files at the limit, and above"
file low/long.h "$(lines 799)" '#define A'
file low/longer.h "$(lines 800)" '#define B'
file tool "#!/usr/bin/env bash" "$(lines 800)" ':'
fails 'low/longer.h has 801 lines, more than 800' 'tool has 802 lines, more than 800'

begin "lines at the limit, and above"
columns=$(printf '%0100d' 0)
file low/wide.h "/* ${columns:6} */" "#define A" "/* ${columns:5} */"
file guide.md "$columns" "${columns}0" "|${columns}|"
fails 'guide.md:2 has 101 columns, more than 100' 'low/wide.h:3 has 101 columns, more than 100'

if ((failures > 0)); then
    echo "$failures failures"
    exit 1
fi
