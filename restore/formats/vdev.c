/* Names of block devices: see vdev.h. */
#include "restore/formats/vdev.h"

#include "base/text.h"
#include "base/units.h"

#include <stdbool.h>
#include <string.h>

struct bus {
    const char *prefix;
    uint32_t disks, partitions; /* numbers go to one less */
};

static const struct bus bus_xvd = {"xvd", 1u << 20, 256};
static const struct bus bus_hd = {"hd", 4, 64};
static const struct bus bus_sd = {"sd", 16, 16};

/* Decimal without leading zero, below limit. */
static bool digits_parse(const char *text, uint32_t limit, uint32_t *out)
{
    uint64_t value;
    if (text[0] == '0' && text[1])
        return false;
    if (number_parse(text, 0, limit - 1, &value))
        return false;
    *out = (uint32_t)value;
    return true;
}

/* "b", "aa12": letters count a, b, ... z, aa, ab, ...; digits are the partition. */
static bool name_parse(const char *vdev, const struct bus *bus, uint32_t *disk, uint32_t *partition)
{
    size_t len = strlen(bus->prefix);
    if (strncmp(vdev, bus->prefix, len))
        return false;
    const char *at = vdev + len;
    uint64_t number = 0;
    for (; *at >= 'a' && *at <= 'z'; at++) {
        number = number * 26 + (uint64_t)(*at - 'a') + 1;
        if (number > bus->disks)
            return false;
    }
    if (!number)
        return false;
    *disk = (uint32_t)number - 1;
    *partition = 0;
    return !*at || (*at != '0' && digits_parse(at, bus->partitions, partition));
}

/* "d536p37", "d0" */
static bool plain_parse(const char *vdev, uint32_t *disk, uint32_t *partition)
{
    char text[16];
    if (vdev[0] != 'd' || !format_fits(text, sizeof text, "%s", vdev + 1))
        return false;
    char *p = strchr(text, 'p');
    if (p)
        *p = '\0';
    *partition = 0;
    return digits_parse(text, bus_xvd.disks, disk) &&
           (!p || digits_parse(p + 1, bus_xvd.partitions, partition));
}

int vdev_to_devid(const char *vdev, uint32_t *devid)
{
    uint32_t disk, part;
    if (plain_parse(vdev, &disk, &part) || name_parse(vdev, &bus_xvd, &disk, &part))
        *devid =
            disk < 16 && part < 16 ? 202u << 8 | disk << 4 | part : 1u << 28 | disk << 8 | part;
    else if (name_parse(vdev, &bus_sd, &disk, &part))
        *devid = 8u << 8 | disk << 4 | part;
    else if (name_parse(vdev, &bus_hd, &disk, &part))
        *devid = (disk < 2 ? 3u : 22u) << 8 | (disk & 1) << 6 | part;
    else
        return -1;
    return 0;
}
