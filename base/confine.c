/*
 * A process without rights: see confine.h.
 *
 * The filter is a chain of comparisons, made from one list. It is for x86-64, as dompool is; a call
 * by another convention (int 0x80, x32) ends the process, since its numbers mean other calls.
 *
 * Order: bounds, user, no new privileges, filter. Each step needs what the next one takes away.
 */
#include "base/confine.h"

#include "base/array.h"
#include "base/units.h"

#include <errno.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pwd.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef __x86_64__
/* cppcheck-suppress preprocessorErrorDirective */
#error "the list of calls is that of x86-64"
#endif

/* ---- who it becomes ---- */

int confine_user_find(const char *name, struct confine_user *out, struct error *e)
{
    uint64_t number;
    if (!number_parse(name, 0, UINT32_MAX - 1, &number)) {
        *out = (struct confine_user){(uid_t)number, (gid_t)number};
    } else {
        errno = 0;
        const struct passwd *p = getpwnam(name);
        if (!p)
            return error_set(e, ANSWER_BAD_VALUE,
                             "helper_user: there is no user called \"%.40s\"%s%s; make it (adduser "
                             "--system), or name another one in dompool.conf",
                             name, errno ? ": " : "", errno ? strerror(errno) : "");
        *out = (struct confine_user){p->pw_uid, p->pw_gid};
    }
    if (out->uid && out->gid)
        return 0;
    return error_set(
        e, ANSWER_BAD_VALUE,
        "helper_user: \"%.40s\" is root, or of root's group; name a user without rights "
        "in dompool.conf",
        name);
}

static int failed(const char *doing, struct error *e)
{
    return error_errno(e, errno,
                       "a process that reads foreign data could not give up its rights, and does "
                       "not read without: %s",
                       doing);
}

static int user_become(const struct confine_user *user, struct error *e)
{
    uid_t uid[3];
    gid_t gid[3];
    if (geteuid() != 0)
        return 0;
    if (setgroups(0, NULL) || setresgid(user->gid, user->gid, user->gid) ||
        setresuid(user->uid, user->uid, user->uid))
        return failed("become the user of helper_user", e);
    if (getresuid(&uid[0], &uid[1], &uid[2]) || getresgid(&gid[0], &gid[1], &gid[2]))
        return failed("look who it is", e);
    for (size_t i = 0; i < ARRAY_SIZE(uid); i++)
        if (uid[i] != user->uid || gid[i] != user->gid) {
            errno = EPERM;
            return failed("become the user of helper_user for good", e);
        }
    return 0;
}

/* ---- bounds ---- */

/* AddressSanitizer and its kin map terabytes. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HEAP_BOUNDED false
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                         \
    __has_feature(memory_sanitizer)
#define HEAP_BOUNDED false
#endif
#endif
#ifndef HEAP_BOUNDED
#define HEAP_BOUNDED true
#endif

static int bound(__rlimit_resource_t what, uint64_t most, struct error *e)
{
    const struct rlimit limit = {most, most};
    return setrlimit(what, &limit) ? failed("bound what it may use", e) : 0;
}

/* RLIMIT_DATA counts private memory, and not the mappings of image files, which may be large. What
 * the process has already counts too. */
static int bounds_set(uint64_t heap_bytes, struct error *e)
{
    const uint64_t own = 64u << 20;
    int rc = bound(RLIMIT_CORE, 0, e);
    if (!rc)
        rc = bound(RLIMIT_NOFILE, CONFINE_FDS_MAX, e);
    if (!rc && HEAP_BOUNDED)
        rc = bound(RLIMIT_DATA, heap_bytes + own, e);
    return rc;
}

/* ---- the filter ---- */

enum condition {
    ALWAYS,
    NOT_EXECUTABLE, /* third argument: protection, without PROT_EXEC */
    NO_ADDRESS      /* fifth argument, an address to send to: none */
};

