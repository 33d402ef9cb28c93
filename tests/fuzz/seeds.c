/* See seeds.h; each target says in its source how an input is read. */
#include "tests/fuzz/seeds.h"

#include "base/array.h"

#define SEED(target, name, text)                                                                   \
    {                                                                                              \
        target, name, text, sizeof(text) - 1                                                       \
    }

#define CALL(method, parameters)                                                                   \
    "{\"method\":\"io.dompool." method "\",\"parameters\":" parameters "}\0"

/* Controls of fuzz_api.c. */
#define ROOT "\x01\x30" /* '0' is a multiple of three */
#define USER "\x01\x31"
#define OTHER "\x01\x32"
#define MS_1 "\x02\x30"
#define MS_256 "\x02\x38"
#define MS_16384 "\x02\x3e"

/* Controls of fuzz_helper_messages.c. */
#define SLOT_0 "\x01\x01" /* 0 and 1 count from 0 */
#define SLOT_FIRST "\x01\x00"
#define IMAGE_FIRST "\x02\x00"
#define ASK(n) "\x05" n
#define PASS_1 "\x03\x30"
#define PASS_256 "\x03\x38"
#define PASS_4096 "\x03\x3c"
#define MADE                                                                                       \
    "{\"event\":\"done\",\"result\":{\"id\":\"11111111-2222-3333-4444-555555555555\","             \
    "\"base_id\":\"00000000-0000-0000-0000-000000000000\",\"guest\":\"pv\",\"vcpus\":2,"           \
    "\"created_ms\":1700000000000,\"max_pfn\":99,\"populated\":100,\"entries\":100,"               \
    "\"zero_pages\":10,\"free_pages\":0,\"payload_pages\":90,\"file_bytes\":400000,"               \
    "\"config\":{\"disks\":[{\"vdev\":\"xvda\",\"kind\":\"cow\",\"path\":\"/dev/golden\"}]}}}\0"
#define CREATED(domid) "{\"event\":\"created\",\"domid\":" domid "}\0"
#define WARM(domid)                                                                                \
    "{\"event\":\"warm\",\"domid\":" domid ",\"engine\":\"direct\",\"stages\":[{\"name\":"         \
    "\"create\",\"us\":9,\"hypercalls\":3,\"pages\":0}]}\0"
#define COMPLETED(domid)                                                                           \
    "{\"event\":\"completed\",\"domid\":" domid ",\"delta_pages\":7,\"start_us\":90,\"total_us\":" \
    "500,\"stages\":[{\"name\":\"vcpus\",\"us\":500,\"hypercalls\":3,\"pages\":7}]}\0"
#define FAILED(answer)                                                                             \
    "{\"event\":\"failed\",\"answer\":\"" answer "\",\"error\":\"e\",\"stage\":\"s\"}\0"

