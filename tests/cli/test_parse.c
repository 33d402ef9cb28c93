/*
 * The parser: the command table holds together, and properties that every command line has.
 *
 *   - where the options stand does not matter
 *   - "--name value" and "--name=value" are the same
 *   - behind "--" everything is a word
 *   - no line, however odd, does more than being refused
 */
#include "cli/command.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARGC_MAX 24

/* ---- the table ---- */

static void check_options(const struct option_spec *o)
{
    for (; o && o->name; o++) {
        assert_int_equal(strspn(o->name, "abcdefghijklmnopqrstuvwxyz-"), strlen(o->name));
        assert_int_equal(o->kind == OPTION_FLAG, o->value == NULL);
        assert_true(*o->summary && o->summary[strlen(o->summary) - 1] != '.');
    }
}

static void table_rows(void **state)
{
    (void)state;
    check_options(common_options);
    for (size_t i = 0; i < n_commands; i++) {
        const struct command *c = &commands[i];
        assert_ptr_equal(command_find(c->name), c);
        assert_non_null(c->run);
        assert_non_null(c->args);
        assert_non_null(c->details);
        assert_true(c->min_args <= c->max_args);
        assert_int_equal(*c->args != '\0', c->max_args > 0);
        assert_int_equal(strstr(c->args, "...") != NULL, c->max_args == UINT_MAX);
        assert_true(c->summary[strlen(c->summary) - 1] != '.');
        check_options(c->options);
    }
}

/* An option takes a value everywhere or nowhere, so it can stand before its command. */
static void table_kinds(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_commands; i++)
        for (const struct option_spec *a = commands[i].options; a && a->name; a++) {
            for (const struct option_spec *o = common_options; o->name; o++)
                assert_string_not_equal(a->name, o->name);
            for (size_t k = 0; k < n_commands; k++)
                for (const struct option_spec *b = commands[k].options; b && b->name; b++)
                    if (!strcmp(a->name, b->name))
                        assert_int_equal(a->value == NULL, b->value == NULL);
        }
}

/* ---- properties ---- */

struct line {
    char *argv[ARGC_MAX];
    int argc;
};

