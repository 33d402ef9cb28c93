/*
 * The configuration. One table (config_keys below) makes the parser, the defaults, the checks,
 * `config show` and the manual page. A value comes, in falling order, from
 *
 *   `pool set` (one image, kept in the database), the command line, the environment,
 *   the file's [image NAME], the file's [pool] or [daemon], the default
 *
 * and knows which of them it was. A struct config is complete and never changes but through
 * config_set: reloading makes a new one, and a new one with a mistake is thrown away.
 */
#ifndef POOL_CONFIG_H
#define POOL_CONFIG_H

#include "base/confine.h"
#include "base/error.h"
#include "base/list.h"
#include "base/mac.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONFIG_PATH "/etc/dompool/dompool.conf"

enum key_type {
    KEY_TYPE_TEXT,
    KEY_TYPE_PATH, /* absolute */
    KEY_TYPE_FILE, /* likewise, or empty */
    KEY_TYPE_DIRS, /* absolute paths, with colons between them; empty: none */
    KEY_TYPE_NUMBER,
    KEY_TYPE_DURATION, /* number: milliseconds */
    KEY_TYPE_SIZE,     /* number: bytes */
    KEY_TYPE_MODE,     /* octal file mode */
    KEY_TYPE_LEVEL,    /* of the log */
    KEY_TYPE_ENGINE,
    KEY_TYPE_SWITCH, /* number: 0 or 1 */
    KEY_TYPE_MAC,    /* number: enum mac_rule */
    KEY_TYPE_ON_END, /* number: enum on_end */
    KEY_TYPE_PREFIX  /* of domain names; at most one %U, for a uid, not followed by a digit */
};

/* Of a prefix with a uid in it, and its NUL: see label_choose_name in pool/core/label.c. */
#define NAME_PREFIX_SIZE 25

/* What becomes of a lease's domain when its guest ends. */
enum on_end { ON_END_IMAGE, ON_END_DESTROY, ON_END_PRESERVE };

enum key_scope { SCOPE_DAEMON, SCOPE_POOL };

/* X(symbol, scope, name, type, default, min, max, applied by a reload, description).
 * min and max are in the unit of the type's number; a text's length. */
