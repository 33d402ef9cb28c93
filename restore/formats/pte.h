/*
 * Entries of x86-64 page tables, as far as those who walk or rewrite them need them (AMD64
 * Architecture Programmer's Manual, volume 2, "Long-Mode Page Translation").
 */
#ifndef RESTORE_PTE_H
#define RESTORE_PTE_H

#include <stdint.h>

#define PTE_PRESENT 0x001ull
#define PTE_LARGE 0x080ull /* in tables above L1: maps memory itself */
#define PTE_FRAME_MASK 0x000ffffffffff000ull
#define PTE_FRAME(pte) (((pte)&PTE_FRAME_MASK) >> 12)
#define PTES_PER_TABLE 512u

#endif
