/*
 * The configuration: see config.h.
 *
 * The file is read line by line; a mistake is noted with its place and reading goes on, so
 * that one run reports all of them.
 */
#include "pool/service/config.h"

#include "base/array.h"
#include "base/io.h"
#include "base/log.h"
#include "base/text.h"
#include "base/units.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_LIMIT (1u << 20) /* bytes; a larger configuration is somebody's mistake */

const struct key_info config_keys[KEY_COUNT] = {
#define KEY_INFO(sym, scope, name, type, fallback, min, max, live, description)                    \
    [KEY_##sym] = {SCOPE_##scope, name, KEY_TYPE_##type, fallback, min, max, live, description},
    CONFIG_KEYS(KEY_INFO)
#undef KEY_INFO
};

/* Environment variables, each for one key. */
static const struct {
    const char *name;
    enum config_key key;
} environment[] = {
    {"DOMPOOL_STATE_DIR", KEY_STATE_DIR},
    {"DOMPOOL_RUN_DIR", KEY_RUN_DIR},
    {"DOMPOOL_SOCKET", KEY_SOCKET},
    {"DOMPOOL_LIBEXEC", KEY_LIBEXEC_DIR},
};

enum config_key config_key_find(enum key_scope scope, const char *name)
{
    for (int i = 0; i < KEY_COUNT; i++)
        if (config_keys[i].scope == scope && !strcmp(config_keys[i].name, name))
            return (enum config_key)i;
    return KEY_COUNT;
}

/* ---- mistakes ---- */

static void mistakes_add(struct mistakes *m, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static void mistakes_add(struct mistakes *m, const char *fmt, ...)
{
    char *line;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&line, fmt, ap);
    va_end(ap);
    char **bigger = n < 0 ? NULL : realloc(m->lines, (m->n + 1) * sizeof *bigger);
    if (!bigger) {
        if (n >= 0)
            free(line);
        log_error("out of memory while the configuration is read");
        return;
    }
    m->lines = bigger;
    m->lines[m->n++] = line;
}

void mistakes_dispose(struct mistakes *m)
{
    for (size_t i = 0; i < m->n; i++)
        free(m->lines[i]);
    free(m->lines);
    *m = (struct mistakes){0};
}

/* ---- values ---- */

static void value_dispose(struct value *v)
{
    free(v->text);
    free(v->origin);
    *v = (struct value){0};
}

static int value_assign(struct value *v, const char *text, uint64_t number, const char *origin)
{
    struct value made = {strdup(text), number, strdup(origin)};
    if (!made.text || !made.origin) {
        value_dispose(&made);
        return -ENOMEM;
    }
    value_dispose(v);
    *v = made;
    return 0;
}

static int parse_mode(const char *text, uint64_t *out)
{
    char *end;
    errno = 0;
    unsigned long mode = strtoul(text, &end, 8);
    *out = mode;
    return errno || end == text || *end || text[0] == '-' ? -1 : 0;
}

static int parse_level(const char *text, uint64_t *out)
{
    enum log_level level;
    if (log_level_parse(text, &level))
        return -1;
    *out = (uint64_t)level;
    return 0;
}

static int parse_path(const char *text, uint64_t *out)
{
    *out = strlen(text);
    return text[0] == '/' ? 0 : -1;
}

static int parse_text(const char *text, uint64_t *out)
{
    *out = strlen(text);
    return 0;
}

static int parse_file(const char *text, uint64_t *out)
{
    return *text ? parse_path(text, out) : parse_text(text, out);
}

/* Each an absolute path without a step up. */
static int parse_dirs(const char *text, uint64_t *out)
{
    *out = strlen(text);
    for (const char *at = text; *text && at; at = strchr(at, ':')) {
        at += at != text;
        size_t n = strcspn(at, ":");
        if (*at != '/' || memmem(at, n, "/../", 4) || (n > 2 && !memcmp(at + n - 3, "/..", 3)))
            return -1;
    }
    return 0;
}

static int parse_number(const char *text, uint64_t *out)
{
    return number_parse(text, 0, UINT64_MAX, out);
}

static int parse_engine(const char *text, uint64_t *out)
{
    *out = 0;
    return strcmp(text, "auto") && strcmp(text, "direct") && strcmp(text, "guest") ? -1 : 0;
}

static int parse_switch(const char *text, uint64_t *out)
{
    *out = !strcmp(text, "on");
    return *out || !strcmp(text, "off") ? 0 : -1;
}

static int parse_mac_rule(const char *text, uint64_t *out)
{
    enum mac_rule rule;
    if (mac_rule_parse(text, &rule))
        return -1;
    *out = (uint64_t)rule;
    return 0;
}

static int parse_on_end(const char *text, uint64_t *out)
{
    static const char *const words[] = {
        [ON_END_IMAGE] = "image", [ON_END_DESTROY] = "destroy", [ON_END_PRESERVE] = "preserve"};
    *out = 0;
    while (*out < ARRAY_SIZE(words) && strcmp(words[*out], text) != 0)
        ++*out;
    return *out < ARRAY_SIZE(words) ? 0 : -1;
}

/* What it makes must be the beginning of a name. A digit behind the uid would make one user's
 * prefix the beginning of another's. */
static int parse_prefix(const char *text, uint64_t *out)
{
    const char *at = strstr(text, "%U");
    char name[64];
    *out = strlen(text);
    if (at)
        format_fits(name, sizeof name, "%.*s1%sx", (int)(at - text), text, at + 2);
    else
        format_fits(name, sizeof name, "%sx", text);
    return !name_valid(name) || (at && (!at[2] || strchr("0123456789", at[2]))) ? -1 : 0;
}

static const struct {
    int (*parse)(const char *text, uint64_t *out);
    const char *expected;
} types[] = {
    [KEY_TYPE_TEXT] = {parse_text, "a text"},
    [KEY_TYPE_PATH] = {parse_path, "an absolute path"},
    [KEY_TYPE_FILE] = {parse_file, "an absolute path, or empty"},
    [KEY_TYPE_DIRS] = {parse_dirs, "a list of absolute paths such as /srv/disks:/dev/vg0"},
    [KEY_TYPE_NUMBER] = {parse_number, "a number"},
    [KEY_TYPE_DURATION] = {duration_parse_ms, "a duration such as 500ms, 10s, 5m or 2h"},
    [KEY_TYPE_SIZE] = {size_parse_bytes, "a size such as 512M or 2G"},
    [KEY_TYPE_MODE] = {parse_mode, "an octal file mode such as 0660"},
    [KEY_TYPE_LEVEL] = {parse_level, "one of error, warning, info, debug"},
    [KEY_TYPE_ON_END] = {parse_on_end, "one of image, destroy, preserve"},
    [KEY_TYPE_PREFIX] = {parse_prefix,
                         "the beginning of a name such as u%U- (%U is a uid; no digit "
                         "may follow it)"},
    [KEY_TYPE_ENGINE] = {parse_engine, "one of auto, direct, guest"},
    [KEY_TYPE_SWITCH] = {parse_switch, "on or off"},
    [KEY_TYPE_MAC] = {parse_mac_rule, "one of generated, xen, saved"},
};

static void format_bound(enum key_type type, uint64_t number, char *buf, size_t size)
{
    if (type == KEY_TYPE_DURATION)
        duration_format_ms(number, buf, size);
    else if (type == KEY_TYPE_SIZE)
        size_format_bytes(number, buf, size);
    else if (type == KEY_TYPE_MODE)
        snprintf(buf, size, "%04llo", (unsigned long long)number);
    else
        snprintf(buf, size, "%llu", (unsigned long long)number);
}

bool key_type_is_choice(enum key_type type)
{
    return type == KEY_TYPE_LEVEL || type == KEY_TYPE_ENGINE || type == KEY_TYPE_SWITCH ||
           type == KEY_TYPE_MAC;
}

/* Checks text and puts it into *v. ANSWER_BAD_VALUE says what was expected. */
static int value_parse(struct value *v, enum config_key key, const char *text, const char *origin,
                       struct error *e)
{
    const struct key_info *k = &config_keys[key];
    uint64_t number;
    if (types[k->type].parse(text, &number))
        return error_set(e, ANSWER_BAD_VALUE, "%s: \"%s\" is not %s", k->name, text,
                         types[k->type].expected);
    bool bounded = !key_type_is_choice(k->type);
    if (bounded && (number < k->min || number > k->max)) {
        char low[32], high[32];
        format_bound(k->type, k->min, low, sizeof low);
        format_bound(k->type, k->max, high, sizeof high);
        bool length = k->type == KEY_TYPE_PATH || k->type == KEY_TYPE_DIRS ||
                      k->type == KEY_TYPE_TEXT || k->type == KEY_TYPE_FILE;
        return error_set(e, ANSWER_BAD_VALUE, "%s: %s\"%s\" is outside %s to %s%s", k->name,
                         length ? "the length of " : "", text, low, high,
                         length ? " characters" : "");
    }
    if (value_assign(v, text, number, origin))
        return error_set(e, -ENOMEM, "%s: out of memory", k->name);
    return 0;
}

/* ---- images ---- */

static struct config_image *image_find(const struct config *c, const char *name)
{
    list_each (node, &c->images) {
        struct config_image *im = container_of(node, struct config_image, node);
        if (!strcmp(im->name, name))
            return im;
    }
    return NULL;
}

static struct config_image *image_find_or_add(struct config *c, const char *name)
{
    struct config_image *im = image_find(c, name);
    if (im)
        return im;
    im = calloc(1, sizeof *im);
    if (!im)
        return NULL;
    format_fits(im->name, sizeof im->name, "%s", name);
    list_append(&c->images, &im->node);
    return im;
}

static void image_free(struct config_image *im)
{
    list_remove(&im->node);
    for (int i = 0; i < KEY_COUNT; i++) {
        value_dispose(&im->file[i]);
        value_dispose(&im->set[i]);
    }
    free(im);
}

/* ---- reading ---- */

static const struct value *pick(const struct config *c, const struct config_image *im, int key)
{
    if (im && im->set[key].text)
        return &im->set[key];
    if (im && im->file[key].text)
        return &im->file[key];
    return &c->values[key];
}

const struct value *config_value(const struct config *c, enum config_key key, const char *image)
{
    return pick(c, image ? image_find(c, image) : NULL, (int)key);
}

const char *config_text(const struct config *c, enum config_key key)
{
    return c->values[key].text;
}

uint64_t config_number(const struct config *c, enum config_key key)
{
    return c->values[key].number;
}

struct pool_settings config_pool(const struct config *c, const char *image)
{
    const struct config_image *im = image_find(c, image);
    return (struct pool_settings){
        .min = (unsigned)pick(c, im, KEY_MIN)->number,
        .max = (unsigned)pick(c, im, KEY_MAX)->number,
        .retries = (unsigned)pick(c, im, KEY_RETRIES)->number,
        .expect_max = pick(c, im, KEY_EXPECT_MAX)->number,
        .cow_max = pick(c, im, KEY_COW_MAX)->number,
        .ttl_ms = pick(c, im, KEY_TTL)->number,
        .backoff_ms = pick(c, im, KEY_BACKOFF)->number,
        .backoff_max_ms = pick(c, im, KEY_BACKOFF_MAX)->number,
        .on_end = (enum on_end)pick(c, im, KEY_ON_END)->number,
        .engine = pick(c, im, KEY_ENGINE)->text,
        .mac = (enum mac_rule)pick(c, im, KEY_MAC)->number,
        .vif_isolation = pick(c, im, KEY_VIF_ISOLATION)->number,
        .vif_filter = pick(c, im, KEY_VIF_FILTER)->number,
        .vif_script = pick(c, im, KEY_VIF_SCRIPT)->text,
    };
}

/* ---- the file ---- */

/* Where the reader stands. */
struct config_place {
    struct config *c;
    struct mistakes *m;
    const char *path;
    unsigned line;
    enum { IN_NOTHING, IN_DAEMON, IN_POOL, IN_IMAGE, IN_BAD_SECTION } section;
    struct config_image *image;
};

static char *trim(char *s)
{
    s += strspn(s, " \t\r");
    size_t n = strlen(s);
    while (n && strchr(" \t\r", s[n - 1]))
        n--;
    s[n] = '\0';
    return s;
}

static void read_section(struct config_place *at, char *line)
{
    at->section = IN_BAD_SECTION; /* its keys are not reported again, one by one */
    size_t n = strlen(line);
    if (line[n - 1] != ']') {
        mistakes_add(at->m, "%s:%u: section without a closing bracket", at->path, at->line);
        return;
    }
    line[n - 1] = '\0';
    char *name = trim(line + 1);
    if (!strcmp(name, "daemon")) {
        at->section = IN_DAEMON;
    } else if (!strcmp(name, "pool")) {
        at->section = IN_POOL;
    } else if (!strncmp(name, "image", 5) && strchr(" \t", name[5])) {
        char *image = trim(name + 5);
        if (!name_valid(image)) {
            mistakes_add(at->m, "%s:%u: \"%s\" is no image name", at->path, at->line, image);
        } else if (!(at->image = image_find_or_add(at->c, image))) {
            mistakes_add(at->m, "%s:%u: out of memory", at->path, at->line);
        } else {
            at->section = IN_IMAGE;
        }
    } else {
        mistakes_add(at->m,
                     "%s:%u: unknown section [%s]; there are [daemon], [pool] and [image NAME]",
                     at->path, at->line, name);
    }
}

static void read_value(struct config_place *at, const char *name, const char *text)
{
    enum key_scope scope = at->section == IN_DAEMON ? SCOPE_DAEMON : SCOPE_POOL;
    enum config_key key = config_key_find(scope, name);
    if (key == KEY_COUNT) {
        enum key_scope other = scope == SCOPE_DAEMON ? SCOPE_POOL : SCOPE_DAEMON;
        const char *hint = config_key_find(other, name) == KEY_COUNT ? ""
                           : other == SCOPE_DAEMON                   ? "; it belongs in [daemon]"
                                                                     : "; it belongs in [pool]";
        mistakes_add(at->m, "%s:%u: unknown key \"%s\"%s", at->path, at->line, name, hint);
        return;
    }
    struct value *v = at->section == IN_IMAGE ? &at->image->file[key] : &at->c->values[key];
    if (v->text && strcmp(v->origin, "default") != 0) {
        mistakes_add(at->m, "%s:%u: %s is given twice, first at %s", at->path, at->line, name,
                     v->origin);
        return;
    }
    char origin[300];
    struct error e;
    format_fits(origin, sizeof origin, "%s:%u", at->path, at->line);
    if (value_parse(v, key, text, origin, &e))
        mistakes_add(at->m, "%s: %s", origin, e.text);
}

static void read_line(struct config_place *at, char *line)
{
    line = trim(line);
    if (!line[0] || line[0] == '#' || line[0] == ';')
        return;
    if (line[0] == '[') {
        read_section(at, line);
        return;
    }
    char *equals = strchr(line, '=');
    if (!equals) {
        mistakes_add(at->m, "%s:%u: \"%s\" is neither [section] nor key = value", at->path,
                     at->line, line);
        return;
    }
    *equals = '\0';
    if (at->section == IN_NOTHING)
        mistakes_add(at->m, "%s:%u: a key before the first section", at->path, at->line);
    else if (at->section != IN_BAD_SECTION)
        read_value(at, trim(line), trim(equals + 1));
}

static void read_config_file(struct config *c, const char *path, bool must_exist,
                             struct mistakes *m)
{
    char *text;
    size_t len;
    struct error e;
    int rc = read_file(path, FILE_LIMIT, &text, &len, &e);
    if (rc == -ENOENT && !must_exist)
        return;
    if (rc) {
        mistakes_add(m, "%s", e.text);
        return;
    }
    struct config_place at = {.c = c, .m = m, .path = path};
    if (strlen(text) != len)
        mistakes_add(m, "%s: contains a NUL byte", path);
    char *rest = text, *line;
    while ((line = strsep(&rest, "\n"))) {
        at.line++;
        read_line(&at, line);
    }
    free(text);
}

/* ---- all sources ---- */

static void check_bounds(const struct config *c, const struct config_image *im, struct mistakes *m)
{
    const struct value *min = pick(c, im, KEY_MIN), *max = pick(c, im, KEY_MAX);
    const char *where = im ? im->name : "all pools";
    if (max->number && min->number > max->number)
        mistakes_add(m, "%s: min = %s is more than max = %s (%s), for %s", min->origin, min->text,
                     max->text, max->origin, where);
    const struct value *first = pick(c, im, KEY_BACKOFF), *last = pick(c, im, KEY_BACKOFF_MAX);
    if (first->number > last->number)
        mistakes_add(m, "%s: backoff = %s is more than backoff_max = %s (%s), for %s",
                     first->origin, first->text, last->text, last->origin, where);
}

static void read_one(struct config *c, enum config_key key, const char *text, const char *origin,
                     const char *given_as, struct mistakes *m)
{
    struct error e;
    if (value_parse(&c->values[key], key, text, origin, &e))
        mistakes_add(m, "%s: %s", given_as, e.text);
}

static void read_environment(struct config *c, struct mistakes *m)
{
    for (size_t i = 0; i < ARRAY_SIZE(environment); i++) {
        const char *text = getenv(environment[i].name);
        if (text && text[0])
            read_one(c, environment[i].key, text, "environment", environment[i].name, m);
    }
}

static void read_options(struct config *c, const struct config_sources *sources, struct mistakes *m)
{
    for (int i = 0; i < KEY_COUNT; i++)
        if (sources->options[i])
            read_one(c, (enum config_key)i, sources->options[i], "option", "command line", m);
}

/* The socket's default depends on another key. */
static void place_socket(struct config *c, struct mistakes *m)
{
    struct value *run_dir = &c->values[KEY_RUN_DIR];
    if (!c->values[KEY_SOCKET].text || strcmp(c->values[KEY_SOCKET].origin, "default") != 0)
        return;
    char path[300];
    format_fits(path, sizeof path, "%s/io.dompool", run_dir->text);
    read_one(c, KEY_SOCKET, path, "default", run_dir->origin, m);
}

static struct config *config_new(void)
{
    struct config *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    list_init(&c->images);
    for (int i = 0; i < KEY_COUNT; i++) {
        const char *text = i == KEY_SOCKET ? "/" : config_keys[i].fallback;
        if (value_parse(&c->values[i], (enum config_key)i, text, "default", NULL)) {
            config_free(c);
            return NULL;
        }
    }
    return c;
}

struct config *config_load(const struct config_sources *sources, struct mistakes *m)
{
    size_t before = m->n;
    struct config *c = config_new();
    if (!c) {
        mistakes_add(m, "out of memory for the configuration");
        return NULL;
    }
    const char *path = sources->path ? sources->path : getenv("DOMPOOL_CONFIG");
    bool named = path && path[0];
    read_config_file(c, named ? path : CONFIG_PATH, named, m);
    read_environment(c, m);
    read_options(c, sources, m);
    place_socket(c, m);
    check_bounds(c, NULL, m);
    list_each (node, &c->images)
        check_bounds(c, container_of(node, struct config_image, node), m);
    if (m->n == before)
        return c;
    config_free(c);
    return NULL;
}

void config_free(struct config *c)
{
    if (!c)
        return;
    list_each (node, &c->images)
        image_free(container_of(node, struct config_image, node));
    for (int i = 0; i < KEY_COUNT; i++)
        value_dispose(&c->values[i]);
    free(c);
}

/* ---- pool set ---- */

/* The mistakes that a bound makes with others, as an answer. */
static int check_set(const struct config *c, const struct config_image *im, struct error *e)
{
    struct mistakes m = {0};
    check_bounds(c, im, &m);
    int rc = m.n ? error_set(e, ANSWER_BAD_VALUE, "%s", m.lines[0]) : 0;
    mistakes_dispose(&m);
    return rc;
}

/* Parses every change into its place in fresh; touched says which keys change. */
static int parse_changes(const struct config_change *changes, size_t n, struct value *fresh,
                         bool *touched, struct error *e)
{
    for (size_t i = 0; i < n; i++) {
        enum config_key key = config_key_find(SCOPE_POOL, changes[i].key);
        if (key == KEY_COUNT)
            return error_set(e, ANSWER_NO_SUCH_SETTING, "a pool has no setting \"%s\"",
                             changes[i].key);
        touched[key] = true;
        int rc =
            changes[i].value[0] ? value_parse(&fresh[key], key, changes[i].value, "set", e) : 0;
        if (rc)
            return rc;
    }
    return 0;
}

static void swap_touched(struct config_image *im, struct value *fresh, const bool *touched)
{
    for (int i = 0; i < KEY_COUNT; i++) {
        if (!touched[i])
            continue;
        struct value v = im->set[i];
        im->set[i] = fresh[i];
        fresh[i] = v;
    }
}

struct config_patch {
    char image[64];
    struct value fresh[KEY_COUNT];
    bool touched[KEY_COUNT];
};

void config_patch_free(struct config_patch *patch)
{
    for (int i = 0; patch && i < KEY_COUNT; i++)
        value_dispose(&patch->fresh[i]);
    free(patch);
}

/* Whether the section would be in order with the patch. */
static int patch_check(struct config *c, struct config_image *im, struct config_patch *patch,
                       struct error *e)
{
    swap_touched(im, patch->fresh, patch->touched);
    int rc = check_set(c, im, e);
    swap_touched(im, patch->fresh, patch->touched);
    return rc;
}

int config_patch_new(struct config *c, const char *image, const struct config_change *changes,
                     size_t n, struct config_patch **out, struct error *e)
{
    struct config_image *im = image_find_or_add(c, image);
    struct config_patch *patch = im ? calloc(1, sizeof *patch) : NULL;
    if (!patch)
        return error_set(e, -ENOMEM, "change settings: out of memory");
    format_fits(patch->image, sizeof patch->image, "%s", image);
    int rc = parse_changes(changes, n, patch->fresh, patch->touched, e);
    if (!rc)
        rc = patch_check(c, im, patch, e);
    if (!rc)
        *out = patch;
    else
        config_patch_free(patch);
    return rc;
}

void config_patch_apply(struct config *c, struct config_patch *patch)
{
    struct config_image *im = image_find(c, patch->image);
    if (im)
        swap_touched(im, patch->fresh, patch->touched);
}

int config_set(struct config *c, const char *image, const struct config_change *changes, size_t n,
               struct error *e)
{
    struct config_patch *patch;
    int rc = config_patch_new(c, image, changes, n, &patch, e);
    if (rc)
        return rc;
    config_patch_apply(c, patch);
    config_patch_free(patch);
    return 0;
}

/* What an image would go by: borrowed values. */
static struct config_image image_moved(const struct config *to, const struct config_image *from)
{
    const struct config_image *im = image_find(to, from->name);
    struct config_image moved = {0};
    memcpy(moved.name, from->name, sizeof moved.name);
    memcpy(moved.set, from->set, sizeof moved.set);
    if (im)
        memcpy(moved.file, im->file, sizeof moved.file);
    return moved;
}

void config_check_set(const struct config *to, const struct config *from, struct mistakes *m)
{
    list_each (node, &from->images) {
        struct config_image moved = image_moved(to, container_of(node, struct config_image, node));
        check_bounds(to, &moved, m);
    }
}

void config_move_set(struct config *to, struct config *from)
{
    list_each (node, &from->images) {
        struct config_image *old = container_of(node, struct config_image, node);
        struct config_image *im = image_find(to, old->name);
        if (!im) {
            /* Not in the new file: the old section goes over whole, without its file values. */
            for (int i = 0; i < KEY_COUNT; i++)
                value_dispose(&old->file[i]);
            list_remove(&old->node);
            list_append(&to->images, &old->node);
            continue;
        }
        for (int i = 0; i < KEY_COUNT; i++) {
            value_dispose(&im->set[i]);
            im->set[i] = old->set[i];
            old->set[i] = (struct value){0};
        }
    }
}

void config_forget(struct config *c, const char *image)
{
    struct config_image *im = image_find(c, image);
    for (int i = 0; im && i < KEY_COUNT; i++)
        value_dispose(&im->set[i]);
}