#define CONFIG_KEYS(X)                                                                             \
    X(STATE_DIR, DAEMON, "state_dir", PATH, "/var/lib/dompool", 1, 200, false,                     \
      "directory of the database, images and copy-on-write files; each daemon needs its own")      \
    X(RUN_DIR, DAEMON, "run_dir", PATH, "/run/dompool", 1, 200, false, "directory of the socket")  \
    X(SOCKET, DAEMON, "socket", PATH, "RUN_DIR/io.dompool", 1, 107, false,                         \
      "path of the API's socket")                                                                  \
    X(SOCKET_MODE, DAEMON, "socket_mode", MODE, "0660", 0, 0777, false, "file mode of the socket") \
    X(SOCKET_GROUP, DAEMON, "socket_group", TEXT, "", 0, 63, false,                                \
      "group that owns the socket; empty: the daemon's own group")                                 \
    X(LIBEXEC_DIR, DAEMON, "libexec_dir", PATH, DOMPOOL_LIBEXEC_DIR, 1, 200, true,                 \
      "directory of the helper programs dompool-slot and dompool-image")                           \
    X(DISK_DIRS, DAEMON, "disk_dirs", DIRS, "", 0, 4000, true,                                     \
      "directories, with colons between them; a save file that is imported may have disks of the " \
      "host below them, and its kernel and ramdisk, without anybody naming these; empty: none")    \
    X(HELPER_USER, DAEMON, "helper_user", TEXT, CONFINE_USER, 1, 31, true,                         \
      "user, by name or number, as whom save files, images and guests' memory are read; better "   \
      "one of its own than nobody, whom other services may use")                                   \
    X(LOG_LEVEL, DAEMON, "log_level", LEVEL, "info", 0, 0, true,                                   \
      "messages up to this level are logged: error, warning, info or debug")                       \
    X(MAX_CLIENTS, DAEMON, "max_clients", NUMBER, "128", 2, 10000, true,                           \
      "maximum number of connections; one in eight is reserved for root")                          \
    X(CLIENTS_PER_USER, DAEMON, "clients_per_user", NUMBER, "32", 1, 10000, true,                  \
      "maximum number of connections of a user other than root; each has one request at a time")   \
    X(UNREAD_PER_USER, DAEMON, "unread_per_user", SIZE, "16M", 0, INT64_MAX, true,                 \
      "replies that a user other than root may leave unread, over all connections; a connection "  \
      "that then needs another one is closed")                                                     \
    X(WAITING_PER_USER, DAEMON, "waiting_per_user", NUMBER, "16", 0, 10000, true,                  \
      "maximum number of requests of a user other than root that wait for a slot")                 \
    X(WAIT_MAX, DAEMON, "wait_max", DURATION, "1h", 0, 315360000000, true,                         \
      "longest time that a request of a user other than root may wait for a slot")                 \
    X(TTL_MAX, DAEMON, "ttl_max", DURATION, "0", 0, 315360000000, true,                            \
      "longest time to live of a lease of a user other than root, also if the request gives "      \
      "none; "                                                                                     \
      "0: no limit")                                                                               \
    X(LEASES_PER_USER, DAEMON, "leases_per_user", NUMBER, "0", 0, 100000, true,                    \
      "maximum number of leases of a user other than root; 0: no limit")                           \
    X(NAME_PREFIX, DAEMON, "name_prefix", PREFIX, "u%U-", 0, 16, true,                             \
      "how the names of domains begin that a user other than root is given or asks for; %U is "    \
      "the "                                                                                       \
      "user's uid; empty: as the user likes")                                                      \
    X(PARALLEL, DAEMON, "parallel", NUMBER, "1", 1, 16, true,                                      \
      "maximum number of slots that are built at the same time, over all images")                  \
    X(MEMORY_RESERVE, DAEMON, "memory_reserve", SIZE, "256M", 0, INT64_MAX, true,                  \
      "host memory that stays free when a slot is built")                                          \
    X(DISK_RESERVE, DAEMON, "disk_reserve", SIZE, "64M", 0, INT64_MAX, true,                       \
      "space that stays free in the file system of STATE_DIR/cow when a slot is built or a lease " \
      "is given; 0: no limit")                                                                     \
    X(BUILD_TIMEOUT, DAEMON, "build_timeout", DURATION, "2m", 100, 86400000, true,                 \
      "a slot that is not built within this time has failed")                                      \
    X(COMPLETE_TIMEOUT, DAEMON, "complete_timeout", DURATION, "10s", 10, 3600000, true,            \
      "a slot that is not completed within this time has failed")                                  \
    X(DESTROY_TIMEOUT, DAEMON, "destroy_timeout", DURATION, "10s", 100, 3600000, true,             \
      "if a domain is not gone within this time, its destruction is tried again later")            \
    X(STOP_TIMEOUT, DAEMON, "stop_timeout", DURATION, "10s", 0, 3600000, true,                     \
      "how long a stopping daemon waits for its unused domains to be destroyed")                   \
    X(DELTA_WARN, DAEMON, "delta_warn", NUMBER, "25", 1, 100, true,                                \
      "a delta of more than this percentage of the guest's memory gets a warning")                 \
    X(MIN, POOL, "min", NUMBER, "1", 0, 10000, true, "warm slots to keep")                         \
    X(MAX, POOL, "max", NUMBER, "0", 0, 100000, true,                                              \
      "maximum number of slots, leased ones included; 0: no limit")                                \
    X(ENGINE, POOL, "engine", ENGINE, "auto", 0, 0, true,                                          \
      "how slots are filled: direct, guest, or auto (direct if possible, otherwise guest)")        \
    X(COW_MAX, POOL, "cow_max", SIZE, "0", 0, INT64_MAX, true,                                     \
      "what a guest may write to each copy-on-write disk of a slot that is built from then on; "   \
      "beyond that the disk takes no writes any more; 0: as much as the disk is large")            \
    X(MAC, POOL, "mac", MAC, "generated", 0, 0, true,                                              \
      "MAC addresses of the slots that are built from then on: generated (each its own, locally "  \
      "administered), xen (each its own, in Xen's range 00:16:3e), or saved (the image's; then "   \
      "only one lease at a time has it)")                                                          \
    X(VIF_ISOLATION, POOL, "vif_isolation", SWITCH, "on", 0, 0, true,                              \
      "on: the network interfaces of slots cannot reach one another through their bridge, only "   \
      "ports that are not isolated; off: they can")                                                \
    X(VIF_FILTER, POOL, "vif_filter", SWITCH, "on", 0, 0, true,                                    \
      "on: whatever a guest sends has the MAC address of its interface as its source; needs "      \
      "Linux 5.18 in dom0, and modules that dompoold(8) names; off: it may "                       \
      "have any")                                                                                  \
    X(VIF_SCRIPT, POOL, "vif_script", FILE, "", 0, 200, true,                                      \
      "script with the interface of Xen's hotplug scripts that makes the host's end of network "   \
      "interfaces, as root, when a slot is built and after its end; empty: dompool puts them "     \
      "into "                                                                                      \
      "their bridge itself")                                                                       \
    X(RETRIES, POOL, "retries", NUMBER, "2", 0, 100, true,                                         \
      "further slots to try if one fails to complete")                                             \
    X(EXPECT_MAX, POOL, "expect_max", SIZE, "256M", 0, INT64_MAX, true,                            \
      "total size of the derived images that a warm slot maps ahead of requests, those allocated " \
      "last first; 0: none")                                                                       \
    X(TTL, POOL, "ttl", DURATION, "0", 0, 315360000000, true,                                      \
      "time to live of a lease if the request gives none; 0: no deadline")                         \
    X(ON_END, POOL, "on_end", ON_END, "image", 0, 2, true,                                         \
      "what becomes of a lease whose guest ends: destroy, preserve, or image (as the keys "        \
      "on_poweroff, on_crash and so on of the image's configuration say); see dompoold(8)")        \
    X(BACKOFF, POOL, "backoff", DURATION, "1s", 1, 86400000, true,                                 \
      "pause after a failed build; each further failure doubles it")                               \
    X(BACKOFF_MAX, POOL, "backoff_max", DURATION, "5m", 1, 86400000, true,                         \
      "longest pause after failed builds")

