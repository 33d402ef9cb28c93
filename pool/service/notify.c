/* sd_notify: see notify.h. */
#include "pool/service/notify.h"

#include "base/io.h"
#include "base/text.h"
#include "base/units.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void notify(const char *state)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = getenv("NOTIFY_SOCKET");
    if (!path || (path[0] != '/' && path[0] != '@') ||
        !format_fits(address.sun_path, sizeof address.sun_path, "%s", path))
        return;
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    if (path[0] == '@')
        address.sun_path[0] = '\0'; /* an abstract socket */
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    (void)!sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address, len);
    fd_close(&fd);
}

uint64_t notify_watchdog_us(void)
{
    uint64_t us, pid;
    const char *text = getenv("WATCHDOG_USEC"), *whose = getenv("WATCHDOG_PID");
    if (!text || number_parse(text, 1, UINT64_MAX / 2, &us))
        return 0;
    if (whose && (number_parse(whose, 1, INT32_MAX, &pid) || pid != (uint64_t)getpid()))
        return 0;
    return us;
}
