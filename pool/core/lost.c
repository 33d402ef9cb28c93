/* Whole image files that no row names: see lost.h. */
#include "pool/core/lost.h"

#include "base/log.h"
#include "base/text.h"
#include "pool/core/catalog.h"

#include <stdlib.h>
#include <string.h>

#define LOST_MAX 1000 /* more are not looked at: adopt or remove some, and restart */

struct lost_file {
    struct list node;
    char name[sizeof((struct image_row *)0)->file];
};

static bool file_known(const struct core *core, const char *file)
{
    list_each (node, &core->images)
        if (!strcmp(entry_at(node)->row.file, file))
            return true;
    return false;
}

static size_t lost_count(const struct core *core)
{
    size_t n = 0;
    list_each (node, &core->lost)
        n++;
    return n;
}

void lost_found(struct core *core, const char *file)
{
    if (file_known(core, file))
        return;
    log_warning("%s/%s belongs to no image; give it back by `dompool image adopt %s NAME`, or "
                "remove it",
                core->images_dir, file, file);
    struct lost_file *f = lost_count(core) < LOST_MAX ? calloc(1, sizeof *f) : NULL;
    if (!f)
        return;
    format_fits(f->name, sizeof f->name, "%s", file);
    list_append(&core->lost, &f->node);
}

bool lost_is(const struct core *core, const char *file)
{
    list_each (node, &core->lost)
        if (!strcmp(container_of(node, struct lost_file, node)->name, file))
            return !file_known(core, file);
    return false;
}

json_t *lost_to_json(const struct core *core)
{
    json_t *files = json_array();
    list_each (node, &core->lost) {
        const char *name = container_of(node, struct lost_file, node)->name;
        if (files && !file_known(core, name) && json_array_append_new(files, json_string(name))) {
            json_decref(files);
            files = NULL;
        }
    }
    return files;
}

void lost_dispose(struct core *core)
{
    struct list *node;
    while ((node = list_pop(&core->lost)))
        free(container_of(node, struct lost_file, node));
}
