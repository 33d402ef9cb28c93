/*
 * base/confine.h: a child process confines itself and then tries what it must not be able to do.
 * What it found comes back as its exit status; nothing of cmocka works in there.
 */
#include "tests/unit/check.h"

#include "base/array.h"
#include "base/confine.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define HEAP (16u << 20)

static const struct confine_user nobody = {65534, 65534};
static int channel[2]; /* a socket pair, and a file, that the child had before */
static int open_file = -1;
static pid_t parent;

/* ---- what it must not be able to do: each returns what the call did ---- */

static long try_open(void)
{
    return open("/dev/null", O_RDONLY);
}

static long try_openat(void)
{
    return syscall(SYS_openat, AT_FDCWD, "/proc/self/status", O_RDONLY);
}

static long try_create(void)
{
    return open("/tmp/dompool-confine", O_CREAT | O_WRONLY, 0600);
}

static long try_socket(void)
{
    return socket(AF_UNIX, SOCK_STREAM, 0);
}

static long try_inet(void)
{
    return socket(AF_INET, SOCK_STREAM, 0);
}

static long try_connect(void)
{
    const struct sockaddr_un a = {AF_UNIX, "/run/dompool/io.dompool"};
    return connect(channel[1], (const struct sockaddr *)&a, sizeof a);
}

static long try_send_to(void)
{
    const struct sockaddr_un a = {AF_UNIX, "/run/systemd/notify"};
    return sendto(channel[1], "x", 1, MSG_NOSIGNAL, (const struct sockaddr *)&a, sizeof a);
}

static long try_exec(void)
{
    char *const none[] = {NULL};
    return execve("/bin/true", none, none);
}

static long try_fork(void)
{
    long pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (!pid)
        _exit(0);
    return pid;
}

static long try_ptrace(void)
{
    return ptrace(PTRACE_ATTACH, parent, NULL, NULL);
}

static long try_kill(void)
{
    return kill(parent, 0);
}

static long try_read_memory(void)
{
    return syscall(SYS_process_vm_readv, parent, NULL, 0, NULL, 0, 0);
}

static long try_root(void)
{
    return setresuid(0, 0, 0);
}

static long try_unlink(void)
{
    return unlink("/tmp/dompool-confine-none");
}

static long try_rename(void)
{
    return rename("/tmp/dompool-confine-none", "/tmp/dompool-confine-other");
}

static long try_mkdir(void)
{
    return mkdir("/tmp/dompool-confine-dir", 0700);
}

static long try_chmod(void)
{
    return fchmod(open_file, 0777);
}

static long try_ioctl(void)
{
    int n;
    return ioctl(open_file, FIONREAD, &n);
}

static long try_namespace(void)
{
    return unshare(CLONE_NEWUSER);
}

static long try_mount(void)
{
    return mount("none", "/mnt", "tmpfs", 0, NULL);
}

static long try_executable(void)
{
    void *p = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? -1 : 0;
}

static long try_make_executable(void)
{
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? 0 : mprotect(p, 4096, PROT_READ | PROT_EXEC);
}

