/* See commands.h. */
#define _GNU_SOURCE

#include "guest/commands.h"

#include "guest/areas.h"
#include "guest/checks.h"
#include "guest/children.h"
#include "guest/console.h"
#include "guest/identity.h"
#include "guest/net.h"
#include "guest/threads.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <unistd.h>

static void do_check(const char *arg)
{
    (void)arg;
    check_ask();
}

static void do_quiet(const char *arg)
{
    (void)arg;
    ticks_print(false);
}

static void do_loud(const char *arg)
{
    (void)arg;
    ticks_print(true);
}

/* A number that is all of the text, or up to a blank; *rest is what follows the blank. */
static bool number_read(const char *text, unsigned long *n, const char **rest)
{
    char *end;
    *n = strtoul(text, &end, 10);
    if (end == text || (*end && *end != ' '))
        return false;
    *rest = *end == ' ' ? end + 1 : end;
    return true;
}

static void do_dirty(const char *arg)
{
    const char *rest;
    unsigned long mib;
    if (!number_read(arg, &mib, &rest) || *rest)
        say("guest: error dirty: '%.32s' is not a number of MiB", arg);
    else if (!areas_grow(AREA_PATTERN, mib, 0))
        say("guest: error dirty: cannot take %lu MiB", mib);
    else
        say("guest: dirty %lu pages=%zu", mib, areas_pages(AREA_PATTERN));
}

static void work_set(unsigned long mib, const char *wanted_tag)
{
    char name[TAG_BYTES];
    tag_get(name);
    if (*wanted_tag && !tag_valid(wanted_tag))
        say("guest: error work set: '%.32s' is no tag", wanted_tag);
    else if (!areas_grow(AREA_WORK, mib, tag_salt(*wanted_tag ? wanted_tag : name)))
        say("guest: error work set: cannot take %lu MiB", mib);
    else
        say("guest: work set %lu", mib);
}

static void work_tree(unsigned long processes)
{
    static uint64_t trees_started;
    if (!tree_start(processes, mix(boot_id ^ ++trees_started)))
        say("guest: error work tree: cannot start %lu processes", processes);
    else
        say("guest: work tree %lu", processes);
}

static void do_work(const char *arg)
{
    const char *rest = "";
    unsigned long n;
    if (!strncmp(arg, "set ", 4) && number_read(arg + 4, &n, &rest))
        work_set(n, rest);
    else if (!strncmp(arg, "tree ", 5) && number_read(arg + 5, &n, &rest) && !*rest)
        work_tree(n);
    else
        say("guest: error work: '%.32s' is neither set MIB [TAG] nor tree N", arg);
}

static void do_name(const char *arg)
{
    if (!tag_valid(arg)) {
        say("guest: error name: '%.32s' is no tag", arg);
        return;
    }
    tag_set(arg);
    say("guest: name %s", arg);
}

static void *free_run(void *zero)
{
    long mib = free_pages_run(zero ? "--zero" : NULL);
    if (mib < 0)
        say("guest: error free: free-pages failed");
    else
        say("guest: free %ld", mib);
    return NULL;
}

static void do_free(const char *arg)
{
    static char zero;
    if (*arg && strcmp(arg, "--zero"))
        say("guest: error free: no option '%.32s'", arg);
    else
        guest_thread_start(free_run, *arg ? &zero : NULL);
}

/* Cuts the text at its first blank and gives what follows that, "" if there is none. */
static const char *second_word(char *text)
{
    char *blank = text + strcspn(text, " ");
    if (*blank)
        *blank++ = '\0';
    return blank;
}

static void do_net(const char *arg)
{
    char interface[LINE_BYTES];
    snprintf(interface, sizeof interface, "%s", arg);
    const char *address = second_word(interface);
    net_set(interface, address);
}

static void do_forget(const char *arg)
{
    net_forget(arg);
}

static void do_mac(const char *arg)
{
    net_say_mac(arg);
}

static void do_frame(const char *arg)
{
    char from[LINE_BYTES];
    snprintf(from, sizeof from, "%s", arg);
    const char *to = second_word(from);
    net_send(from, to);
}

static void do_echo(const char *arg)
{
    say("guest: echo %s", arg);
}

static void do_poweroff(const char *arg)
{
    (void)arg;
    sync();
    reboot(RB_POWER_OFF);
}

static void do_reboot(const char *arg)
{
    (void)arg;
    sync();
    reboot(RB_AUTOBOOT);
}

static void do_crash(const char *arg)
{
    (void)arg;
    int fd = open("/proc/sysrq-trigger", O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, "c", 1) != 1)
        abort(); /* we are init: our end is a panic too */
}

static const struct console_command {
    const char *name;
    void (*run)(const char *arg);
} commands[] = {
    {"check", do_check},       {"quiet", do_quiet},   {"loud", do_loud},   {"dirty", do_dirty},
    {"work", do_work},         {"name", do_name},     {"free", do_free},   {"echo", do_echo},
    {"net", do_net},           {"forget", do_forget}, {"mac", do_mac},     {"frame", do_frame},
    {"poweroff", do_poweroff}, {"reboot", do_reboot}, {"crash", do_crash},
};

void command_run(char *line)
{
    char *arg = line + strcspn(line, " ");
    if (*arg)
        *arg++ = '\0';
    if (!*line)
        return;
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (!strcmp(line, commands[i].name)) {
            commands[i].run(arg);
            return;
        }
    }
    say("guest: error no command '%.32s'", line);
}
