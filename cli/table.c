/*
 * The command table: the one place that knows what dompool's command line takes.
 *
 * Texts are plain: paragraphs with a blank line between; lines are filled again when
 * printed. A placeholder (IMAGE, LEASE) is written in capitals, as in args.
 */
#include "cli/command.h"

#include "base/util.h"

const struct option_spec common_options[] = {
    {"socket", OPTION_TEXT, "PATH",
     "The daemon's socket, instead of $DOMPOOL_SOCKET or /run/dompool/io.dompool"},
    {"json", OPTION_FLAG, NULL, "Print one JSON object (a stream: one a line) with stable keys"},
    {"help", OPTION_FLAG, NULL, "Print the help of the command, or of dompool"},
    {"version", OPTION_FLAG, NULL, "Print the version"},
    {0},
};

static const struct option_spec import_options[] = {
    {"disk", OPTION_PAIR, "VDEV=SPEC",
     "How a disk of the saved domain is provided: ro:PATH, phy:PATH, cow:PATH or scratch:SIZE"},
    {"base", OPTION_TEXT, "IMAGE", "Store only what differs from this image"},
    {"replace", OPTION_FLAG, NULL, "Be the new version of an image that has the name"},
    {"disk-digests", OPTION_FLAG, NULL,
     "Keep a digest of every disk's content, for image verify; reads the disks"},
    {0},
};

static const struct option_spec capture_options[] = {
    {"disk", OPTION_PAIR, "VDEV=SPEC",
     "How a disk of the domain is provided: ro:PATH, phy:PATH, cow:PATH or scratch:SIZE"},
    {"base", OPTION_TEXT, "IMAGE", "Store only what differs from this image"},
    {"replace", OPTION_FLAG, NULL, "Be the new version of an image that has the name"},
    {"disk-digests", OPTION_FLAG, NULL,
     "Keep a digest of every disk's content, for image verify; the domain stands still meanwhile"},
    {"stop", OPTION_FLAG, NULL, "Destroy the domain afterwards, instead of letting it go on"},
    {"timeout", OPTION_DURATION, "DURATION",
     "How long the guest may take to suspend itself, instead of one minute"},
    {0},
};

static const struct option_spec allocate_options[] = {
    {"ttl", OPTION_DURATION, "DURATION",
     "End the lease after this time, instead of the pool's setting ttl; 0: never"},
    {"name", OPTION_TEXT, "NAME", "Name of the domain, instead of one that the daemon makes"},
    {"meta", OPTION_PAIR, "KEY=VALUE", "Keep this with the lease; shown by list --json"},
    {"wait", OPTION_DURATION, "DURATION",
     "When no slot is warm, wait this long for one; 0, the default, refuses at once"},
    {"hold", OPTION_FLAG, NULL,
     "Stay in the foreground and end the lease on SIGINT, SIGTERM or SIGHUP"},
    {"paused", OPTION_FLAG, NULL, "Leave the domain paused"},
    {0},
};

static const struct option_spec release_options[] = {
    {"all", OPTION_FLAG, NULL, "End every lease of the caller; for root, every lease"},
    {"no-wait", OPTION_FLAG, NULL, "Return before the domains are gone"},
    {0},
};

static const struct option_spec wait_options[] = {
    {"timeout", OPTION_DURATION, "DURATION",
     "Give up after this time, with TimedOut, instead of one minute"},
    {0},
};

static const struct option_spec call_options[] = {
    {"more", OPTION_FLAG, NULL, "Ask for a stream of replies"},
    {0},
};

static const struct option_spec help_options[] = {
    {"man", OPTION_FLAG, NULL, "Print the manual page dompool(1)"},
    {"completion", OPTION_FLAG, NULL, "Print the completion for bash"},
    {0},
};

