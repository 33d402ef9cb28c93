/*
 * Waits for a pool to fill up and goes on with other work: the non-blocking calls in a loop of
 * poll(2). Any other loop (libuv, libev, glib) takes the same three functions.
 *
 *   cc watch.c $(pkg-config --cflags --libs libdompool) && ./a.out web
 */
#include <dompool.h>

#include <poll.h>
#include <stdio.h>
#include <string.h>

static void filled(struct dompool *pool, int rc, bool more, const char *reply, void *data)
{
    bool *done = data;
    if (rc == DOMPOOL_REFUSED)
        printf("%s: %s\n", dompool_error_name(pool), dompool_error_text(pool));
    else if (rc < 0)
        printf("connection: %s\n", dompool_error_text(pool));
    else
        printf("filled: %s\n", reply);
    *done = !more;
}

int main(int argc, char **argv)
{
    struct dompool *pool;
    int rc = dompool_connect(NULL, &pool);
    if (rc) {
        fprintf(stderr, "%s: %s\n", dompool_socket_path(NULL), strerror(-rc));
        return 1;
    }

    char parameters[128];
    snprintf(parameters, sizeof parameters, "{\"image\": \"%.63s\"}", argc > 1 ? argv[1] : "web");
    bool done = false;
    rc = dompool_start(pool, "PoolWait", parameters, 0, filled, &done);
    while (!rc && !done) {
        struct pollfd watch = {.fd = dompool_fd(pool), .events = dompool_events(pool)};
        if (poll(&watch, 1, 1000) == 0)
            puts("other work");
        rc = dompool_dispatch(pool);
    }
    dompool_close(pool);
    return rc ? 1 : 0;
}