static void line_add(struct line *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void line_add(struct line *l, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    assert_true(l->argc < ARGC_MAX);
    assert_true(vasprintf(&l->argv[l->argc++], fmt, ap) >= 0);
    va_end(ap);
}

static void line_dispose(struct line *l)
{
    for (int i = 0; i < l->argc; i++)
        free(l->argv[i]);
    l->argc = 0;
}

static size_t dice(size_t sides)
{
    return (size_t)random() % sides;
}

struct chosen {
    const struct option_spec *spec;
    char value[32];
};

static void choose_value(struct chosen *c, size_t nth)
{
    static const char *const durations[] = {"500ms", "10s", "5m", "2h", "0"};
    if (c->spec->kind == OPTION_DURATION)
        snprintf(c->value, sizeof c->value, "%s", durations[dice(5)]);
    else if (c->spec->kind == OPTION_PAIR)
        snprintf(c->value, sizeof c->value, "k%zu=--v=%zu", nth, dice(10));
    else
        snprintf(c->value, sizeof c->value, "%s%zu", dice(2) ? "" : "-", 1 + dice(10));
}

/* A valid line of a command: the options in the order chosen, anywhere among the words. */
static void line_make(struct line *l, const struct command *c, size_t n_words,
                      const struct chosen *options, size_t n_options)
{
    char name[64], *rest = name, *part;
    char words[8][64];
    size_t n = 0, w = 0, o = 0;
    snprintf(name, sizeof name, "%s", c->name);
    while ((part = strsep(&rest, " ")))
        snprintf(words[n++], sizeof words[0], "%s", part);
    for (size_t i = 0; i < n_words; i++)
        snprintf(words[n++], sizeof words[0], "w%zu=%zu", i, i);
    while (w < n || o < n_options) {
        bool option = o < n_options && (w == n || dice(2));
        if (!option)
            line_add(l, "%s", words[w++]);
        else if (!options[o].spec->value)
            line_add(l, "--%s", options[o++].spec->name);
        else if (dice(2))
            line_add(l, "--%s=%s", options[o].spec->name, options[o].value), o++;
        else {
            line_add(l, "--%s", options[o].spec->name);
            line_add(l, "%s", options[o++].value);
        }
    }
}

static size_t choose_options(const struct command *c, struct chosen *out, size_t max)
{
    const struct option_spec *all[16];
    size_t n_all = 0, n = 0;
    for (const struct option_spec *o = c->options; o && o->name; o++)
        all[n_all++] = o;
    for (const struct option_spec *o = common_options; o->name; o++)
        if (strcmp(o->name, "help") && strcmp(o->name, "version"))
            all[n_all++] = o;
    for (size_t want = dice(max + 1); n < want; n++) {
        out[n].spec = all[dice(n_all)];
        choose_value(&out[n], n);
    }
    return n;
}

static void any_order(void **state)
{
    (void)state;
    srandom(2);
    for (int round = 0; round < 20000; round++) {
        const struct command *c = &commands[dice(n_commands)];
        struct chosen options[5];
        size_t n_options = choose_options(c, options, 5);
        size_t most = c->max_args < 4 ? c->max_args : 4;
        size_t n_words = c->min_args + dice(most - c->min_args + 1);
        struct line l = {0};
        line_make(&l, c, n_words, options, n_options);
        struct invocation inv;
        struct error e = {0};
        if (invocation_parse(l.argc, l.argv, &inv, &e))
            fail_msg("%s: %s", c->name, e.text);
        assert_ptr_equal(inv.command, c);
        assert_int_equal(inv.n_args, n_words);
        for (size_t i = 0; i < n_words; i++) {
            char word[64];
            snprintf(word, sizeof word, "w%zu=%zu", i, i);
            assert_string_equal(inv.args[i], word);
        }
        assert_int_equal(inv.n_values, n_options);
        for (size_t i = 0; i < n_options; i++) {
            assert_string_equal(inv.values[i].spec->name, options[i].spec->name);
            if (options[i].spec->value)
                assert_string_equal(inv.values[i].text, options[i].value);
        }
        invocation_dispose(&inv);
        line_dispose(&l);
    }
}

static void odd_lines(void **state)
{
    (void)state;
    static const char *const parts[] = {
        "allocate", "image",   "import", "list", "--ttl", "--ttl=5m", "5m",  "--meta", "a=b",
        "--",       "-",       "",       "=",    "--=",   "---",      "-h",  "--help", "--json",
        "--json=1", "release", "--all",  "call", "{}",    "\xff",     "set", "pool",   "--version",
    };
    srandom(3);
    for (int round = 0; round < 50000; round++) {
        struct line l = {0};
        for (size_t n = dice(8); n; n--)
            line_add(&l, "%s", parts[dice(sizeof parts / sizeof *parts)]);
        struct invocation inv;
        struct error e = {0};
        int status = invocation_parse(l.argc, l.argv, &inv, &e);
        assert_true(status == STATUS_DONE || status == STATUS_USAGE);
        assert_int_equal(status != STATUS_DONE, e.text[0] != '\0');
        if (status == STATUS_DONE && !option_given(&inv, "help") && !option_given(&inv, "version"))
            assert_non_null(inv.command);
        invocation_dispose(&inv);
        line_dispose(&l);
    }
}

/* ---- by example ---- */

static void examples(void **state)
{
    (void)state;
    char *argv[] = {"--ttl", "5m",     "--socket=/x", "allocate", "web", "--ttl",
                    "500ms", "--json", "--meta",      "a=",       "--",  "--hold"};
    struct invocation inv;
    struct error e = {0};
    assert_int_equal(invocation_parse(11, argv, &inv, &e), STATUS_DONE);
    assert_string_equal(inv.command->name, "allocate");
    assert_int_equal(inv.n_args, 1);
    assert_int_equal(option_last(&inv, "ttl")->ms, 500); /* the last one wins */
    assert_string_equal(option_text(&inv, "socket"), "/x");
    assert_string_equal(option_text(&inv, "meta"), "a=");
    assert_true(inv.json);
    assert_false(option_given(&inv, "hold"));
    invocation_dispose(&inv);
    assert_int_equal(invocation_parse(12, argv, &inv, &e), STATUS_USAGE); /* "--hold", a word */
    invocation_dispose(&inv);
    assert_int_equal(pair_key_length("a=b=c"), 1);
    assert_int_equal(pair_key_length("=b"), 0);
    assert_int_equal(pair_key_length("ab"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_rows), cmocka_unit_test(table_kinds), cmocka_unit_test(any_order),
        cmocka_unit_test(odd_lines),  cmocka_unit_test(examples),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