const struct seed seeds[] = {
    SEED("config", "all",
         "# a comment\n; another\n[daemon]\nstate_dir = /a\nrun_dir=/b\nsocket_mode = 0600\n"
         "socket_group = g\nlog_level = debug\nmax_clients = 5\nclients_per_user = 2\n"
         "leases_per_user = 3\nparallel = 2\nmemory_reserve = 1G\nbuild_timeout = 2m\n"
         "[pool]\nmin = 1\nmax = 4\nengine = direct\nretries = 0\nexpect_max = 1M\nttl = 2h\n"
         "[image fire]\nmin = 2\nbackoff = 500ms\nbackoff_max = 9s\n"
         "\x01[image fire]\nmax = 1\n[image ice]\nmin = 0\n"
         "\x01min=3\x01max=4\x01\x01min=9\x01\x01min=\x01ttl=5m\x01engine=guest\x01\x01wat=1"),
    SEED("config", "mistakes",
         "min = 1\n[daemon]\nwat = 5\nmin = 5\nparallel = many\nparallel = 0\nsocket_mode = 0999\n"
         "log_level = loud\njust words\n[nowhere]\n[image ../etc]\n[image x\n[pool]\nmax = 1\n"
         "min = 2\n\x01\x01min=1"),
    SEED("config", "contradiction", "\x01[image fire]\nmin = 9\n\x01max=4"),
    SEED("config", "nothing", "\x01\x01max=2\x01min=1\x01\x01max=\x01"),

    SEED("api", "life",
         ROOT CALL("Status", "{}") CALL("List", "{}") CALL(
             "Allocate", "{\"image\":\"fire\",\"name\":\"work\",\"ttl_ms\":9000,\"paused\":"
                         "true,\"meta\":{\"a\":\"b\"}}")
             MS_256 CALL("Trace", "{\"lease\":\"work\"}") CALL("LeaseWait", "{\"lease\":\"l1\"}")
                 OTHER CALL("Release", "{\"leases\":[\"l1\"]}")
                     ROOT CALL("Release", "{\"all\":true,\"wait\":false}")),
    SEED("api", "images",
         ROOT CALL("ImageList", "{}") CALL("ImageShow", "{\"name\":\"fire\"}")
             CALL("ImageImport", "{\"name\":\"ice\",\"path\":\"/save\",\"disks\":{\"xvda\":"
                                 "\"scratch:1M\"},\"replace\":true,\"disk_digests\":true}")
                 MS_16384 CALL("ImageVerify", "{\"name\":\"ice\"}")
                     CALL("ImageDiff", "{\"a\":\"fire\",\"b\":\"mist\"}")
                         MS_16384 CALL("ImageExport", "{\"name\":\"mist\",\"path\":\"/x\"}")
                             MS_16384 CALL("ImageRemove", "{\"name\":\"mist\"}") MS_16384),
    SEED("api", "capture",
         USER CALL("Allocate", "{\"image\":\"mist\",\"wait_ms\":5000,\"hold\":true}")
             MS_16384 ROOT CALL("ImageCapture",
                                "{\"name\":\"snow\",\"domain\":\"l1\",\"base\":\"fire\",\"stop\":"
                                "true,\"timeout_ms\":900}") MS_16384 "\x03\x31"),
    SEED("api", "pools",
         ROOT CALL("PoolShow", "{\"image\":\"fire\"}")
             CALL("PoolSet", "{\"image\":\"fire\",\"settings\":{\"min\":\"2\",\"max\":\"\"}}")
                 CALL("PoolWait", "{\"timeout_ms\":3000}") CALL("ConfigShow", "{}")
                     CALL("ImageAdopt", "{\"file\":\"x.img\",\"name\":\"y\"}") MS_16384),
    SEED("api", "service",
         "{\"method\":\"org.varlink.service.GetInfo\"}\0"
         "{\"method\":\"org.varlink.service.GetInterfaceDescription\",\"parameters\":{"
         "\"interface\":\"io.dompool\"},\"more\":true}\0" MS_1
         "{\"method\":\"io.dompool.Status\",\"oneway\":true}\0{\"method\":\"io.dom" MS_1
         "pool.Wat\"}\0[]\0"),
    SEED("api", "killed",
         USER CALL("Allocate", "{\"image\":\"fire\"}") MS_256 "\x0e\x30" ROOT CALL("List", "{}")
             MS_256 "\x06\x30" MS_256 CALL("Release", "{\"leases\":[\"fire-l1\"]}") MS_256),

    SEED("helper_messages", "life",
         ASK("\x01") PASS_256 SLOT_FIRST CREATED("1") PASS_1 WARM("1") PASS_256 COMPLETED("1")
             PASS_256 ASK("\x10") PASS_256 ASK("\x05") PASS_256),
    SEED("helper_messages", "refused",
         ASK("\x02") PASS_256 SLOT_FIRST CREATED("1") WARM("1") PASS_1
         "{\"event\":\"refused\",\"answer\":\"ImageRefused\",\"error\":\"e\"}\0" PASS_256 FAILED(
             "NoHostMemory") PASS_4096),
    SEED("helper_messages", "turned",
         ASK("\x03") PASS_256 SLOT_FIRST CREATED("1") WARM("1") PASS_256 ASK("\x07")
             PASS_256 IMAGE_FIRST MADE PASS_256 "\x04\x30" PASS_256 SLOT_FIRST WARM("1")
                 PASS_256 SLOT_0 CREATED("2") WARM("2") PASS_4096),
    SEED("helper_messages", "images",
         ASK("\x06") PASS_1 IMAGE_FIRST "{\"event\":\"progress\",\"done\":1,\"total\":2}\0" MADE
                                        "\x04\x30" PASS_256 ASK("\x0a") PASS_1 MADE
         "\x04\x30" PASS_256 ASK("\x0c") PASS_1
         "{\"event\":\"done\",\"result\":{\"pages\":3}}\0\x04\x30" PASS_256 ASK("\x0b")
             PASS_1 FAILED("ImageRefused") PASS_4096),
    SEED("helper_messages", "captured",
         ASK("\x01") PASS_256 SLOT_FIRST WARM("1") PASS_256 COMPLETED("1") PASS_256 ASK("\x09")
             PASS_1 IMAGE_FIRST MADE PASS_256 "\x08\x30" ASK("\x0e") PASS_4096),

    /* delete, copy and set; then table, row, column, type, length and content */
    SEED("db_rows", "values",
         "0\x02\x01\x30\x05\x01\x02\xff\x7f\x02\x02\x30\x04\x03\x03"
         "a/b\x02\x07\x30\x02\x04\x01\xff\x02\x01\x31\x06\x05\x01\x35\xff"),
    SEED("db_rows", "rows", "0\x08\x02\x30\x00\x31\x01\x01\x01\x03\x09\x09\x02\x30\x01\x01\x64"),
    SEED("db_rows", "leases", "0\x02\x02\x01\x04\x03\x07mist-l3\x02\x02\x01\x01\x01\x01\x02"),
    SEED("db_rows", "facts",
         "0\x02\x06\x01\x01\x03\x04"
         "dp-x\x02\x05\x30\x01\x01\x08\xff\xff\xff\xff\xff\xff\xff\x7f"),
    SEED("db_rows", "counter", "0\x02\x05\x30\x01\x03\x02no"),
    SEED("db_rows", "bytes", "1\x12\x30\x30\x03\x30\x30\x30\x30\x64\x30\x30\x01\x31\x31"),
};
const size_t n_seeds = ARRAY_SIZE(seeds);
