/* Image files of the simulated world: see sim_file.h and world_sim.h. */
#include "tests/sim/sim_file.h"

#include "base/io.h"
#include "base/text.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

bool sim_file_read(const char *path, struct sim_file *f)
{
    char *text;
    if (read_file(path, 100, &text, NULL, NULL))
        return false;
    char id[40] = "", base[40] = "", rot[8] = "";
    sscanf(text, "%36s %36s %7s", id, base, rot);
    free(text);
    f->rotten = rot[0];
    return !uuid_parse(id, &f->id) && !uuid_parse(base, &f->base);
}

void sim_file_write(const struct sim *s, const char *path, const struct sim_file *f)
{
    char id[UUID_TEXT_SIZE], base[UUID_TEXT_SIZE];
    uuid_format(&f->id, id);
    uuid_format(&f->base, base);
    FILE *out = fopen(path, "w");
    MUST(out);
    fprintf(out, "%s %s", id, base);
    fclose(out);
}

json_t *sim_file_config(const struct sim *s)
{
    json_t *disks = s->disks ? json_incref(s->disks)
                             : json_pack("[{s:s, s:s, s:s}]", "vdev", "xvda", "kind", "cow", "path",
                                         "/dev/golden");
    char uuid[UUID_TEXT_SIZE];
    uuid_format(&s->saved, uuid);
    return json_pack("{s:o, s:s*, s:O*}", "disks", disks, "uuid",
                     uuid_is_none(&s->saved) ? NULL : uuid, "on_end", s->on_end);
}

int sim_image_read(struct world *w, const char *path, struct image_facts *out, struct error *e)
{
    struct sim *s = container_of(w, struct sim, world);
    struct sim_file f;
    *out = (struct image_facts){0};
    if (s->faults.reads_fail) {
        s->faults.reads_fail--;
        return error_set(e, -EIO, "image file %s: read 4096 bytes at byte 0: bad sector", path);
    }
    bool before = sim_memory_spare();
    bool ok = sim_file_read(path, &f);
    if (ok) {
        out->info.id = f.id;
        out->info.base_id = f.base;
        out->info.guest = IMAGE_GUEST_PV;
        out->config = sim_file_config(s);
    }
    sim_memory_restore(before);
    return ok ? 0 : error_set(e, ANSWER_IMAGE_REFUSED, "%s is damaged", path);
}

void sim_file_aside(char *out, size_t size, const char *path)
{
    format_fits(out, size, "%s.tmp-simOne", path);
}

/* A daemon that was killed discards nothing. */
void sim_images_list(struct world *w, const char *path,
                     void (*found)(struct world *w, const char *name))
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    if (!dir)
        abort();
    while ((entry = readdir(dir)))
        found(w, entry->d_name);
    closedir(dir);
}

void sim_image_discard(struct world *w, const char *path)
{
    struct sim *s = container_of(w, struct sim, world);
    char aside[420];
    if (s->dead)
        return;
    s->discarded++;
    sim_file_aside(aside, sizeof aside, path);
    unlink(path);
    unlink(aside);
}

void sim_image_rot(struct sim *s, const char *name)
{
    char path[400];
    struct sim_file f;
    const struct entry *im = entry_find(&s->core, name);
    MUST(im);
    entry_path(im, path);
    if (sim_file_read(path, &f) && f.rotten)
        return;
    FILE *out = fopen(path, "a");
    MUST(out);
    fputs(" rot", out);
    fclose(out);
}

unsigned sim_image_files(struct sim *s)
{
    unsigned n = 0;
    struct dirent *entry;
    DIR *dir = opendir(s->core.images_dir);
    MUST(dir);
    while ((entry = readdir(dir)))
        n += entry->d_name[0] != '.';
    closedir(dir);
    return n;
}
