/*
 * A xenstored for tests: see store.h. A transaction is a copy of the map, a list of the nodes that
 * it has looked at, and a list of its changes. When it commits, the changes are made once more to
 * the map itself.
 */
#include "tests/fake_xen/store.h"

#include "tests/fake_xen/fault.h"
#include "tests/fake_xen/store_map.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define TRANSACTION_NODES_MAX 1024u
#define INTRODUCED_MAX 64u

struct event {
    struct event *next;
    char *path, *token;
};

struct watch {
    struct watch *next;
    char *path, *token;
};

struct xs_handle {
    struct xs_handle *next;
    int fd; /* an eventfd that counts events; -1 before the first watch */
    struct watch *watches;
    struct event *events; /* the oldest first */
};

enum change_kind { CHANGE_WRITE, CHANGE_MAKE, CHANGE_REMOVE, CHANGE_PERMIT };

struct change {
    enum change_kind kind;
    char *path, *value;
    unsigned n; /* bytes of the value, or permissions */
    struct xs_permissions permissions[STORE_PERMISSIONS_MAX];
};

struct transaction {
    struct transaction *next;
    struct xs_handle *owner;
    xs_transaction_t id;
    struct store_map map;
    struct {
        char *path;
        uint64_t generation; /* when the transaction began */
    } looked[TRANSACTION_NODES_MAX];
    struct change changes[TRANSACTION_NODES_MAX];
    unsigned n_looked, n_changes;
};

static struct {
    struct fake_store_hooks hooks;
    struct store_map map;
    struct xs_handle *handles;
    struct transaction *transactions;
    xs_transaction_t last_id;
    unsigned conflicts, resumed, abandoned, n_introduced;
    uint32_t introduced[INTRODUCED_MAX];
    bool gone, telling;
} store;

/* ---- events ---- */

static void event_push(struct xs_handle *h, const char *path, const char *token)
{
    struct event *event = fake_checked(calloc(1, sizeof *event)), **end = &h->events;
    event->path = fake_format("%s", path);
    event->token = fake_format("%s", token);
    while (*end)
        end = &(*end)->next;
    *end = event;
    uint64_t one = 1;
    if (h->fd >= 0 && write(h->fd, &one, sizeof one) < 0)
        abort();
}

/* Those who watch a node below a removed one have lost it as well. */
static void watches_fire(const char *path, bool removed)
{
    for (struct xs_handle *h = store.handles; h; h = h->next)
        for (struct watch *w = h->watches; w; w = w->next) {
            if (!strcmp(path, w->path) || (path[0] == '/' && store_path_is_at(path, w->path)))
                event_push(h, path, w->token);
            else if (removed && store_path_is_at(w->path, path))
                event_push(h, w->path, w->token);
        }
}

/* A listener is not told of what it changes itself. */
static void tell_changed(const char *path)
{
    if (store.telling || !store.hooks.changed)
        return;
    store.telling = true;
    store.hooks.changed(path);
    store.telling = false;
}

/* ---- changes ---- */

static bool change_do(struct store_map *m, const struct change *c)
{
    switch (c->kind) {
    case CHANGE_WRITE:
        store_map_write(m, c->path, c->value, c->n);
        return true;
    case CHANGE_MAKE:
        store_map_make(m, c->path);
        return true;
    case CHANGE_REMOVE:
        return store_map_remove(m, c->path);
    case CHANGE_PERMIT:
        return store_map_permit(m, c->path, c->permissions, c->n);
    }
    return false;
}

static bool change_main(const struct change *c)
{
    bool silent = c->kind == CHANGE_MAKE && store_map_find(&store.map, c->path);
    if (!change_do(&store.map, c))
        return false;
    if (!silent)
        watches_fire(c->path, c->kind == CHANGE_REMOVE);
    return true;
}

/* ---- transactions ---- */

static struct transaction *transaction_find(const struct xs_handle *h, xs_transaction_t id)
{
    struct transaction *t = store.transactions;
    while (t && (t->id != id || t->owner != h))
        t = t->next;
    return t;
}

