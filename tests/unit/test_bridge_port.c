/*
 * Ports of bridges (restore/xen/bridge_port.h) by this machine's kernel, in a network namespace of
 * the test's own: no interface of the machine is touched. veth pairs stand for what netback makes.
 * Frames are sent and looked for at both ends of the bridge.
 */
#include "tests/unit/check.h"

#include "base/array.h"
#include "restore/xen/bridge_port.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct mac first = {{2, 0, 0, 0, 0, 1}}, second = {{2, 0, 0, 0, 0, 2}},
                        stranger = {{2, 0, 0, 0, 0, 9}};

/* ---- the namespace ---- */

static void write_to(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        fail_msg("%s: %s", path, strerror(errno));
    close(fd);
}

static int enter(void **state)
{
    char map[40];
    unsigned uid = getuid(), gid = getgid();
    (void)state;
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET))
        fail_msg("a network namespace for the test: %s", strerror(errno));
    snprintf(map, sizeof map, "0 %u 1", uid);
    write_to("/proc/self/uid_map", map);
    write_to("/proc/self/setgroups", "deny");
    snprintf(map, sizeof map, "0 %u 1", gid);
    write_to("/proc/self/gid_map", map);
    return 0;
}

static void ip(const char *command)
{
    char line[200];
    snprintf(line, sizeof line, "ip link %s", command);
    if (system(line))
        fail_msg("%s", line);
}

/* A bridge, with the host's own port "wire", whose other end is "host", and two interfaces "vif1.0"
 * and "vif2.0" of guests, whose other ends are "g1" and "g2". */
static int begin(void **state)
{
    (void)state;
    static const char *const commands[] = {"add br0 type bridge",
                                           "set br0 mtu 1400 up",
                                           "add wire type veth peer name host",
                                           "add vif1.0 type veth peer name g1",
                                           "add vif2.0 type veth peer name g2",
                                           "set wire master br0 up",
                                           "set host up",
                                           "set g1 up",
                                           "set g2 up"};
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
        ip(commands[i]);
    return 0;
}

static int end(void **state)
{
    (void)state;
    static const char *const commands[] = {"del br0", "del host", "del g1", "del g2"};
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
        ip(commands[i]);
    return 0;
}

static struct error err;

static struct bridge_port port_of(const char *device, const struct mac *mac)
{
    struct bridge_port p = {
        .device = device, .mtu = 1400, .mac = *mac, .isolated = true, .filtered = true};
    if (bridge_find("br0", &p.bridge, &err))
        fail_msg("%s", err.text);
    return p;
}

static void make(const struct bridge_port *p)
{
    if (bridge_port_make(p, &err))
        fail_msg("%s", err.text);
}

/* ---- frames ---- */

#define TYPE 0x88b5 /* for experiments, IEEE 802 */

static int packets(const char *device)
{
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(TYPE));
    struct sockaddr_ll at = {.sll_family = AF_PACKET,
                             .sll_protocol = htons(TYPE),
                             .sll_ifindex = (int)if_nametoindex(device)};
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at))
        fail_msg("%s: %s", device, strerror(errno));
    return fd;
}

/* Whether a broadcast frame from this address gets from one end to the other; *as, which may be
 * NULL, is the address that it has there. */
static bool passes_as(const char *from, const struct mac *source, const char *to, struct mac *as)
{
    uint8_t frame[60] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    int out = packets(from), in = packets(to);
    memcpy(frame + 6, source->b, 6);
    frame[12] = TYPE >> 8;
    frame[13] = TYPE & 0xff;
    bool came = false;
    for (int i = 0; i < 20 && !came; i++) { /* a port may take a moment to come up */
        struct pollfd p = {.fd = in, .events = POLLIN};
        if (write(out, frame, sizeof frame) != sizeof frame)
            fail_msg("%s: %s", from, strerror(errno));
        came = poll(&p, 1, 25) > 0;
    }
    if (came && as &&
        (read(in, frame, sizeof frame) != sizeof frame || !memcpy(as->b, frame + 6, 6)))
        fail_msg("%s: %s", to, strerror(errno));
    close(out);
    close(in);
    return came;
}

static bool passes(const char *from, const struct mac *source, const char *to)
{
    return passes_as(from, source, to, NULL);
}

/* ---- tests ---- */

static void finds_bridges(void **state)
{
    struct bridge b;
    (void)state;
    assert_int_equal(bridge_find("br0", &b, &err), 0);
    assert_int_equal(b.index, if_nametoindex("br0"));
    assert_int_equal(b.mtu, 1400);
    assert_int_equal(bridge_find("br1", &b, &err), -ENODEV);
    assert_says(err.text, "no bridge br1");
    assert_int_equal(bridge_find("host", &b, &err), -ENODEV);
    assert_says(err.text, "host is a network interface, but no bridge");
}

