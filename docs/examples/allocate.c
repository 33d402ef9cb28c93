/*
 * Takes a domain of an image for as long as this program runs: the blocking calls.
 *
 *   cc allocate.c $(pkg-config --cflags --libs libdompool) && ./a.out web
 */
#include <dompool.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    struct dompool *pool;
    int rc = dompool_connect(NULL, &pool);
    if (rc) {
        fprintf(stderr, "%s: %s\n", dompool_socket_path(NULL), strerror(-rc));
        return 1;
    }

    struct dompool_allocate_options options = DOMPOOL_ALLOCATE_OPTIONS_INIT;
    options.image = argc > 1 ? argv[1] : "web";
    options.wait_ms = 10000;
    options.hold = true; /* the lease ends with the connection, however this program ends */

    struct dompool_lease *lease;
    rc = dompool_allocate(pool, &options, &lease);
    if (rc) {
        fprintf(stderr, "%s: %s\n", rc == DOMPOOL_REFUSED ? dompool_error_name(pool) : "failed",
                dompool_error_text(pool));
        dompool_close(pool);
        return 1;
    }
    printf("domain %s, domid %" PRId64 ", after %" PRIu64 " us\n", lease->name, lease->domid,
           lease->total_us);
    for (size_t i = 0; i < lease->n_stages; i++)
        printf("  %s: %" PRIu64 " us\n", lease->stages[i].name, lease->stages[i].us);
    puts("Enter ends the lease.");
    getchar();

    dompool_lease_free(lease);
    dompool_close(pool);
    return 0;
}
