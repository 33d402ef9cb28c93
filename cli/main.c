/*
 * dompool(1): asks dompoold(8), over its socket, for what the command line says.
 *
 *   main.c      this: parse, run, exit status
 *   commands.c  every command, its words and options; parse.c reads argv by it
 *   help.c      what the table says of itself; the manual page and completion.bash.in as well get
 *               it, from docs/document/
 *   image.c lease.c trace.c pool.c misc.c    the commands; hold.c keeps a lease in the foreground
 *   talk.c      requests, and what is said when they fail
 *   output.c    lines, progress, JSON: the one way to the terminal for strings of others
 *   members.c   members of the daemon's answers, and numbers as people read them
 *   grid.c      aligned columns
 *   libdompool/ the client library (include/dompool.h), on which all of this stands
 */
#include "cli/command.h"
#include "cli/help.h"
#include "cli/output.h"
#include "dompool.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

/*
 * Started with a standard descriptor closed, the socket would take its number, and what is
 * printed would go to the daemon. /dev/null takes the place, opened the wrong way round, so that
 * using the descriptor still fails as it would have.
 */
static void standard_descriptors(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd ? O_RDONLY : O_WRONLY) != fd)
            _exit(STATUS_LOCAL);
}

static int usage(const struct invocation *inv, const struct error *e, int status)
{
    complain("%s", e->text);
    if (status == STATUS_USAGE) {
        help_usage(stderr, inv->command);
        if (!inv->command)
            fputs("`dompool help` lists the commands.\n", stderr);
    }
    return status;
}

static int run(struct invocation *inv)
{
    if (option_given(inv, "version"))
        return help_version();
    if (option_given(inv, "help") && inv->command)
        return help_command(inv->command);
    if (option_given(inv, "help"))
        return help_list(inv->n_args ? inv->args[0] : NULL);
    int status = inv->command->run(inv);
    if (status == STATUS_USAGE)
        help_usage(stderr, inv->command);
    return status;
}

int main(int argc, char **argv)
{
    standard_descriptors();
    signal(SIGPIPE, SIG_IGN); /* out_finish looks at what was written instead */
    struct invocation inv;
    struct error e = {0};
    int status = invocation_parse(argc ? argc - 1 : 0, argv + (argc > 0), &inv, &e);
    status = status ? usage(&inv, &e, status) : run(&inv);
    dompool_close(inv.daemon);
    invocation_dispose(&inv);
    int written = out_finish();
    return status ? status : written;
}