static void plain(void **state)
{
    struct bridge_port one = port_of("vif1.0", &first), two = port_of("vif2.0", &second);
    (void)state;
    one.isolated = one.filtered = two.isolated = two.filtered = false;
    one.name = "web";
    make(&one);
    make(&two);
    assert_int_equal(if_nametoindex("vif1.0"), 0);
    assert_true(passes("g1", &stranger, "host"));
    assert_true(passes("g1", &first, "g2"));
    assert_true(passes("host", &stranger, "g1"));
}

/* Its own address alone, and in both directions with what is not isolated. */
static void guarded(void **state)
{
    struct bridge_port one = port_of("vif1.0", &first), two = port_of("vif2.0", &second);
    (void)state;
    make(&one);
    make(&two);
    assert_true(passes("g1", &first, "host"));
    assert_true(passes("g2", &second, "host"));
    assert_true(passes("host", &stranger, "g1"));
    assert_false(passes("g1", &stranger, "host"));
    assert_false(passes("g1", &second, "host")); /* its neighbour's */
    assert_false(passes("g1", &first, "g2"));
}

static void filter_moves(void **state)
{
    struct bridge_port one = port_of("vif1.0", &first);
    (void)state;
    make(&one);
    assert_int_equal(bridge_port_set_mac("vif1.0", &first, &second, NULL, &err), 0);
    assert_true(passes("g1", &second, "host"));
    assert_false(passes("g1", &first, "host"));
    assert_int_equal(bridge_port_set_mac("vif9.0", &first, &second, NULL, &err), -ENODEV);
    assert_says(err.text, "vif9.0");
}

/* Two with one address: the one that was named last has it. */
static void closed(void **state)
{
    struct bridge_port one = port_of("vif1.0", &first), two = port_of("vif2.0", &first);
    (void)state;
    one.closed = two.closed = true;
    make(&one);
    make(&two);
    assert_false(passes("g1", &first, "host"));
    assert_int_equal(bridge_port_set_mac("vif1.0", NULL, &first, NULL, &err), 0);
    assert_true(passes("g1", &first, "host"));
    assert_false(passes("g2", &first, "host"));
    assert_int_equal(bridge_port_set_mac("vif2.0", NULL, &first, NULL, &err), 0);
    assert_true(passes("g2", &first, "host"));
    assert_false(passes("g1", &first, "host"));
}

static void passes_with(const struct mac *source, const struct mac *wanted)
{
    struct mac as;
    assert_true(passes_as("g1", source, "host", &as));
    assert_true(mac_equal(&as, wanted));
}

/* Whatever a guest writes into its frames, they have its port's address, before the filter looks. A
 * kernel that cannot do that says so; on the embedded Xen it always can (tests/xen/network.sh). */
static void rewritten(void **state)
{
    struct bridge_port one = port_of("vif1.0", &first);
    (void)state;
    const struct entrance as_first = {.mac = first}, as_second = {.mac = second};
    one.entrance = &as_first;
    if (bridge_port_make(&one, &err)) {
        assert_int_equal(err.code, -EOPNOTSUPP);
        assert_says(err.text,
                    "vif1.0: this kernel cannot rewrite the source of frames; the modules");
        assert_false(passes("g1", &first, "host")); /* it is in no bridge */
        print_message("this kernel cannot rewrite\n");
        return;
    }
    passes_with(&first, &first);
    passes_with(&stranger, &first);
    assert_int_equal(bridge_port_set_mac("vif1.0", &first, &second, &as_second, &err), 0);
    passes_with(&first, &second);
    passes_with(&second, &second);
}

static void refusals(void **state)
{
    struct bridge_port p = port_of("vif1.0", &first);
    (void)state;
    p.name = "host";
    assert_int_equal(bridge_port_make(&p, &err), -EEXIST);
    assert_says(err.text, "one called host already");
    p = port_of("vif9.0", &first);
    assert_int_equal(bridge_port_make(&p, &err), -ENODEV);
    assert_says(err.text, "vif9.0");
    p = port_of("vif1.0", &first);
    p.mtu = 70000;
    assert_int_equal(bridge_port_make(&p, &err), -EINVAL);
    p.mtu = 1400;
    p.bridge.index = if_nametoindex("host");
    assert_true(bridge_port_make(&p, &err) < 0);
    assert_says(err.text, "vif1.0");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(finds_bridges), TEST(plain),     TEST(guarded),  TEST(filter_moves),
        TEST(closed),        TEST(rewritten), TEST(refusals),
    };
    return cmocka_run_group_tests(tests, enter, NULL);
}
