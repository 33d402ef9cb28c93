/* The method ImageImport: an image of a save file. */
#ifndef POOL_IMPORT_CALL_H
#define POOL_IMPORT_CALL_H

#include "pool/core/recording.h"

struct import_request {
    struct recording_request image;
    const char
        *path; /* absolute, unless a descriptor was passed: then the file's name for people */
    const json_t *disks; /* NULL: none is named; those of the save file need consent */
    const json_t *vifs;  /* bridges by number of the interface; NULL: those of the save file */
    bool disk_digests;
};

/* Answers or defers the call. */
const struct answered *import_call(struct core *core, struct call *call,
                                   const struct import_request *rq);

#endif
