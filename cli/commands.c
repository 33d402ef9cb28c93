/*
 * The command table: the one place that knows what dompool's command line takes.
 *
 * Texts are plain: paragraphs with a blank line between them. Their lines are filled again
 * when they are printed. A placeholder (IMAGE, LEASE) is in capitals, as in args.
 */
#include "cli/command.h"

#include "base/array.h"

const struct option_spec common_options[] = {
    {"socket", OPTION_TEXT, "PATH",
     "The daemon's socket, instead of $DOMPOOL_SOCKET or /run/dompool/io.dompool"},
    {"json", OPTION_FLAG, NULL,
     "Print one JSON object with stable keys; for a stream, one object a line"},
    {"help", OPTION_FLAG, NULL, "Print the help of the command, or of dompool"},
    {"version", OPTION_FLAG, NULL, "Print the version"},
    {0},
};

static const struct option_spec import_options[] = {
    {"disk", OPTION_PAIR, "VDEV=SPEC",
     "Provide a disk of the saved domain as ro:PATH, phy:PATH, cow:PATH or scratch:SIZE"},
    {"vif", OPTION_PAIR, "N=BRIDGE",
     "Put network interface N, 0 for the first one, into this bridge instead of the saved one"},
    {"base", OPTION_TEXT, "IMAGE", "Store only what differs from this image"},
    {"replace", OPTION_FLAG, NULL, "Replace the image of this name by a new version"},
    {"disk-digests", OPTION_FLAG, NULL,
     "Read the disks and keep digests of their content, for image verify"},
    {0},
};

static const struct option_spec capture_options[] = {
    {"disk", OPTION_PAIR, "VDEV=SPEC",
     "Provide a disk of the domain as ro:PATH, phy:PATH, cow:PATH or scratch:SIZE"},
    {"base", OPTION_TEXT, "IMAGE", "Store only what differs from this image"},
    {"replace", OPTION_FLAG, NULL, "Replace the image of this name by a new version"},
    {"disk-digests", OPTION_FLAG, NULL,
     "Read the disks and keep digests of their content, for image verify; the domain is "
     "suspended meanwhile"},
    {"stop", OPTION_FLAG, NULL, "Destroy the domain afterwards, instead of resuming it"},
    {"timeout", OPTION_DURATION, "DURATION",
     "Give the guest this long to suspend itself; the default is one minute"},
    {0},
};

static const struct option_spec allocate_options[] = {
    {"ttl", OPTION_DURATION, "DURATION",
     "End the lease after this time; 0: never; the default is the pool's setting ttl"},
    {"name", OPTION_TEXT, "NAME",
     "Name of the domain; by default the daemon chooses one. For a user other than root it must "
     "begin as the setting name_prefix says"},
    {"meta", OPTION_PAIR, "KEY=VALUE", "Store this with the lease; list --json shows it"},
    {"wait", OPTION_DURATION, "DURATION",
     "If no slot is warm, wait this long for one; the default, 0, refuses at once"},
    {"hold", OPTION_FLAG, NULL,
     "Stay in the foreground until the lease ends; end it on SIGINT, SIGTERM or SIGHUP"},
    {"paused", OPTION_FLAG, NULL, "Leave the domain paused"},
    {"mac", OPTION_TEXT, "ADDRESS",
     "MAC address of the first network interface, for root only; by default the pool's setting mac "
     "decides"},
    {0},
};

static const struct option_spec release_options[] = {
    {"all", OPTION_FLAG, NULL,
     "End every lease of the caller, or every lease if the caller is root"},
    {"no-wait", OPTION_FLAG, NULL, "Return before the domains are gone"},
    {0},
};

static const struct option_spec wait_options[] = {
    {"timeout", OPTION_DURATION, "DURATION",
     "Give up with TimedOut after this time; the default is one minute"},
    {0},
};

static const struct option_spec call_options[] = {
    {"more", OPTION_FLAG, NULL, "Ask for a stream of replies"},
    {0},
};