static const struct {
    unsigned nr;
    enum condition when;
} calls[] = {
    /* what is open */
    {SYS_read, ALWAYS},
    {SYS_write, ALWAYS},
    {SYS_readv, ALWAYS},
    {SYS_writev, ALWAYS},
    {SYS_pread64, ALWAYS},
    {SYS_pwrite64, ALWAYS},
    {SYS_lseek, ALWAYS},
    {SYS_fstat, ALWAYS},
    {SYS_newfstatat, ALWAYS}, /* glibc's fstat; of a path it tells what its user may know */
    {SYS_fadvise64, ALWAYS},
    {SYS_ftruncate, ALWAYS},
    {SYS_fsync, ALWAYS},
    {SYS_close, ALWAYS},
    {SYS_dup, ALWAYS},
    {SYS_poll, ALWAYS},
    {SYS_recvfrom, ALWAYS},
    {SYS_sendto, NO_ADDRESS},
    /* memory */
    {SYS_brk, ALWAYS},
    {SYS_mmap, NOT_EXECUTABLE},
    {SYS_mprotect, NOT_EXECUTABLE},
    {SYS_mremap, ALWAYS},
    {SYS_munmap, ALWAYS},
    {SYS_madvise, ALWAYS},
    /* itself */
    {SYS_futex, ALWAYS},
    {SYS_getpid, ALWAYS},
    {SYS_gettid, ALWAYS},
    {SYS_getrandom, ALWAYS},
    {SYS_clock_gettime, ALWAYS},
    {SYS_rt_sigaction, ALWAYS},
    {SYS_rt_sigprocmask, ALWAYS},
    {SYS_rt_sigreturn, ALWAYS},
    {SYS_sigaltstack, ALWAYS},
    {SYS_restart_syscall, ALWAYS},
    {SYS_exit, ALWAYS},
    {SYS_exit_group, ALWAYS},
};

#define DATA(member) offsetof(struct seccomp_data, member)
#define X32_BIT 0x40000000u /* __X32_SYSCALL_BIT of asm/unistd.h */
#define CALL_STEPS 8u       /* at most, of each call */

struct program {
    struct sock_filter steps[16 + ARRAY_SIZE(calls) * CALL_STEPS];
    unsigned short n;
};

static void add(struct program *p, unsigned short code, uint32_t k, unsigned char yes,
                unsigned char no)
{
    p->steps[p->n++] = (struct sock_filter){code, yes, no, k};
}

static void add_load(struct program *p, size_t offset)
{
    add(p, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

static void add_answer(struct program *p, uint32_t answer)
{
    add(p, BPF_RET | BPF_K, answer, 0, 0);
}

/* Little endian: the low half of an argument comes first. */
static void add_condition(struct program *p, enum condition c)
{
    const uint32_t no = SECCOMP_RET_ERRNO | EPERM;
    if (c == NOT_EXECUTABLE) {
        add_load(p, DATA(args[2]));
        add(p, BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 0, 1);
        add_answer(p, no);
    } else if (c == NO_ADDRESS) {
        add_load(p, DATA(args[4]));
        add(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0);
        add_answer(p, no);
        add_load(p, DATA(args[4]) + 4);
        add(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0);
        add_answer(p, no);
    }
    add_answer(p, SECCOMP_RET_ALLOW);
}

static void program_make(struct program *p)
{
    p->n = 0;
    add_load(p, DATA(arch));
    add(p, BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0);
    add_answer(p, SECCOMP_RET_KILL_PROCESS);
    add_load(p, DATA(nr));
    add(p, BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 1);
    add_answer(p, SECCOMP_RET_KILL_PROCESS);
    for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
        unsigned short at = p->n;
        add(p, BPF_JMP | BPF_JEQ | BPF_K, calls[i].nr, 0, 0);
        add_condition(p, calls[i].when);
        p->steps[at].jf = (unsigned char)(p->n - at - 1);
    }
    add_answer(p, SECCOMP_RET_ERRNO | EPERM);
}

static int filter_set(struct error *e)
{
    struct program p;
    program_make(&p);
    const struct sock_fprog prog = {p.n, p.steps};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return failed("PR_SET_NO_NEW_PRIVS", e);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog))
        return failed("install its filter of system calls (a kernel without seccomp?)", e);
    return 0;
}

int confine(const struct confine_user *user, uint64_t heap_bytes, struct error *e)
{
    tzset(); /* the log's times; later it could not read the zone */
    int rc = bounds_set(heap_bytes, e);
    if (!rc)
        rc = user_become(user, e);
    if (!rc && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)) /* no other process of its user looks into it */
        rc = failed("PR_SET_DUMPABLE", e);
    if (!rc && prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)) /* becoming somebody else takes it back */
        rc = failed("PR_SET_PDEATHSIG", e);
    return rc ? rc : filter_set(e);
}
