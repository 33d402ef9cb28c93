/*
 * A disk that forgets: the files of SQLite as they are after the power was cut. Stands between
 * SQLite and its files from power_begin on, keeps for each file what has been synced, and each
 * write since. As SQLite's own crash tests do.
 */
#ifndef TESTS_SIM_POWER_H
#define TESTS_SIM_POWER_H

#include <stddef.h>

/* From now on each file that SQLite opens is watched. Once a process. */
void power_begin(void);
/* Bytes that files may grow by from now on; then the disk is full. SIZE_MAX: no bound. */
void power_space(size_t bytes);
/* Remembers the files as a cut at this moment leaves them: what is synced, and the first
 * kept percent of the writes since. Whatever is written afterwards is without effect. */
void power_cut(unsigned kept);
/* After the files were closed: puts there what was remembered, and forgets all. */
void power_back(void);

#endif
