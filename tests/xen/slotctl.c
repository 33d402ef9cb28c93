/*
 * slotctl: drives dompool-slot by hand, without a daemon. For tests of the engines on
 * the embedded Xen.
 *
 *   slotctl [--engine ENGINE] HELPER BASE.img NAME COW_DIR [IMAGE.img [paused]]
 *
 * Builds a slot from the base, completes it into IMAGE (the base when not given) and prints every
 * event as one line of JSON. Exit status: 0, or 1 when the helper failed.
 */
#include "base/message.h"
#include "base/uuid.h"
#include "restore/protocol/protocol.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t start_helper(const char *path, int *fd)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) {
        perror("socketpair");
        exit(1);
    }
    pid_t pid = fork();
    if (pid == 0) {
        dup2(pair[1], HELPER_FD);
        execl(path, path, (char *)NULL);
        perror(path);
        _exit(127);
    }
    close(pair[1]);
    *fd = pair[0];
    return pid;
}

static void send_or_die(int fd, json_t *request)
{
    struct error e = {0};
    if (!request || message_send(fd, request, &e)) {
        fprintf(stderr, "slotctl: %s\n", e.text);
        exit(1);
    }
    json_decref(request);
}

/* Prints events until the one that is wanted has come; false when the helper failed. */
static bool wait_for(int fd, struct message_reader *r, const char *wanted)
{
    for (;;) {
        struct error e = {0};
        json_t *event;
        if (message_receive(fd, r, &event, &e) != 1) {
            fprintf(stderr, "slotctl: the helper has gone: %s\n", e.text);
            return false;
        }
        char *text = json_dumps(event, JSON_COMPACT);
        puts(text);
        fflush(stdout);
        free(text);
        const char *name = json_string_value(json_object_get(event, "event"));
        bool found = name && !strcmp(name, wanted), failed = name && !strcmp(name, "failed");
        json_decref(event);
        if (found || failed)
            return found;
    }
}

int main(int argc, char **argv)
{
    const char *engine = "auto";
    if (argc > 2 && !strcmp(argv[1], "--engine")) {
        engine = argv[2];
        argc -= 2;
        argv += 2;
    }
    if (argc < 5) {
        fprintf(stderr, "usage: slotctl [--engine ENGINE] HELPER BASE.img NAME COW_DIR "
                        "[IMAGE.img [paused]]\n");
        return 64;
    }
    const char *image = argc > 5 ? argv[5] : argv[2];
    struct uuid uuid;
    char text[UUID_TEXT_SIZE];
    uuid_random(&uuid);
    uuid_format(&uuid, text);
    int fd;
    pid_t pid = start_helper(argv[1], &fd);
    struct message_reader r;
    message_reader_init(&r, HELPER_MESSAGE_LIMIT);
    send_or_die(fd, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "op", "build", "slot",
                              "s1", "uuid", text, "name", "slotctl", "image", argv[2], "engine",
                              engine, "tag", "slotctl", "cow_dir", argv[4]));
    if (!wait_for(fd, &r, "warm"))
        return 1;
    send_or_die(fd, json_pack("{s:s, s:s, s:s, s:b}", "op", "complete", "image", image, "name",
                              argv[3], "paused", argc > 6));
    bool ok = wait_for(fd, &r, "completed");
    if (ok)
        send_or_die(fd, json_pack("{s:s}", "op", "leave"));
    int status;
    waitpid(pid, &status, 0);
    return ok && !status ? 0 : 1;
}
