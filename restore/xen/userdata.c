/* xl's configuration of a domain: see userdata.h. File names as in libxl's libxl__userdata_path. */
#include "restore/xen/userdata.h"

#include "base/io.h"
#include "restore/formats/domconf.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define XEN_LIB_DIR "/var/lib/xen"
#define USERDATA_PATH_SIZE 200

static void userdata_path(char path[USERDATA_PATH_SIZE], uint32_t domid, const char *uuid)
{
    snprintf(path, USERDATA_PATH_SIZE, XEN_LIB_DIR "/userdata-d.%u.%s.libxl-json", domid, uuid);
}

static int adapt(json_t *config, const struct userdata *u)
{
    json_t *info = json_object_get(config, "c_info"), *disks = json_object_get(config, "disks");
    if (!json_is_object(info) || json_object_set_new(info, "uuid", json_string(u->uuid)) ||
        json_object_set_new(info, "name", json_string(u->name)))
        return -EINVAL;
    for (size_t i = 0; i < u->n_disks; i++)
        if (domconf_xl_set_disk(disks, u->disks[i].conf->vdev, u->disks[i].path,
                                u->disks[i].writable))
            return -ENOMEM;
    for (size_t i = 0; i < u->n_nics; i++) {
        char mac[MAC_TEXT_SIZE];
        mac_format(&u->nics[i].mac, mac);
        if (domconf_xl_set_mac(json_object_get(config, "nics"), u->nics[i].conf->devid, mac))
            return -ENOMEM;
    }
    return 0;
}

/* The text ends with a NUL byte in the file, as libxl writes and reads it. */
static int write_text(const char *path, const char *text, struct error *e)
{
    char temporary[256];
    snprintf(temporary, sizeof temporary, "%s.dompool-new", path);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_errno(e, errno, "create %s", temporary);
    int rc = write_full(fd, text, strlen(text) + 1);
    fd_close(&fd);
    if (!rc && rename(temporary, path))
        rc = -errno;
    if (rc) {
        unlink(temporary);
        return error_errno(e, -rc, "write %s", path);
    }
    return 0;
}

int userdata_write(const struct userdata *u, const char *json, size_t len, struct error *e)
{
    json_error_t why;
    json_t *config = json_loadb(json, len, 0, &why);
    if (!config)
        return error_set(e, -EINVAL, "the image's xl configuration is no JSON: %s", why.text);
    int rc = adapt(config, u);
    char *text = rc ? NULL : json_dumps(config, JSON_INDENT(4));
    json_decref(config);
    if (!text)
        return error_errno(e, rc ? -rc : ENOMEM, "domain %u: adapt its xl configuration", u->domid);
    char path[USERDATA_PATH_SIZE];
    userdata_path(path, u->domid, u->uuid);
    rc = make_dirs(XEN_LIB_DIR, 0755, e);
    if (!rc)
        rc = write_text(path, text, e);
    free(text);
    return rc;
}

int userdata_read(uint32_t domid, const char *uuid, size_t max, char **json, size_t *len,
                  struct error *e)
{
    char path[USERDATA_PATH_SIZE];
    userdata_path(path, domid, uuid);
    if (access(path, F_OK) && errno == ENOENT)
        return error_set(e, ANSWER_IMAGE_REFUSED,
                         "domain %u has no configuration in %s: it was not made by xl or dompool",
                         domid, path);
    int rc = read_file(path, max, json, len, e);
    if (!rc) /* libxl counts a final NUL */
        *len = strnlen(*json, *len);
    return rc;
}

int userdata_remove(uint32_t domid, const char *uuid, struct error *e)
{
    char pattern[200];
    snprintf(pattern, sizeof pattern, XEN_LIB_DIR "/userdata-?.%u.%s.*", domid, uuid);
    glob_t found;
    int failed = glob(pattern, GLOB_NOSORT, NULL, &found);
    if (failed)
        return failed == GLOB_NOMATCH
                   ? 0
                   : error_errno(e, failed == GLOB_NOSPACE ? ENOMEM : EIO, "look for %s", pattern);
    int rc = 0;
    for (size_t i = 0; i < found.gl_pathc; i++)
        if (unlink(found.gl_pathv[i]) && errno != ENOENT)
            rc = error_errno(e, errno, "remove %s", found.gl_pathv[i]);
    globfree(&found);
    return rc;
}