static long try_prctl(void)
{
    return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

static long try_io_uring(void)
{
    return syscall(SYS_io_uring_setup, 1, NULL);
}

static const struct {
    const char *name;
    long (*call)(void);
} forbidden[] = {
    {"open", try_open},
    {"openat", try_openat},
    {"create", try_create},
    {"socket", try_socket},
    {"inet socket", try_inet},
    {"connect", try_connect},
    {"sendto an address", try_send_to},
    {"execve", try_exec},
    {"fork", try_fork},
    {"ptrace", try_ptrace},
    {"kill", try_kill},
    {"process_vm_readv", try_read_memory},
    {"setresuid", try_root},
    {"unlink", try_unlink},
    {"rename", try_rename},
    {"mkdir", try_mkdir},
    {"fchmod", try_chmod},
    {"ioctl", try_ioctl},
    {"unshare", try_namespace},
    {"mount", try_mount},
    {"mmap of code", try_executable},
    {"mprotect of code", try_make_executable},
    {"prctl", try_prctl},
    {"io_uring", try_io_uring},
};

/* ---- children ---- */

/* Status of a child that confines itself and runs `then`. */
static int child(int (*then)(void))
{
    int status;
    parent = getpid();
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (!pid) {
        struct error e = {0};
        signal(SIGSEGV, SIG_DFL); /* cmocka has a handler */
        if (confine(&nobody, HEAP, &e)) {
            fprintf(stderr, "%s\n", e.text);
            _exit(255);
        }
        _exit(then());
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

/* 0, or one more than the number of the first call that is not refused by the filter. */
static int all_refused(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(forbidden); i++) {
        errno = 0;
        if (forbidden[i].call() != -1 || errno != EPERM)
            return (int)i + 1;
    }
    return 0;
}

static void forbidden_calls(void **state)
{
    (void)state;
    int status = child(all_refused);
    assert_true(WIFEXITED(status));
    int n = WEXITSTATUS(status);
    if (n && n <= (int)ARRAY_SIZE(forbidden))
        fail_msg("%s is not refused", forbidden[n - 1].name);
    assert_int_equal(n, 0);
}

/* What the reader of a file needs. */
static int work(void)
{
    char byte = 'x';
    void *memory = malloc(4u << 20);
    void *map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, open_file, 0);
    if (!memory || map == MAP_FAILED || madvise(map, 4096, MADV_DONTNEED))
        return 1;
    memory = realloc(memory, 8u << 20);
    if (!memory || pwrite(open_file, "abc", 3, 0) != 3 || ftruncate(open_file, 8192))
        return 2;
    if (fsync(open_file) || lseek(open_file, 0, SEEK_SET) || read(open_file, &byte, 1) != 1)
        return 3;
    struct stat st;
    if (fstat(open_file, &st) || st.st_size != 8192 || byte != 'a')
        return 4;
    int again = dup(open_file);
    if (again < 0 || close(again))
        return 5;
    if (send(channel[1], "y", 1, MSG_NOSIGNAL) != 1 || recv(channel[1], &byte, 1, 0) != 1)
        return 6;
    log_info("this line comes out of a confined process"); /* clock, time zone, standard error */
    free(memory);
    return 0;
}

static void allowed_calls(void **state)
{
    (void)state;
    assert_int_equal(write(channel[0], "z", 1), 1);
    int status = child(work);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static int say_and_wait(void)
{
    char byte;
    return send(channel[1], "r", 1, MSG_NOSIGNAL) != 1 || recv(channel[1], &byte, 1, 0) != 1;
}

/* What the kernel says of it. */
static void status_of(pid_t pid, char *text, size_t size)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);
    assert_true(n > 0);
    text[n] = '\0';
    close(fd);
}

