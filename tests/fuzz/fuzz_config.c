/*
 * The configuration file, and what `pool set` changes. Parts of the input stand between bytes 0x01:
 * the file; the file that a reload reads; then changes "key=value" of one image. An empty part ends
 * a group of changes, which are made together.
 *
 * What is accepted keeps to the table of keys; what is refused says why and changes nothing.
 */
#include "tests/fuzz/fuzz.h"

#include "base/io.h"
#include "pool/service/config.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define IMAGE "fire"
#define SEPARATOR 0x01

enum { CHANGES_MAX = 8 };

struct part {
    const uint8_t *bytes;
    size_t n;
};

/* Takes the next part from what is left. */
static struct part part_next(struct part *left)
{
    const uint8_t *end = left->n ? memchr(left->bytes, SEPARATOR, left->n) : NULL;
    struct part p = {left->bytes, end ? (size_t)(end - left->bytes) : left->n};
    size_t taken = p.n + (end != NULL);
    left->bytes += taken;
    left->n -= taken;
    return p;
}

/* ---- what must hold ---- */

static void check_value(const struct value *v, const struct key_info *k)
{
    FUZZ_CHECK(v->text && v->origin && v->origin[0]);
    if (key_type_is_choice(k->type))
        return;
    FUZZ_CHECK(v->number >= k->min && v->number <= k->max);
    if (k->type == KEY_TYPE_PATH || k->type == KEY_TYPE_TEXT)
        FUZZ_CHECK(v->number == strlen(v->text));
    FUZZ_CHECK(k->type != KEY_TYPE_PATH || v->text[0] == '/');
}

static void check_pool(const struct config *c, const char *image)
{
    struct pool_settings p = config_pool(c, image);
    FUZZ_CHECK(!p.max || p.min <= p.max);
    FUZZ_CHECK(p.backoff_ms <= p.backoff_max_ms);
    FUZZ_CHECK(!strcmp(p.engine, "auto") || !strcmp(p.engine, "direct") ||
               !strcmp(p.engine, "guest"));
}

static void check_image(const struct config *c, const struct config_image *im)
{
    for (int i = 0; i < KEY_COUNT; i++) {
        const struct key_info *k = &config_keys[i];
        FUZZ_CHECK(k->scope == SCOPE_POOL || (!im->file[i].text && !im->set[i].text));
        if (im->file[i].text)
            check_value(&im->file[i], k);
        if (im->set[i].text)
            check_value(&im->set[i], k);
    }
    check_pool(c, im->name);
}

static void check_config(const struct config *c)
{
    for (int i = 0; i < KEY_COUNT; i++)
        check_value(&c->values[i], &config_keys[i]);
    check_pool(c, "some other image");
    list_each (node, &c->images)
        check_image(c, container_of(node, struct config_image, node));
}

static void check_mistakes(const struct mistakes *m)
{
    FUZZ_CHECK(m->n);
    for (size_t i = 0; i < m->n; i++)
        FUZZ_CHECK(m->lines[i][0] && !strchr(m->lines[i], '\n'));
}

/* ---- files ---- */

/* NULL: it has mistakes, which are in order. */
static struct config *load(struct part file)
{
    char path[32];
    struct mistakes m = {0};
    int fd = memfd_create("conf", MFD_CLOEXEC);
    FUZZ_CHECK(fd >= 0 && !write_full(fd, file.bytes, file.n));
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    const struct config_sources sources = {.path = path};
    struct config *c = config_load(&sources, &m);
    close(fd);
    if (c) {
        FUZZ_CHECK(!m.n);
        check_config(c);
    } else {
        check_mistakes(&m);
    }
    mistakes_dispose(&m);
    return c;
}

/* ---- changes ---- */

/* The values that count, as one text. The caller frees. */
static char *state(const struct config *c)
{
    char *text = NULL;
    size_t n;
    FILE *out = open_memstream(&text, &n);
    FUZZ_CHECK(out);
    for (int i = 0; i < KEY_COUNT; i++) {
        const struct value *v = config_value(c, (enum config_key)i, IMAGE);
        fprintf(out, "%s %s %llu\n", v->text, v->origin, (unsigned long long)v->number);
    }
    FUZZ_CHECK(!fclose(out));
    return text;
}

struct changes {
    struct config_change change[CHANGES_MAX];
    char *text[CHANGES_MAX];
    size_t n;
};

/* One group; at most CHANGES_MAX of it. */
static void changes_take(struct changes *c, struct part *left)
{
    struct part p;
    c->n = 0;
    while (c->n < CHANGES_MAX && (p = part_next(left)).n) {
        char *text = malloc(p.n + 1);
        FUZZ_CHECK(text);
        memcpy(text, p.bytes, p.n);
        text[p.n] = '\0';
        char *equals = strchr(text, '=');
        if (equals)
            *equals = '\0';
        c->text[c->n] = text;
        c->change[c->n++] = (struct config_change){text, equals ? equals + 1 : ""};
    }
}

static void changes_free(struct changes *c)
{
    for (size_t i = 0; i < c->n; i++)
        free(c->text[i]);
}

/* The last change of each key counts. */
static void check_set(const struct config *c, const struct changes *changes)
{
    for (size_t i = 0; i < changes->n; i++) {
        const struct config_change *last = &changes->change[i];
        for (size_t k = i; k < changes->n; k++)
            if (!strcmp(changes->change[k].key, last->key))
                last = &changes->change[k];
        enum config_key key = config_key_find(SCOPE_POOL, last->key);
        FUZZ_CHECK(key != KEY_COUNT);
        const struct value *v = config_value(c, key, IMAGE);
        FUZZ_CHECK(last->value[0] ? !strcmp(v->text, last->value) && !strcmp(v->origin, "set")
                                  : strcmp(v->origin, "set") != 0);
    }
}

static void change(struct config *c, struct part *left)
{
    struct changes changes;
    struct error e = {0};
    char *before = state(c);
    changes_take(&changes, left);
    int rc = config_set(c, IMAGE, changes.change, changes.n, &e);
    char *after = state(c);
    FUZZ_CHECK(rc == 0 || ((rc == ANSWER_NO_SUCH_SETTING || rc == ANSWER_BAD_VALUE) && e.text[0]));
    if (rc)
        FUZZ_CHECK(!strcmp(before, after));
    else
        check_set(c, &changes);
    check_config(c);
    free(before);
    free(after);
    changes_free(&changes);
}

/* What contradicts what was set is not taken. */
static void reload(struct config *newer, struct config *c)
{
    struct mistakes m = {0};
    config_check_set(newer, c, &m);
    if (m.n) {
        check_mistakes(&m);
    } else {
        config_move_set(newer, c);
        check_config(newer);
    }
    mistakes_dispose(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct part left = {data, size}, first = part_next(&left), second = part_next(&left);
    struct config *c = load(first);
    if (!c)
        c = load((struct part){data, 0});
    FUZZ_CHECK(c);
    while (left.n)
        change(c, &left);
    struct config *newer = load(second);
    if (newer)
        reload(newer, c);
    config_free(newer);
    config_free(c);
    return 0;
}