enum config_key {
#define KEY_ENUM(sym, ...) KEY_##sym,
    CONFIG_KEYS(KEY_ENUM)
#undef KEY_ENUM
        KEY_COUNT
};

struct key_info {
    enum key_scope scope;
    const char *name;
    enum key_type type;
    const char *fallback;
    uint64_t min, max;
    bool live; /* a reload applies it; else a restart is needed */
    const char *description;
};

extern const struct key_info config_keys[KEY_COUNT];

/* One of a few words: min and max say nothing. */
bool key_type_is_choice(enum key_type type);

/* Key by scope and name, KEY_COUNT when there is none. */
enum config_key config_key_find(enum key_scope scope, const char *name);

struct value {
    char *text; /* NULL: not given here */
    uint64_t number;
    char *origin; /* "default" "environment" "option" "set" or "FILE:LINE" */
};

struct config_image {
    struct list node;
    char name[64];
    struct value file[KEY_COUNT]; /* only SCOPE_POOL keys are ever given */
    struct value set[KEY_COUNT];  /* by `pool set` */
};

struct config {
    struct value values[KEY_COUNT]; /* each one given, after config_load */
    struct list images;
};

/* What one image's pool goes by. */
struct pool_settings {
    unsigned min, max, retries;
    uint64_t ttl_ms, backoff_ms, backoff_max_ms, expect_max, cow_max;
    enum on_end on_end;
    const char *engine; /* the config's */
    enum mac_rule mac;
    bool vif_isolation, vif_filter;
    const char *vif_script; /* the config's; "": none */
};

/* All mistakes, each "FILE:LINE: text". */
struct mistakes {
    char **lines;
    size_t n;
};

void mistakes_dispose(struct mistakes *m);

/* Where a configuration is read from; kept for reloads. options: by key, NULL: not given. */
struct config_sources {
    const char *path; /* NULL: $DOMPOOL_CONFIG, else CONFIG_PATH if there is one */
    const char *options[KEY_COUNT];
};

/* Reads all sources. NULL when there is a mistake (or no memory): each is in *m. */
struct config *config_load(const struct config_sources *sources, struct mistakes *m);
void config_free(struct config *c);

/* The value that counts, for the image or (NULL) in general. Never NULL. */
const struct value *config_value(const struct config *c, enum config_key key, const char *image);
const char *config_text(const struct config *c, enum config_key key);
uint64_t config_number(const struct config *c, enum config_key key);
struct pool_settings config_pool(const struct config *c, const char *image);

struct config_change {
    const char *key;
    const char *value; /* "": what the file or the default says counts again */
};

/* Changes settings of one image's pool, all or none. ANSWER_NO_SUCH_SETTING, ANSWER_BAD_VALUE,
 * -ENOMEM. */
int config_set(struct config *c, const char *image, const struct config_change *changes, size_t n,
               struct error *e);
/* The same in two steps, for who has something to do between them: the changes are checked and
 * every allocation is made, then they are applied, which cannot fail (to a newer configuration as
 * well, if config_move_set has been called). Errors as of config_set. */
struct config_patch;
int config_patch_new(struct config *c, const char *image, const struct config_change *changes,
                     size_t n, struct config_patch **out, struct error *e);
void config_patch_apply(struct config *c, struct config_patch *patch);
/* NULL is fine. */
void config_patch_free(struct config_patch *patch);
/* Adds a mistake for each image of which a newer configuration contradicts what config_set has
 * set. */
void config_check_set(const struct config *to, const struct config *from, struct mistakes *m);
/* Moves what config_set has set into a newer configuration, which does not contradict it. */
void config_move_set(struct config *to, struct config *from);
/* Drops what was set for an image that is no more. */
void config_forget(struct config *c, const char *image);

#endif