static void who_it_is(void **state)
{
    char text[8192], byte;
    int status;
    (void)state;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (!pid) {
        struct error e;
        _exit(confine(&nobody, HEAP, &e) ? 255 : say_and_wait());
    }
    assert_int_equal(read(channel[0], &byte, 1), 1);
    status_of(pid, text, sizeof text);
    assert_non_null(strstr(text, "\nSeccomp:\t2\n"));
    assert_non_null(strstr(text, "\nNoNewPrivs:\t1\n"));
    assert_non_null(strstr(text, "\nCapEff:\t0000000000000000\n"));
    assert_non_null(strstr(text, "\nCapPrm:\t0000000000000000\n"));
    if (!geteuid()) {
        assert_non_null(strstr(text, "\nUid:\t65534\t65534\t65534\t65534\n"));
        assert_non_null(strstr(text, "\nGid:\t65534\t65534\t65534\t65534\n"));
        assert_non_null(strstr(text, "\nGroups:\t \n"));
    }
    assert_int_equal(write(channel[0], "g", 1), 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static int eat_memory(void)
{
    for (unsigned i = 0; i < 64; i++) {
        char *p = malloc(8u << 20);
        if (!p)
            return i > 1 ? 0 : 1;
        memset(p, 1, 8u << 20);
    }
    return 2;
}

static void heap_is_bounded(void **state)
{
#ifdef __SANITIZE_ADDRESS__
    skip();
#endif
    (void)state;
    int status = child(eat_memory);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* Numbers of another convention are other calls. */
static int call_as_i386(void)
{
    long r;
    __asm__ volatile("int $0x80" : "=a"(r) : "a"(20L /* getpid of i386 */) : "memory");
    return 3;
}

static int call_as_x32(void)
{
    syscall(0x40000000L | SYS_getpid);
    return 3;
}

static void other_conventions(void **state)
{
    int (*const calls[])(void) = {call_as_i386, call_as_x32};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
        int status = child(calls[i]);
        assert_true(WIFSIGNALED(status)); /* SIGSYS; SIGSEGV where the kernel knows no int 0x80 */
    }
}

/* It does not outlive the process that made it. */
static void ends_with_its_maker(void **state)
{
    char byte;
    int status;
    (void)state;
    pid_t maker = fork();
    assert_true(maker >= 0);
    if (!maker) {
        if (!fork()) {
            struct error e;
            close(channel[0]);
            _exit(confine(&nobody, HEAP, &e) ? 255 : say_and_wait());
        }
        pause();
        _exit(0);
    }
    close(channel[1]);
    assert_int_equal(read(channel[0], &byte, 1), 1);
    kill(maker, SIGKILL);
    assert_int_equal(waitpid(maker, &status, 0), maker);
    assert_int_equal(read(channel[0], &byte, 1), 0); /* its end of the pair is closed */
}

/* ---- users ---- */

static void users(void **state)
{
    struct confine_user user;
    struct error e;
    (void)state;
    assert_int_equal(confine_user_find("1234", &user, &e), 0);
    assert_int_equal(user.uid, 1234);
    assert_int_equal(user.gid, 1234);
    assert_int_equal(confine_user_find(CONFINE_USER, &user, &e), 0);
    assert_true(user.uid && user.gid);
    assert_int_equal(confine_user_find("root", &user, &e), ANSWER_BAD_VALUE);
    assert_says(e.text, "is root");
    assert_int_equal(confine_user_find("0", &user, &e), ANSWER_BAD_VALUE);
    assert_int_equal(confine_user_find("no-such-user-here", &user, &e), ANSWER_BAD_VALUE);
    assert_says(e.text, "adduser --system");
    assert_says(e.text, "helper_user");
}

/* Root that may not become somebody else does not go on as root. */
static int without_setuid(void)
{
    struct error e = {0};
    if (confine(&(struct confine_user){(uid_t)-2, (gid_t)-2}, HEAP, &e))
        return strstr(e.text, "helper_user") ? 0 : 1;
    return 2;
}

static void never_as_root(void **state)
{
    int status;
    (void)state;
    if (geteuid())
        skip();
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (!pid) {
        for (int cap = 0; cap < 64; cap++) /* of what an exec could get, and so of what it has */
            prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
        const struct {
            uint32_t version;
            int pid;
        } head = {0x20080522 /* _LINUX_CAPABILITY_VERSION_3 */, 0};
        const uint32_t none[6] = {0};
        if (syscall(SYS_capset, &head, none))
            _exit(9);
        _exit(without_setuid());
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static int setup(void **state)
{
    (void)state;
    scratch_write(&dir, "f", "0123456789", 10);
    open_file = open(scratch_path(&dir, "f"), O_RDWR | O_CLOEXEC);
    return open_file < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, channel);
}

static int teardown(void **state)
{
    close(open_file);
    close(channel[0]);
    close(channel[1]);
    return dir_clean(state);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(forbidden_calls), TEST(allowed_calls),     TEST(who_it_is),
        TEST(heap_is_bounded), TEST(other_conventions), TEST(ends_with_its_maker),
        TEST(never_as_root),   cmocka_unit_test(users),
    };
    log_init("test_confine", LOG_LEVEL_INFO);
    return cmocka_run_group_tests(tests, dir_setup, dir_teardown);
}
