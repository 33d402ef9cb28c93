/*
 * Completion for bash from the command table. The script needs nothing but bash: no
 * bash-completion package, no jq. Names of images and leases come from the daemon, by the first
 * column of `dompool image list` and the columns of `dompool list`; without a daemon
 * there are none to offer.
 */
#include "cli/document.h"

#include <stdio.h>
#include <string.h>

static const char *const word_names[] = {
    [WORD_NONE] = "none", [WORD_IMAGE] = "image",     [WORD_LEASE] = "lease",
    [WORD_FILE] = "file", [WORD_COMMAND] = "command", [WORD_METHOD] = "method",
};

/* "a b c", the options of a list that take a value, or all of them. */
static void print_options(const struct option_spec *o, bool with_value)
{
    for (; o && o->name; o++)
        if (!document_hidden(o) && (!with_value || o->value))
            printf(" --%s", o->name);
}

/* Every option that takes a value: the word behind it is not a word of the command. */
static void print_valued(void)
{
    printf("_dompool_valued='");
    print_options(common_options, true);
    for (size_t i = 0; i < n_commands; i++)
        print_options(commands[i].options, true);
    printf(" '\n\n");
}

static void print_commands(void)
{
    printf("_dompool_commands='");
    for (size_t i = 0; i < n_commands; i++)
        printf("%s%s", i ? "\n" : "", commands[i].name);
    printf("'\n\n");
}

/* Sets options, first and rest for a command. */
static void print_table(void)
{
    printf("_dompool_table()\n{\n    case $1 in\n");
    for (size_t i = 0; i < n_commands; i++) {
        const struct command *c = &commands[i];
        printf("    '%s') options='", c->name);
        print_options(c->options, false);
        print_options(common_options, false);
        printf("' first=%s rest=%s ;;\n", word_names[c->words[0]], word_names[c->words[1]]);
    }
    printf("    *) options='");
    print_options(common_options, false);
    printf("' first=none rest=none ;;\n    esac\n}\n\n");
}

static const char script[] =
    "_dompool_names()\n"
    "{\n"
    "    # compgen -W expands its list as the shell does: nothing but plain names may pass.\n"
    "    case $1 in\n"
    "    image) dompool image list 2>/dev/null | awk 'NR > 1 { print $1 }' ;;\n"
    "    lease) dompool list 2>/dev/null | awk '\n"
    "        NR == 1 { for (i = 1; i <= NF; i++) column[$i] = i }\n"
    "        NR > 1 && $3 == \"leased\" { print $column[\"DOMAIN\"] }' ;;\n"
    "    command) printf '%s\\n' \"$_dompool_commands\" ;;\n"
    "    method) dompool call org.varlink.service.GetInterfaceDescription \\\n"
    "        '{\"interface\":\"io.dompool\"}' 2>/dev/null |\n"
    "        sed 's/\\\\n/\\n/g' | sed -n 's/^method \\([A-Za-z]*\\)(.*/\\1/p' ;;\n"
    "    esac | grep -x '[A-Za-z0-9._ -]*'\n"
    "}\n"
    "\n"
    "_dompool()\n"
    "{\n"
    "    local current=${COMP_WORDS[COMP_CWORD]} i word kind candidates\n"
    "    local -a words=()\n"
    "    local command='' options first rest\n"
    "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
    "        word=${COMP_WORDS[i]}\n"
    "        if [[ $word == -* ]]; then\n"
    "            [[ $_dompool_valued == *\" $word \"* ]] && ((i++))\n"
    "        elif [[ $word != = ]]; then\n"
    "            words+=(\"$word\")\n"
    "        fi\n"
    "    done\n"
    "    if ((i > COMP_CWORD)); then # the value of an option\n"
    "        mapfile -t COMPREPLY < <(compgen -f -- \"$current\")\n"
    "        return\n"
    "    fi\n"
    "    if grep -qxF -- \"${words[0]} ${words[1]}\" <<<\"$_dompool_commands\"; then\n"
    "        command=\"${words[0]} ${words[1]}\"\n"
    "        words=(\"${words[@]:2}\")\n"
    "    elif grep -qxF -- \"${words[0]}\" <<<\"$_dompool_commands\"; then\n"
    "        command=${words[0]}\n"
    "        words=(\"${words[@]:1}\")\n"
    "    fi\n"
    "    _dompool_table \"$command\"\n"
    "    if [[ $current == -* ]]; then\n"
    "        candidates=$options\n"
    "    elif [[ -z $command ]]; then\n"
    "        candidates=$(awk -v first=\"${words[0]}\" '\n"
    "            first == \"\" { print $1 }\n"
    "            first != \"\" && $1 == first { print $2 }' <<<\"$_dompool_commands\")\n"
    "    else\n"
    "        kind=$rest\n"
    "        ((${#words[@]} == 0)) && kind=$first\n"
    "        if [[ $kind == file ]]; then\n"
    "            mapfile -t COMPREPLY < <(compgen -f -- \"$current\")\n"
    "            return\n"
    "        fi\n"
    "        candidates=$(_dompool_names \"$kind\")\n"
    "    fi\n"
    "    mapfile -t COMPREPLY < <(compgen -W \"$candidates\" -- \"$current\" | sort -u)\n"
    "}\n"
    "\n"
    "complete -o filenames -F _dompool dompool\n";

int document_completion(void)
{
    printf("# Completion of dompool(1) for bash, made by `dompool help --completion`.\n\n");
    print_commands();
    print_valued();
    print_table();
    fputs(script, stdout);
    return STATUS_DONE;
}