static void transaction_look(struct transaction *t, const char *path)
{
    for (unsigned i = 0; i < t->n_looked; i++)
        if (!strcmp(t->looked[i].path, path))
            return;
    if (t->n_looked == TRANSACTION_NODES_MAX)
        abort();
    t->looked[t->n_looked].path = fake_format("%s", path);
    t->looked[t->n_looked++].generation = store_map_generation(&t->map, path);
}

/* What is removed is looked at whole. */
static void transaction_look_below(struct transaction *t, const char *path)
{
    size_t first, n;
    store_map_below(&t->map, path, &first, &n);
    for (size_t i = first; i < first + n; i++)
        transaction_look(t, t->map.nodes[i].path);
}

/* A change that makes or removes a node looks at its parent, which names it. */
static void transaction_look_to_change(struct transaction *t, const struct change *c)
{
    char path[XENSTORE_ABS_PATH_MAX + 1];
    snprintf(path, sizeof path, "%s", c->path);
    transaction_look(t, path);
    bool there = store_map_find(&t->map, path);
    if (c->kind == CHANGE_REMOVE ? !there : there)
        return;
    if (c->kind == CHANGE_REMOVE)
        transaction_look_below(t, path);
    while (store_path_parent(path, path, sizeof path)) {
        transaction_look(t, path);
        if (store_map_find(&t->map, path))
            return;
    }
}

static bool transaction_change(struct transaction *t, const struct change *c)
{
    transaction_look_to_change(t, c);
    if (!change_do(&t->map, c))
        return false;
    if (t->n_changes == TRANSACTION_NODES_MAX)
        abort();
    struct change *kept = &t->changes[t->n_changes++];
    *kept = *c;
    kept->path = fake_format("%s", c->path);
    if (c->value) {
        kept->value = fake_checked(malloc(c->n + 1));
        memcpy(kept->value, c->value, c->n);
    }
    return true;
}

static bool transaction_conflicts(const struct transaction *t)
{
    if (store.conflicts) {
        store.conflicts--;
        return true;
    }
    for (unsigned i = 0; i < t->n_looked; i++)
        if (store_map_generation(&store.map, t->looked[i].path) != t->looked[i].generation)
            return true;
    return false;
}

static void transaction_free(struct transaction *t)
{
    struct transaction **at = &store.transactions;
    while (*at != t)
        at = &(*at)->next;
    *at = t->next;
    for (unsigned i = 0; i < t->n_looked; i++)
        free(t->looked[i].path);
    for (unsigned i = 0; i < t->n_changes; i++) {
        free(t->changes[i].path);
        free(t->changes[i].value);
    }
    store_map_dispose(&t->map);
    free(t);
}

/* ---- calls ---- */

static bool path_is_valid(const char *path)
{
    if (path[0] != '/' || strlen(path) > XENSTORE_ABS_PATH_MAX || strstr(path, "//") ||
        (path[1] && path[strlen(path) - 1] == '/'))
        return false;
    for (; *path; path++)
        if (!isalnum((unsigned char)*path) && !strchr("-/_@", *path))
            return false;
    return true;
}

/* Whether a call fails before it has looked at its node; errno says why. */
static bool refused(const char *call, const char *path)
{
    if (fault_hits(FAULT_STORE, call))
        return true;
    errno = EPIPE;
    if (store.gone)
        return true;
    errno = EINVAL;
    return path && !path_is_valid(path);
}

/* The map that a call with this transaction sees, or NULL and ENOENT. */
static struct store_map *map_of(struct xs_handle *h, xs_transaction_t id, const char *path)
{
    if (id == XBT_NULL)
        return &store.map;
    struct transaction *t = transaction_find(h, id);
    errno = ENOENT;
    if (!t)
        return NULL;
    transaction_look(t, path);
    return &t->map;
}

static struct store_node *node_of(struct xs_handle *h, xs_transaction_t id, const char *path)
{
    const struct store_map *m = map_of(h, id, path);
    struct store_node *node = m ? store_map_find(m, path) : NULL;
    errno = node ? 0 : ENOENT;
    return node;
}

static bool change(struct xs_handle *h, xs_transaction_t id, const struct change *c)
{
    struct transaction *t = transaction_find(h, id);
    bool done = id == XBT_NULL ? change_main(c) : t && transaction_change(t, c);
    if (done && id == XBT_NULL)
        tell_changed(c->path);
    errno = done ? 0 : ENOENT;
    return done;
}

