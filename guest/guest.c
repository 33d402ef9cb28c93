/*
 * guest: the program that runs inside dompool's test domains.
 *
 * It is made to be saved and restored. It keeps something in every kind of state that a restore has
 * to carry over, proves again and again that all of it is still there, and says so on the console:
 *
 *   - memory: pages filled with a pattern that follows from the boot id, the page's place and its
 *     generation. Every check reads all of them and rewrites a part, so that two saves of one guest
 *     differ by a known kind of delta;
 *   - vCPUs: one thread pinned to each does a share of that work;
 *   - disks: a header written at boot is read back, and a block is written and read, past the page
 *     cache;
 *   - time and the console: a counter that only goes up is printed every tick_ms;
 *   - and, when told to, what makes it another image: memory of its own (work set), a tree of
 *     processes that never rest (work tree), a name.
 *
 * Lines it prints, each with one write():
 *
 *   guest: boot id=<16 hex> vcpus=<n> mem_kib=<n> pattern_mib=<n> disks=<n>
 *   guest: tick <count>
 *   guest: read <disk> <count>
 *   guest: check <count> seq=<n> pattern=<v> pages=<n> cpus=<v>:<n> disks=<v>:<n>
 *     work=<v>:<mib> tree=<v>:<n> tag=<tag> id=<16 hex>        (all in one line)
 *     where <v> is ok or bad, and for disks also slow: nothing wrong, but not all answered in time;
 *     mib of memory from work set, n processes that answered, tag - if it has no name
 *   guest: dirty <mib> pages=<n>, guest: work set <mib>, guest: work tree <n>, guest: name <tag>,
 *   guest: free <mib>: the command was carried out; guest: error <what>: it was not
 *   guest: net <interface> <addr>/<prefix> mac=<mac>   it is up with this address
 *   guest: forget <interface>, guest: mac <interface> <mac>, guest: frame <from> <to>: the command
 *   was carried out
 *
 * Commands it reads, one a line:
 *
 *   check, quiet, loud, echo TEXT, poweroff, reboot, crash
 *   dirty MIB            takes that much more memory for the pattern
 *   work set MIB [TAG]   takes that much memory, filled with what follows from boot id, place and
 *                        TAG (or the guest's name); checks verify it and never rewrite it
 *   work tree N          starts N processes (work-tree.c), which verify their own pages in each
 *                        check
 *   name TAG             letters, digits, - _ and .
 *   free [--zero]        runs free-pages, in the background
 *   net IF ADDR/PREFIX   sets an interface up with this IPv4 address instead of the one it has
 *   forget IF            sets it down and up, so that the kernel forgets its neighbours
 *   mac IF               prints an interface's MAC
 *   frame FROM TO        sends a frame of ethertype 0x88b5 from one MAC to another through eth0;
 *                        FROM need not be eth0's own
 *
 * Kernel parameters: pattern_mib=64 tick_ms=100 check_ms=2000 (0: only when asked) disks=auto (or
 * how many to wait for) read_ms=0 (else every disk is read that often, and each read makes a line)
 * net=ADDR/PREFIX,... (for eth0 and on: up at boot; without it interfaces are left alone).
 *
 * What it must never do: stop ticking. Tests take the first tick after a restore as a sign of life.
 * So ticks have their own thread, which waits for nothing. If nobody empties the console, the line
 * is dropped. A disk that does not answer, or a vCPU that never came back, is reported as slow or
 * bad after a time limit.
 */
#define _GNU_SOURCE

#include "guest/areas.h"
#include "guest/checks.h"
#include "guest/commands.h"
#include "guest/console.h"
#include "guest/cpus.h"
#include "guest/disks.h"
#include "guest/identity.h"
#include "guest/net.h"
#include "guest/options.h"
#include "guest/workers.h"

#include <inttypes.h>
#include <unistd.h>

static unsigned long mem_total_kib(void)
{
    return (unsigned long)sysconf(_SC_PHYS_PAGES) * ((unsigned long)sysconf(_SC_PAGESIZE) / 1024);
}

int main(void)
{
    workers_init();
    options_read();
    boot_id_make();
    console_open();
    if (!areas_grow(AREA_PATTERN, options.pattern_mib, 0))
        say("guest: error no memory for pattern_mib=%lu", options.pattern_mib);
    cpus_start();
    disks_start();
    say("guest: boot id=%016" PRIx64 " vcpus=%zu mem_kib=%lu pattern_mib=%zu disks=%zu", boot_id,
        cpus_count(), mem_total_kib(), areas_pages(AREA_PATTERN) / PAGES_PER_MIB, disks_count());
    checks_start();
    net_start();
    console_serve(command_run);
}
