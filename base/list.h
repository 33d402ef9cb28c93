/*
 * A doubly linked list whose links are embedded in its members, so that putting something on a
 * list cannot fail. A head and an unlinked member are both a `struct list` that points to itself:
 * unlinking twice is harmless.
 */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *prev, *next;
};

/* Through void, because members differ in alignment. */
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

static inline void list_init(struct list *l)
{
    l->prev = l->next = l;
}

/* Of a head: has no members. Of a member: is on no list. */
static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}

static inline void list_remove(struct list *l)
{
    l->prev->next = l->next;
    l->next->prev = l->prev;
    list_init(l);
}

/* Puts l in front of `before`; with the head for `before`, at the end. l must be on no list. */
static inline void list_insert(struct list *before, struct list *l)
{
    l->prev = before->prev;
    l->next = before;
    before->prev->next = l;
    before->prev = l;
}

static inline void list_append(struct list *head, struct list *l)
{
    list_insert(head, l);
}

static inline void list_prepend(struct list *head, struct list *l)
{
    list_insert(head->next, l);
}

/* Takes the first member off, or NULL. */
static inline struct list *list_pop(struct list *head)
{
    struct list *first = head->next;
    if (first == head)
        return NULL;
    list_remove(first);
    return first;
}

/* The current member may be removed inside the body; no other one may. */
#define list_each(at, head)                                                                        \
    for (struct list *at = (head)->next, *at##_next = at->next; at != (head);                      \
         at = at##_next, at##_next = at->next)

#endif
