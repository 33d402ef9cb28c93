/* The daemon, for its helpers: see parent.h. */
#include "restore/protocol/parent.h"

#include "base/message.h"
#include "restore/protocol/protocol.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* The parent made the socket pair; if we have another parent already, it died before prctl. */
static bool parent_is_gone(void)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(HELPER_FD, SOL_SOCKET, SO_PEERCRED, &peer, &size))
        return true;
    return peer.pid > 0 && peer.pid != getppid();
}

bool parent_attach(int signum)
{
    prctl(PR_SET_PDEATHSIG, signum);
    return !parent_is_gone();
}

int parent_tell(json_t *message, struct error *e)
{
    if (!message)
        return error_set(e, -ENOMEM, "out of memory for a message");
    int rc = message_send(HELPER_FD, message, e);
    json_decref(message);
    return rc;
}