const struct command commands[] = {
    {
        .name = "image import",
        .run = run_image_import,
        .method = "ImageImport",
        .json = "The image, under the key image, and an array of texts, under the key warnings",
        .args = "NAME SAVEFILE",
        .min_args = 2,
        .max_args = 2,
        .words = {WORD_NONE, WORD_FILE},
        .options = import_options,
        .summary = "Make an image from a file that `xl save` wrote",
        .details =
            "The daemon reads SAVEFILE and stores it as the image NAME. The command opens the file "
            "and passes it on, so it may be a pipe as well; - means standard input. Leases can "
            "then "
            "be allocated from the image. The image is durable when the command returns. On a "
            "terminal "
            "the command shows its progress.\n"
            "\n"
            "Each --disk says how the domains of the pool get one disk of the saved domain. "
            "ro:PATH is the block device or raw file itself, read-only. cow:PATH is a private "
            "view of it, which is discarded with the domain; this is the default for writable "
            "disks. phy:PATH is the device itself, writable and shared by all leases. "
            "scratch:SIZE is an empty disk, which is discarded with the domain. Relative paths "
            "start at the working directory of the command.\n"
            "\n"
            "A save file may not take a disk of the host by itself: whoever can allocate the image "
            "would read it. So each disk must be named with --disk, unless it lies below a "
            "directory of the setting disk_dirs, or the base has it, or the image that --replace "
            "replaces. Else the command fails with DisksNotAllowed and prints the options that "
            "name the disks as the save file has them. Look at them before you repeat the command "
            "with these options.\n"
            "\n"
            "Keys of the saved configuration that name programs or other files of the host, such "
            "as a boot loader, are left out, with a warning. The lease's domain does not need "
            "them. "
            "But after image export and xl restore, xl cannot start that domain anew when it "
            "reboots. A kernel and a ramdisk below a directory of disk_dirs stay.\n"
            "\n"
            "With --base the image is derived: only the pages that differ from IMAGE are stored. "
            "When the image is allocated, a warm slot of IMAGE becomes it. The saved domain must "
            "be of the same lineage: a domain of IMAGE, or one restored from the same file, that "
            "ran on. Any other domain is refused, and the message gives the reason.\n"
            "\n"
            "With --replace an existing image of this name gets a new version. Leases of the old "
            "version go on. Warm slots are changed to the new version.",
    },
    {
        .name = "image capture",
        .run = run_image_capture,
        .method = "ImageCapture",
        .json = "The image, under the key image, and an array of texts, under the key warnings",
        .args = "NAME DOMAIN",
        .min_args = 2,
        .max_args = 2,
        .words = {WORD_NONE, WORD_LEASE},
        .options = capture_options,
        .summary = "Make an image from a running domain",
        .details =
            "DOMAIN is a lease, or the name or domid of any PV or PVH domain of this host. Its "
            "kernel suspends the domain, the daemon reads it, and the domain goes on.\n"
            "\n"
            "The kernel must not rely on disk contents that the image's domains will not have. "
            "Therefore a lease that has written to the private view of a disk is refused, unless "
            "--disk says how the image's domains get that disk. The other options are those of "
            "image import. Unlike an import, a capture needs no --disk for the disks that the "
            "domain has: somebody has attached them already.",
    },
    {
        .name = "image list",
        .run = run_image_list,
        .method = "ImageList",
        .args = "",
        .summary = "List the images",
        .details = "STORED is the size of the image file. SLOTS and LEASES count the live ones of "
                   "the image.",
    },
    {
        .name = "image show",
        .run = run_image_show,
        .method = "ImageShow",
        .args = "NAME",
        .min_args = 1,
        .max_args = 1,
        .words = {WORD_IMAGE, WORD_NONE},
        .summary = "Show the sizes, disks and configuration of an image",
        .details = "",
    },
    {
        .name = "image diff",
        .run = run_image_diff,
        .method = "ImageDiff",
        .args = "A B",
        .min_args = 2,
        .max_args = 2,
        .words = {WORD_IMAGE, WORD_IMAGE},
        .summary = "Show how image B differs from image A",
        .details = "Counts the pages that differ, page tables among them, and names the records of "
                   "vCPUs and platform that differ. The toolstack's own pages (p2m frames, "
                   "xenstore and console rings) always differ and never matter.",
    },
    {
        .name = "image verify",
        .run = run_image_verify,
        .method = "ImageVerify",
        .json = "An array of image names, under the key verified",
        .args = "NAME...",
        .min_args = 1,
        .max_args = UINT_MAX,
        .words = {WORD_IMAGE, WORD_IMAGE},
        .summary = "Check the digests of images and the fingerprints of their disks",
        .details =
            "Reads the whole files. The daemon also checks images when they are imported and "
            "when it starts, but never while a domain is allocated.",
    },
    {
        .name = "image export",
        .run = run_image_export,
        .method = "ImageExport",
        .json = "The name of the image, under the key image, and the path of the file, under the "
                "key path",
        .args = "NAME FILE",
        .min_args = 2,
        .max_args = 2,
        .words = {WORD_IMAGE, WORD_FILE},
        .summary = "Write an image, base or derived, as a file for `xl restore`",
        .details = "FILE must not exist yet. It can be imported again.",
    },
    {
        .name = "image rm",
        .run = run_image_rm,
        .method = "ImageRemove",
        .json = "An array of image names, under the key removed",
        .args = "NAME...",
        .min_args = 1,
        .max_args = UINT_MAX,
        .words = {WORD_IMAGE, WORD_IMAGE},
        .summary = "Remove images and their warm slots",
        .details =
            "An image that has live leases, or from which others are derived, is refused with "
            "ImageInUse. The remaining images are removed nevertheless, and the exit status "
            "is 1.",
    },
    {
        .name = "image adopt",
        .run = run_image_adopt,
        .method = "ImageAdopt",
        .args = "FILE NAME",
        .min_args = 2,
        .max_args = 2,
        .words = {WORD_NONE, WORD_NONE},
        .summary = "Make an image of a file that belongs to none",
        .details =
            "The daemon removes a whole image file only if its database says so. When the "
            "database was lost, or was restored from a backup, `dompool status` names the files "
            "that no image has. FILE is one of these names. Its digests are checked first. Adopt "
            "a base before the images derived from it.",
    },
    {
        .name = "allocate",
        .run = run_allocate,
        .method = "Allocate",
        .args = "IMAGE",
        .min_args = 1,
        .max_args = 1,
        .words = {WORD_IMAGE, WORD_NONE},
        .options = allocate_options,
        .summary = "Take a running domain of an image from the pool",
        .details =
            "Prints the domain, the lease and the stages of the allocation with their times. The "
            "lease ends by `dompool release`, after its --ttl, or, with --hold, with this "
            "command. The domain is then destroyed and never given to somebody else.\n"
            "\n"
            "With --hold the command prints as usual and keeps running. On SIGINT, SIGTERM or "
            "SIGHUP it releases the lease and returns when the domain is gone. After a second "
            "signal it returns at once. It also returns when the lease ends by itself. It ignores "
            "the end of standard input. If the command is killed, the lease ends as well.\n"
            "\n"
            "If the output cannot be written, the lease is released again.",
    },
    {
        .name = "release",
        .run = run_release,
        .method = "Release",
        .args = "LEASE|DOMAIN...",
        .min_args = 0, /* with --all */
        .max_args = UINT_MAX,
        .words = {WORD_LEASE, WORD_LEASE},
        .options = release_options,
        .summary = "End leases and destroy their domains",
        .details = "A lease is named by its id, or by the name or domid of its domain. Give either "
                   "names or --all. The command returns when the domains are gone.",
    },
    {
        .name = "list",
        .run = run_list,
        .method = "List",
        .args = "",
        .summary = "List slots and leases",
        .details =
            "Prints one line for each slot, with the lease that it serves. SINCE is the time "
            "that the slot has been in its state. EXPIRES is the time that the lease has "
            "left. UID is the owner of the lease.",
    },
    {
        .name = "trace",
        .run = run_trace,
        .method = "Trace",
        .args = "LEASE",
        .min_args = 1,
        .max_args = 1,
        .words = {WORD_LEASE, WORD_NONE},
        .summary = "Show the timeline of the allocation of a lease",
        .details =
            "Prints one line for each stage, in order. START is the time since the request "
            "arrived. HYPERCALLS does not include those that the kernel makes to copy pages on "
            "dompool's behalf. PAGES are the pages of the domain that the stage wrote.\n"
            "\n"
            "The first stage is the choice of a slot: pick, or wait if no slot was warm. handover "
            "is the way to the slot's helper process. return is the way back; the domain already "
            "runs then. commit, the last stage, is the database. The stages between handover and "
            "return depend on the engine.\n"
            "\n"
            "Every allocation is recorded. The record is written after the reply. It is kept "
            "across restarts and after the lease has ended, until 10,000 younger leases have been "
            "given. LEASE is the id of a lease, or the name or domid of its domain. A lease that "
            "has ended is named by its id, or by the name that its domain had; if several leases "
            "had that name, the newest is shown.",
    },
    {
        .name = "status",
        .run = run_status,
        .method = "Status",
        .args = "",
        .summary = "Show the daemon, its pools, and what keeps the pools from filling",
        .details = "",
    },
    {
        .name = "pool show",
        .run = run_pool_show,
        .method = "PoolShow",
        .args = "[IMAGE]",
        .max_args = 1,
        .words = {WORD_IMAGE, WORD_NONE},
        .summary = "Show all pools, or the pool of one image",
        .details = "HITS counts the allocations that found a warm slot. MISSES counts the others.",
    },
    {
        .name = "pool set",
        .run = run_pool_set,
        .method = "PoolSet",
        .args = "IMAGE KEY=VALUE...",
        .min_args = 2,
        .max_args = UINT_MAX,
        .words = {WORD_IMAGE, WORD_NONE},
        .summary = "Change settings of one image's pool",
        .details =
            "The keys are those of an [image NAME] section of dompool.conf(5). A setting made "
            "here overrides the file and is kept across restarts. An empty VALUE removes "
            "the setting.",
    },
    {
        .name = "pool wait",
        .run = run_pool_wait,
        .method = "PoolWait",
        .args = "[IMAGE]",
        .max_args = 1,
        .words = {WORD_IMAGE, WORD_NONE},
        .options = wait_options,
        .summary = "Wait until a pool holds its minimum of warm slots",
        .details = "Without IMAGE, waits for every pool. Prints nothing unless --json is given.",
    },
    {
        .name = "config show",
        .run = run_config_show,
        .method = "ConfigShow",
        .args = "",
        .summary = "Show every setting, its value and its origin",
        .details = "",
    },
    {
        .name = "call",
        .run = run_call,
        .json = "The parameters of the reply; with --more, those of each reply",
        .args = "METHOD [JSON]",
        .min_args = 1,
        .max_args = 2,
        .words = {WORD_METHOD, WORD_NONE},
        .options = call_options,
        .summary = "Call a method of the daemon's interface",
        .details =
            "METHOD is a method of io.dompool(7), such as Status, or the full name of another "
            "method, such as org.varlink.service.GetInfo. JSON is the object with the "
            "parameters; \"-\" reads it from standard input. The reply is printed with "
            "indentation, or on one line with --json.",
    },
    {
        .name = "help",
        .run = run_help,
        .args = "[COMMAND]",
        .max_args = 2,
        .words = {WORD_COMMAND, WORD_COMMAND},
        .summary = "Print the help of a command, or the list of all commands",
        .details = "",
    },
};
const size_t n_commands = ARRAY_SIZE(commands);
