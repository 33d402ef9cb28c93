/*
 * Image files of the simulated world, as its helpers make and read them. One holds the text
 * "<id> <id of its base>", and " rot" behind it when its digests are wrong.
 */
#ifndef TESTS_SIM_FILE_H
#define TESTS_SIM_FILE_H

#include "base/uuid.h"
#include "tests/sim/world_sim.h"

struct sim_file {
    struct uuid id, base;
    bool rotten;
};

/* False: there is none, or it is damaged. */
bool sim_file_read(const char *path, struct sim_file *f);
/* Whether f is rotten is not written: sim_image_rot does that. */
void sim_file_write(const struct sim *s, const char *path, const struct sim_file *f);
/* What each says of its domain; new reference. */
json_t *sim_file_config(const struct sim *s);
/* The file beside path in which it is made. */
void sim_file_aside(char *out, size_t size, const char *path);

#endif
