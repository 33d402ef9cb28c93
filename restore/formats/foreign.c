/* Files that are taken for save files: see foreign.h. */
#include "restore/formats/foreign.h"

#include "base/array.h"

#include <string.h>

#define UNPACK(command) "write what `" command " FILE` prints to another file, and import that"
#define SAVE_AGAIN "restore the domain with the tool that saved it, then `xl save` it"
#define NO_STATE                                                                                   \
    "it holds no state of a running guest; boot a guest from it, `xl save` that guest, and "       \
    "import the save file"

#define FOREIGN(magic, name, advice)                                                               \
    {                                                                                              \
        magic, sizeof(magic) - 1, name, advice                                                     \
    }

/* Where a magic comes from stands beside it. */
static const struct foreign list[] = {
    FOREIGN("\x1f\x8b", "compressed by gzip", UNPACK("gzip -dc")),         /* RFC 1952 */
    FOREIGN("\x28\xb5\x2f\xfd", "compressed by zstd", UNPACK("zstd -dc")), /* RFC 8878 */
    FOREIGN("\3757zXZ\0", "compressed by xz",
            UNPACK("xz -dc")),                                  /* xz-file-format.txt of XZ Utils */
    FOREIGN("BZh", "compressed by bzip2", UNPACK("bzip2 -dc")), /* bzip2's manual */
    FOREIGN("\x04\x22\x4d\x18", "compressed by lz4", UNPACK("lz4 -dc")), /* lz4_Frame_format.md */
    FOREIGN("\x89LZO\0\r\n\x1a\n", "compressed by lzop", UNPACK("lzop -dc")), /* lzop's lzop.c */
    /* libvirt: src/libxl/libxl_conf.h, src/qemu/qemu_saveimage.h */
    FOREIGN("libvirt-xml\n \0 \r", "written by `virsh save`", SAVE_AGAIN),
    FOREIGN("LibvirtQemudSave", "written by `virsh save` for a guest of KVM or QEMU, not of Xen",
            "guests of KVM cannot be imported"),
    FOREIGN("LibvirtQemudPart", "half a save of `virsh save` for a guest of KVM or QEMU",
            "guests of KVM cannot be imported"),
    /* xenopsd of xapi: suspend_image.ml */
    FOREIGN("XenSavedDomv2-\n", "a suspend image of XCP-ng or XenServer (xapi)", SAVE_AGAIN),
    FOREIGN("XenSavedDomain\n", "a suspend image of an old XCP-ng or XenServer (xapi)", SAVE_AGAIN),
    FOREIGN("LinuxGuestRecord", "written by `xm save` of Xen 4.4 or older", SAVE_AGAIN),
    FOREIGN("ova.xml\0", "an XVA export of XCP-ng or XenServer",
            "it holds disks, not the state of a running guest; take its disks for a guest of xl's, "
            "`xl save` that guest, and import the save file"),
    /* Xen: docs/specs/libxl-migration-stream, libxc-migration-stream */
    FOREIGN("LibxlFmt",
            "a bare libxl stream, without the header and the configuration of `xl save`",
            SAVE_AGAIN),
    FOREIGN("\xff\xff\xff\xff\xff\xff\xff\xffXENF",
            "a bare libxc stream, without the configuration of `xl save`", SAVE_AGAIN),
    FOREIGN("dpimage\0", "an image file of dompool itself",
            "give it back by `dompool image adopt` if it lies in the directory of images; "
            "`dompool image export` makes a save file of an image"),
    FOREIGN("\177ELF", "an ELF file, as a core dump of `xl dump-core` or a kernel is",
            "a core dump cannot be continued; `xl save` the running domain instead"),
    FOREIGN("QFI\xfb", "a qcow2 disk", NO_STATE), /* docs/interop/qcow2.txt of QEMU */
    FOREIGN("KDMV", "a VMDK disk", NO_STATE),     /* VMware's Virtual Disk Format 5.0 */
    FOREIGN("conectix", "a VHD disk", NO_STATE),  /* Microsoft's VHD specification 1.0 */
    FOREIGN("vhdxfile", "a VHDX disk", NO_STATE), /* [MS-VHDX] */
    FOREIGN("QEVM", "a migration stream of QEMU", "guests of QEMU cannot be imported"),
};

const struct foreign *foreign_find(const void *head, size_t n)
{
    for (size_t i = 0; i < ARRAY_SIZE(list); i++)
        if (list[i].magic_len <= n && !memcmp(head, list[i].magic, list[i].magic_len))
            return &list[i];
    return NULL;
}

const struct foreign *foreign_list(size_t *n)
{
    *n = ARRAY_SIZE(list);
    return list;
}