const struct command commands[] = {
    {
        .name = "image import",
        .run = image_import,
        .args = "NAME SAVEFILE",
        .min_args = 2,
        .max_args = 2,
        .words = {WORD_NONE, WORD_FILE},
        .options = import_options,
        .summary = "Make an image of a file that `xl save` wrote",
        .details =
            "The daemon reads SAVEFILE and stores it as the image NAME, from which leases are "
            "then allocated. The image is durable when the command returns. On a terminal the "
            "progress is shown.\n"
            "\n"
            "Each --disk says how one disk of the saved domain is provided to the domains of the "
            "pool: ro:PATH the block device or raw file itself, read-only; cow:PATH a private "
            "view of it that is thrown away with the domain, the default for writable disks; "
            "phy:PATH the device itself, writable and shared by all leases; scratch:SIZE an "
            "empty disk, thrown away with the domain. Relative paths start at the working "
            "directory of the command.\n"
            "\n"
            "With --base the image is derived: only the pages that differ from IMAGE are kept, and "
            "the warm slots of IMAGE become it when it is allocated. The saved domain must be "
            "of the same lineage: a domain of IMAGE, or one restored from the same file, that ran "
            "on. What is not is refused, with the reason.\n"
            "\n"
            "With --replace an image of this name gets a new version. Leases of the old one go on; "
            "warm slots are turned into the new one.",
    },
    {
        .name = "image capture",
        .run = image_capture,
        .args = "NAME DOMAIN",
        .min_args = 2,
        .max_args = 2,
        .words = {WORD_NONE, WORD_LEASE},
        .options = capture_options,
        .summary = "Make an image of a running domain",
        .details =
            "DOMAIN is a lease, or any PV or PVH domain of this host, by name or domid. It is "
            "suspended with the help of its kernel, read, and goes on. Its disks must not "
            "have changed in a way that its kernel relies on: a disk that a lease has written to "
            "its private view is refused, unless --disk says how it is provided to the image's "
            "domains. The other options are those of image import.",
    },
    {
        .name = "image list",
        .run = image_list,
        .args = "",
        .summary = "List the images",
        .details = "STORED is the size of the image file; SLOTS and LEASES count what lives of "
                   "the image.",
    },
    {
        .name = "image show",
        .run = image_show,
        .args = "NAME",
        .min_args = 1,
        .max_args = 1,
        .words = {WORD_IMAGE, WORD_NONE},
        .summary = "Show one image: sizes, disks and configuration",
        .details = "",
    },
    {
        .name = "image diff",
        .run = image_diff,
        .args = "A B",
        .min_args = 2,
        .max_args = 2,
        .words = {WORD_IMAGE, WORD_IMAGE},
        .summary = "Show in what image B differs from image A",
        .details = "Counts pages, page tables among them, and the records of vCPUs and platform "
                   "that differ. Pages of the toolstack's (p2m frames, xenstore and console rings) "
                   "always differ and never matter.",
    },
    {
        .name = "image verify",
        .run = image_verify,
        .args = "NAME...",
        .min_args = 1,
        .max_args = UINT_MAX,
        .words = {WORD_IMAGE, WORD_IMAGE},
        .summary = "Check the digests of images and the fingerprints of their disks",
        .details = "Reads the whole files. Images are checked when they are imported and when the "
                   "daemon starts, too, but never while a domain is allocated.",
    },
    {
        .name = "image export",
        .run = image_export,
        .args = "NAME FILE",
        .min_args = 2,
        .max_args = 2,
        .words = {WORD_IMAGE, WORD_FILE},
        .summary = "Write an image, base or derived, as a file for `xl restore`",
        .details = "FILE must not exist. It can be imported again.",
    },
    {
        .name = "image rm",
        .run = image_rm,
        .args = "NAME...",
        .min_args = 1,
        .max_args = UINT_MAX,
        .words = {WORD_IMAGE, WORD_IMAGE},
        .summary = "Remove images and their warm slots",
        .details = "An image with living leases is refused with ImageInUse; the images named "
                   "after it are removed all the same, and the exit status is 1.",
    },
    {
        .name = "allocate",
        .run = lease_allocate,
        .args = "IMAGE",
        .min_args = 1,
        .max_args = 1,
        .words = {WORD_IMAGE, WORD_NONE},
        .options = allocate_options,
        .summary = "Take a running domain of an image from the pool",
        .details =
            "Prints the domain, the lease and the stages of the allocation with their times. The "
            "lease ends by `dompool release`, after its --ttl, or, with --hold, with this "
            "command. Its domain is then destroyed, never given to somebody else.\n"
            "\n"
            "With --hold the command prints as usual and then stays. On SIGINT, SIGTERM or "
            "SIGHUP it releases the lease and returns when the domain is gone; a second signal "
            "does not wait. It returns, too, when the lease ends by itself. The end of standard "
            "input means nothing to it. If it is killed, the lease ends as well.\n"
            "\n"
            "If what it prints cannot be written, the lease is released again.",
    },
    {
        .name = "release",
        .run = lease_release,
        .args = "LEASE|DOMAIN...",
        .min_args = 0, /* with --all */
        .max_args = UINT_MAX,
        .words = {WORD_LEASE, WORD_LEASE},
        .options = release_options,
        .summary = "End leases and destroy their domains",
        .details = "A lease is named by its id, or by the name or domid of its domain. Either "
                   "names or --all must be given. Returns when the domains are gone.",
    },
    {
        .name = "list",
        .run = lease_list,
        .args = "",
        .summary = "List slots and leases",
        .details = "One line a slot, with the lease that it serves. SINCE is the time in its "
                   "state, EXPIRES the time that the lease has left, UID its owner.",
    },
    {
        .name = "trace",
        .run = lease_trace,
        .args = "LEASE",
        .min_args = 1,
        .max_args = 1,
        .words = {WORD_LEASE, WORD_NONE},
        .summary = "Show what the allocation of a lease did, as a timeline",
        .details =
            "One line a stage, in order: when it began after the request came, how long it took, "
            "how many hypercalls it made (the kernel's, with which it copies pages for us, are not "
            "seen), and how many pages of the domain it wrote. The first is the "
            "choice of a slot: pick, or wait when none was warm. handover is the way to the slot's "
            "helper process and return the way back, when the domain runs already; commit, the "
            "last, is the database. Those between depend on the engine.\n"
            "\n"
            "Every allocation is recorded, and the record is written when nobody waits for it any "
            "more. It is kept across restarts and after the lease has ended, until 10,000 younger "
            "leases have been given. LEASE is a lease's id, or the name or domid of its domain; a "
            "lease that has ended, its id, or the name that its domain had, of which the newest is "
            "meant.",
    },
    {
        .name = "status",
        .run = pool_status,
        .args = "",
        .summary = "Show the daemon, its pools, and what keeps them from filling",
        .details = "",
    },
    {
        .name = "pool show",
        .run = pool_show,
        .args = "[IMAGE]",
        .max_args = 1,
        .words = {WORD_IMAGE, WORD_NONE},
        .summary = "Show the pools, or that of one image",
        .details = "HITS counts the allocations that found a warm slot, MISSES the others.",
    },
    {
        .name = "pool set",
        .run = pool_set,
        .args = "IMAGE KEY=VALUE...",
        .min_args = 2,
        .max_args = UINT_MAX,
        .words = {WORD_IMAGE, WORD_NONE},
        .summary = "Change settings of one image's pool",
        .details = "The keys are those of an [image NAME] section of dompool.conf(5). What is set "
                   "here goes before the file and is kept across restarts; an empty VALUE takes it "
                   "back.",
    },
    {
        .name = "pool wait",
        .run = pool_wait,
        .args = "[IMAGE]",
        .max_args = 1,
        .words = {WORD_IMAGE, WORD_NONE},
        .options = wait_options,
        .summary = "Wait until a pool holds its minimum of warm slots",
        .details = "Without IMAGE, waits for every pool. Prints nothing, unless --json is given.",
    },
    {
        .name = "config show",
        .run = misc_config_show,
        .args = "",
        .summary = "Show every setting, its value and where it came from",
        .details = "",
    },
    {
        .name = "call",
        .run = misc_call,
        .args = "METHOD [JSON]",
        .min_args = 1,
        .max_args = 2,
        .words = {WORD_METHOD, WORD_NONE},
        .options = call_options,
        .summary = "Call a method of the daemon's interface",
        .details = "METHOD is one of io.dompool(7), like Status, or the full name of any other, "
                   "like org.varlink.service.GetInfo. JSON is the object of its parameters; \"-\" "
                   "reads it from standard input. Prints the reply, indented, or on one line with "
                   "--json.",
    },
    {
        .name = "help",
        .run = misc_help,
        .args = "[COMMAND]",
        .max_args = 2,
        .words = {WORD_COMMAND, WORD_COMMAND},
        .options = help_options,
        .summary = "Print the help of a command, or the list of all",
        .details = "",
    },
};
const size_t n_commands = ARRAY_SIZE(commands);