struct xs_handle *xs_open(unsigned long flags)
{
    FAKE_CALL();
    (void)flags;
    if (refused(__func__, NULL))
        return NULL;
    struct xs_handle *h = fake_checked(calloc(1, sizeof *h));
    h->fd = -1;
    h->next = store.handles;
    store.handles = h;
    return h;
}

static void watch_free(struct watch *w)
{
    free(w->path);
    free(w->token);
    free(w);
}

static void event_free(struct event *event)
{
    free(event->path);
    free(event->token);
    free(event);
}

void xs_close(struct xs_handle *h)
{
    FAKE_CALL();
    struct xs_handle **at = &store.handles;
    if (!h)
        return;
    while (*at != h)
        at = &(*at)->next;
    *at = h->next;
    for (struct transaction *t = store.transactions, *next; t; t = next) {
        next = t->next;
        if (t->owner == h)
            transaction_free(t);
    }
    for (struct watch *w; (w = h->watches);) {
        h->watches = w->next;
        watch_free(w);
        store.abandoned++;
    }
    for (struct event *event; (event = h->events);) {
        h->events = event->next;
        event_free(event);
    }
    if (h->fd >= 0)
        close(h->fd);
    free(h);
}

void *xs_read(struct xs_handle *h, xs_transaction_t t, const char *path, unsigned *len)
{
    FAKE_CALL();
    if (refused(__func__, path))
        return NULL;
    const struct store_node *node = node_of(h, t, path);
    if (!node)
        return NULL;
    char *value = fake_checked(malloc(node->len + 1));
    memcpy(value, node->value, node->len + 1);
    *len = node->len;
    return value;
}

/* One block, as the library gives it: pointers, then the names. */
char **xs_directory(struct xs_handle *h, xs_transaction_t t, const char *path, unsigned *num)
{
    FAKE_CALL();
    if (refused(__func__, path) || !node_of(h, t, path))
        return NULL;
    const struct store_map *m = map_of(h, t, path);
    size_t first, n, bytes = 1;
    store_map_below(m, path, &first, &n);
    for (size_t i = 0; i < n; i++)
        bytes += sizeof(char *) + strlen(m->nodes[first + i].path);
    char **names = fake_checked(malloc(bytes));
    unsigned found = 0;
    for (size_t i = 0; i < n; i++)
        found += store_map_child_name(path, &m->nodes[first + i]) != NULL;
    char *text = (char *)(names + found);
    *num = 0;
    for (size_t i = 0; i < n; i++) {
        const char *name = store_map_child_name(path, &m->nodes[first + i]);
        if (!name)
            continue;
        names[(*num)++] = strcpy(text, name);
        text += strlen(name) + 1;
    }
    return names;
}

bool xs_write(struct xs_handle *h, xs_transaction_t t, const char *path, const void *data,
              unsigned len)
{
    FAKE_CALL();
    if (refused(__func__, path))
        return false;
    errno = E2BIG;
    if (len + strlen(path) + 1 > XENSTORE_PAYLOAD_MAX)
        return false;
    return change(h, t,
                  &(struct change){
                      CHANGE_WRITE, (char *)(uintptr_t)path, (char *)(uintptr_t)data, len, {{0}}});
}

bool xs_mkdir(struct xs_handle *h, xs_transaction_t t, const char *path)
{
    FAKE_CALL();
    return !refused(__func__, path) &&
           change(h, t, &(struct change){.kind = CHANGE_MAKE, .path = (char *)(uintptr_t)path});
}

bool xs_rm(struct xs_handle *h, xs_transaction_t t, const char *path)
{
    FAKE_CALL();
    return !refused(__func__, path) &&
           change(h, t, &(struct change){.kind = CHANGE_REMOVE, .path = (char *)(uintptr_t)path});
}

bool xs_set_permissions(struct xs_handle *h, xs_transaction_t t, const char *path,
                        struct xs_permissions *perms, unsigned num_perms)
{
    FAKE_CALL();
    struct change c = {.kind = CHANGE_PERMIT, .path = (char *)(uintptr_t)path, .n = num_perms};
    memcpy(c.permissions, perms, num_perms * sizeof *perms);
    return !refused(__func__, path) && change(h, t, &c);
}

