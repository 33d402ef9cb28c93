/* Output: numbers that read, strings that cannot hurt, tables without loose ends. */
#include "cli/grid.h"
#include "cli/members.h"
#include "cli/output.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void numbers(void **state)
{
    (void)state;
    char b[READABLE_SIZE];
    assert_string_equal(readable_bytes(0, b), "0 B");
    assert_string_equal(readable_bytes(1023, b), "1023 B");
    assert_string_equal(readable_bytes(1024, b), "1.0 KiB");
    assert_string_equal(readable_bytes(1536u << 20, b), "1.5 GiB");
    assert_string_equal(readable_bytes((1u << 20) - 1, b), "1.0 MiB");
    assert_string_equal(readable_bytes(UINT64_MAX, b), "16.0 EiB");
    assert_string_equal(readable_us(0, b), "0 us");
    assert_string_equal(readable_us(999, b), "999 us");
    assert_string_equal(readable_us(1000, b), "1.00 ms");
    assert_string_equal(readable_us(123456, b), "123 ms");
    assert_string_equal(readable_us(1234567, b), "1.23 s");
    assert_string_equal(readable_us(UINT64_MAX, b), "18446744073709.55 s");
    assert_string_equal(readable_span(-5, b), "0s");
    assert_string_equal(readable_span(999, b), "0s");
    assert_string_equal(readable_span(61000, b), "1m1s");
    assert_string_equal(readable_span(3600000, b), "1h");
    assert_string_equal(readable_span(90061000, b), "1d1h");
    assert_string_equal(readable_span(INT64_MAX, b), "106751991167d7h");
}

__attribute__((format(printf, 1, 2))) static char *text_format(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *text = text_vformat(fmt, ap);
    va_end(ap);
    return text;
}

static void cleaned(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"", ""},
        {"plain", "plain"},
        {"\x1b[31mred\x07\n\r\t", "?[31mred????"},
        {"a\x7f", "a?"},
        {"\xc2\x9b"
         "31m\xc2\x85",
         "?31m?"}, /* C1: CSI and NEL */
        {"\xe2\x80\xae"
         "evil\xe2\x81\xa6",
         "?evil?"}, /* RLO, LRI */
        {"caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\xa7", "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\xa7"},
        {"\x9b\xff\xc3", "???"}, /* stray and cut bytes */
        {"\xe2\x82", "??"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *text = text_format("%s", rows[i].in);
        assert_string_equal(text, rows[i].out);
        free(text);
    }
}

/* Random bytes: what comes out has no byte that a terminal acts upon. */
static void cleaned_random(void **state)
{
    (void)state;
    srandom(1);
    for (int round = 0; round < 20000; round++) {
        char in[40] = {0};
        size_t len = (size_t)random() % (sizeof in - 1);
        for (size_t i = 0; i < len; i++)
            in[i] = (char)(random() % 4 ? 0x80 + random() % 0x80 : 1 + random() % 255);
        char *out = text_format("%s", in);
        for (const unsigned char *c = (const unsigned char *)out; *c; c++) {
            assert_true(*c >= 0x20 && *c != 0x7f);
            assert_false(c[0] == 0xc2 && c[1] < 0xa0);
        }
        free(out);
    }
}

/* Runs print with stdout in a file, and gives what was printed. */
static char *printed(void (*print)(void))
{
    FILE *file = tmpfile();
    fflush(stdout);
    int saved = dup(STDOUT_FILENO);
    dup2(fileno(file), STDOUT_FILENO);
    print();
    fflush(stdout);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    static char text[4096];
    rewind(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    return text;
}

static void print_table(void)
{
    struct grid g;
    grid_init(&g, "NAME >COUNT NOTE");
    grid_cell(&g, "a");
    grid_cell(&g, "%d", 12345678);
    grid_cell(&g, "%s", "");
    grid_cell(&g, "caf\xc3\xa9-long");
    grid_cell(&g, "%d", 1);
    grid_cell(&g, "x\ny");
    grid_print(&g);
}

static void table(void **state)
{
    (void)state;
    assert_string_equal(printed(print_table), "NAME          COUNT  NOTE\n"
                                              "a          12345678  -\n"
                                              "caf\xc3\xa9-long         1  x?y\n");
}

static void print_object(void)
{
    json_t *o = json_pack("{s:s}", "k", "a\x1b\x7f\xc2\x9b\xe2\x80\xae\xc3\xa9\n");
    out_json(o, false);
    out_json(o, true);
    json_decref(o);
}

static void json(void **state)
{
    (void)state;
    assert_string_equal(printed(print_object),
                        "{\"k\":\"a\\u001B\\u007F\\u009B\\u202E\xc3\xa9\\n\"}\n"
                        "{\n  \"k\": \"a\\u001B\\u007F\\u009B\\u202E\xc3\xa9\\n\"\n}\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers), cmocka_unit_test(cleaned), cmocka_unit_test(cleaned_random),
        cmocka_unit_test(table),   cmocka_unit_test(json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
