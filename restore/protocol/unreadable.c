/* Images that cannot be read: see unreadable.h. In a signal handler there is no malloc and no
 * stdio, so the message is put together by hand. */
#include "restore/protocol/unreadable.h"

#include "store/image.h"

#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD "{\"event\":\"failed\",\"answer\":\"ImageRefused\",\"error\":\""
#define TAIL "\"}" /* and the NUL that ends a message */
#define WHY                                                                                        \
    " cannot be read: the disk is failing, or the file has become shorter. Look at the kernel's "  \
    "log; restore the file from a copy, or import the image again"

static int report_fd = -1;

struct line {
    char text[1024];
    size_t len;
};

static void add(struct line *l, const char *text, size_t n)
{
    size_t room = sizeof l->text - l->len;
    if (n > room)
        n = room;
    memcpy(l->text + l->len, text, n);
    l->len += n;
}

static void add_text(struct line *l, const char *text)
{
    add(l, text, strlen(text));
}

/* What would need an escape in JSON is left out; a path that is too long is cut at a character's
 * start. */
static void add_path(struct line *l, const char *path)
{
    const size_t path_max = 480;
    size_t n = strlen(path);
    if (n > path_max)
        for (n = path_max; n && ((unsigned char)path[n] & 0xc0) == 0x80;)
            n--;
    for (size_t i = 0; i < n; i++)
        add(l, (unsigned char)path[i] < 0x20 || strchr("\"\\", path[i]) ? "?" : path + i, 1);
}

static void add_number(struct line *l, uint64_t n)
{
    char digits[24];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + n % 10);
        n /= 10;
    } while (n);
    add(l, digits + at, sizeof digits - at);
}

static void on_sigbus(int signum, siginfo_t *si, void *context)
{
    uint64_t offset;
    const char *path = image_of_address(si->si_addr, &offset);
    struct line l = {.len = 0};
    (void)context;
    if (!path) {
        signal(signum, SIG_DFL); /* the same instruction runs again, and ends us */
        return;
    }
    if (report_fd >= 0)
        add_text(&l, HEAD);
    add_text(&l, "image file ");
    add_path(&l, path);
    add_text(&l, ": byte ");
    add_number(&l, offset);
    add_text(&l, WHY);
    if (report_fd >= 0) {
        add(&l, TAIL, sizeof TAIL);
        (void)!send(report_fd, l.text, l.len, MSG_NOSIGNAL);
    } else {
        add_text(&l, "\n");
        (void)!write(STDERR_FILENO, l.text, l.len);
    }
    _exit(1);
}

void unreadable_report(int fd)
{
    struct sigaction sa = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO};
    sigemptyset(&sa.sa_mask);
    report_fd = fd;
    sigaction(SIGBUS, &sa, NULL);
}