xs_transaction_t xs_transaction_start(struct xs_handle *h)
{
    FAKE_CALL();
    if (refused(__func__, NULL))
        return XBT_NULL;
    if (store.hooks.started)
        store.hooks.started();
    struct transaction *t = fake_checked(calloc(1, sizeof *t));
    t->owner = h;
    t->id = ++store.last_id;
    store_map_copy(&t->map, &store.map);
    t->next = store.transactions;
    store.transactions = t;
    return t->id;
}

/* It is over in any case. */
bool xs_transaction_end(struct xs_handle *h, xs_transaction_t id, bool abandon)
{
    FAKE_CALL();
    struct transaction *t = transaction_find(h, id);
    int failed = refused(__func__, NULL) ? errno : t ? 0 : ENOENT;
    if (!failed && !abandon && transaction_conflicts(t))
        failed = EAGAIN;
    bool commit = !failed && !abandon && t->n_changes;
    for (unsigned i = 0; commit && i < t->n_changes; i++)
        (void)change_main(&t->changes[i]);
    for (unsigned i = 0; commit && i < t->n_changes; i++)
        tell_changed(t->changes[i].path);
    if (t)
        transaction_free(t);
    errno = failed;
    return !failed;
}

/* ---- watches ---- */

static int handle_fd(struct xs_handle *h)
{
    if (h->fd < 0)
        h->fd = eventfd(0, EFD_SEMAPHORE | EFD_NONBLOCK | EFD_CLOEXEC);
    if (h->fd < 0)
        abort();
    return h->fd;
}

bool xs_watch(struct xs_handle *h, const char *path, const char *token)
{
    FAKE_CALL();
    if (refused(__func__, path[0] == '@' ? NULL : path))
        return false;
    struct watch *w = fake_checked(calloc(1, sizeof *w));
    w->path = fake_format("%s", path);
    w->token = fake_format("%s", token);
    w->next = h->watches;
    h->watches = w;
    (void)handle_fd(h);
    event_push(h, path, token);
    return true;
}

bool xs_unwatch(struct xs_handle *h, const char *path, const char *token)
{
    FAKE_CALL();
    if (refused(__func__, NULL))
        return false;
    struct watch **at = &h->watches, *w;
    while ((w = *at) && (strcmp(w->path, path) != 0 || strcmp(w->token, token) != 0))
        at = &w->next;
    errno = ENOENT;
    if (!w)
        return false;
    *at = w->next;
    watch_free(w);
    return true;
}

int xs_fileno(struct xs_handle *h)
{
    FAKE_CALL();
    return handle_fd(h);
}

char **xs_check_watch(struct xs_handle *h)
{
    FAKE_CALL();
    struct event *event = h->events;
    if (refused(__func__, NULL))
        return NULL;
    errno = EAGAIN;
    if (!event)
        return NULL;
    uint64_t one;
    if (read(h->fd, &one, sizeof one) < 0)
        abort();
    size_t path = strlen(event->path) + 1, token = strlen(event->token) + 1;
    char **out = fake_checked(malloc(2 * sizeof *out + path + token));
    out[XS_WATCH_PATH] = memcpy(out + 2, event->path, path);
    out[XS_WATCH_TOKEN] = memcpy((char *)(out + 2) + path, event->token, token);
    h->events = event->next;
    event_free(event);
    return out;
}

/* ---- domains ---- */

bool fake_store_introduced(uint32_t domid)
{
    FAKE_CALL();
    for (unsigned i = 0; i < store.n_introduced; i++)
        if (store.introduced[i] == domid)
            return true;
    return false;
}

bool xs_introduce_domain(struct xs_handle *h, unsigned domid, unsigned long mfn, unsigned eventchn)
{
    FAKE_CALL();
    (void)h;
    if (refused(__func__, NULL) ||
        (store.hooks.introduce && !store.hooks.introduce(domid, mfn, eventchn)))
        return false;
    if (fake_store_introduced(domid))
        return true;
    if (store.n_introduced == INTRODUCED_MAX)
        abort();
    store.introduced[store.n_introduced++] = domid;
    watches_fire("@introduceDomain", false);
    return true;
}

bool xs_resume_domain(struct xs_handle *h, unsigned domid)
{
    FAKE_CALL();
    (void)h, (void)domid;
    if (refused(__func__, NULL))
        return false;
    store.resumed++;
    return true;
}

/* xenstored tells of domains that it knows, and forgets those that are gone. */
void fake_store_domain_exception(uint32_t domid, bool gone)
{
    FAKE_CALL();
    for (unsigned i = 0; i < store.n_introduced; i++) {
        if (store.introduced[i] != domid)
            continue;
        if (gone)
            store.introduced[i] = store.introduced[--store.n_introduced];
        watches_fire("@releaseDomain", false);
        return;
    }
}

/* ---- what the test does ---- */

void fake_store_init(const struct fake_store_hooks *hooks)
{
    FAKE_CALL();
    memset(&store, 0, sizeof store);
    store.hooks = *hooks;
    store_map_init(&store.map);
    fake_store_put("/local/domain/0/name", "Domain-0");
    fake_store_put("/local/domain/0/domid", "0");
}

void fake_store_dispose(void)
{
    FAKE_CALL();
    while (store.handles)
        xs_close(store.handles);
    store_map_dispose(&store.map);
}

const char *fake_store_get(const char *path)
{
    FAKE_CALL();
    const struct store_node *node = store_map_find(&store.map, path);
    return node ? node->value : NULL;
}

const char *fake_store_access(const char *path)
{
    FAKE_CALL();
    static char text[80];
    static const char letters[] = "nrwb";
    const struct store_node *node = store_map_find(&store.map, path);
    text[0] = '\0';
    for (unsigned i = 0; node && i < node->n_permissions; i++) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, "%s%c%u", i ? "," : "",
                 letters[node->permissions[i].perms & 3], node->permissions[i].id);
    }
    return text;
}

void fake_store_put(const char *path, const char *fmt, ...)
{
    FAKE_CALL();
    char *text;
    va_list ap;
    va_start(ap, fmt);
    if (vasprintf(&text, fmt, ap) < 0)
        abort();
    va_end(ap);
    const struct change c = {
        CHANGE_WRITE, (char *)(uintptr_t)path, text, (unsigned)strlen(text), {{0}}};
    (void)change_main(&c);
    free(text);
    tell_changed(path);
}

void fake_store_remove(const char *path)
{
    FAKE_CALL();
    if (change_main(&(struct change){.kind = CHANGE_REMOVE, .path = (char *)(uintptr_t)path}))
        tell_changed(path);
}

const char *fake_store_child(const char *path, unsigned n)
{
    FAKE_CALL();
    size_t first, below;
    store_map_below(&store.map, path, &first, &below);
    for (size_t i = 0; i < below; i++) {
        const char *name = store_map_child_name(path, &store.map.nodes[first + i]);
        if (name && !n--)
            return name;
    }
    return NULL;
}

void fake_store_walk(const char *path, void (*each)(const char *, const char *, void *), void *data)
{
    FAKE_CALL();
    const struct store_node *node = store_map_find(&store.map, path);
    size_t first, below;
    store_map_below(&store.map, path, &first, &below);
    if (node)
        each(node->path, node->value, data);
    for (size_t i = 0; i < below; i++)
        each(store.map.nodes[first + i].path, store.map.nodes[first + i].value, data);
}

static void print_node(const char *path, const char *value, void *data)
{
    fprintf(data, "%s = \"%s\" (%s)\n", path, value, fake_store_access(path));
}

void fake_store_print(const char *path, FILE *out)
{
    fake_store_walk(path, print_node, out);
}

void fake_store_conflict(unsigned n)
{
    FAKE_CALL();
    store.conflicts = n;
}

void fake_store_hang_up(bool gone)
{
    FAKE_CALL();
    store.gone = gone;
    for (struct xs_handle *h = store.handles; gone && h; h = h->next)
        event_push(h, "", "");
}

unsigned fake_store_resumed(void)
{
    return store.resumed;
}

struct fake_store_held fake_store_held(void)
{
    FAKE_CALL();
    struct fake_store_held held = {.abandoned = store.abandoned};
    for (struct xs_handle *h = store.handles; h; h = h->next) {
        held.connections++;
        for (struct watch *w = h->watches; w; w = w->next)
            held.watches++;
    }
    for (struct transaction *t = store.transactions; t; t = t->next)
        held.transactions++;
    return held;
}
