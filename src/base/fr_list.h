/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fr_list.h - intrusive, circular, doubly linked list.
 */
#ifndef FR_LIST_H
#define FR_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct fr_list {
    struct fr_list *prev, *next;
};

#define FR_CONTAINER(ptr, type, field) ((type *)(void *)((char *)(ptr)-offsetof(type, field)))

#define FR_LIST_EACH(list, node)                                                                   \
    for (struct fr_list *node = (list)->next; node != (list); node = node->next)
/* The body may take `node` out of the list, or free it. */
#define FR_LIST_EACH_SAFE(list, node)                                                              \
    for (struct fr_list *node = (list)->next, *node##_next_ = node->next; node != (list);          \
         node = node##_next_, node##_next_ = node->next)

static inline void
fr_list_init(struct fr_list *list)
{
    list->prev = list->next = list;
}

static inline bool
fr_list_empty(const struct fr_list *list)
{
    return list->next == list;
}

static inline void
fr_list_push_back(struct fr_list *list, struct fr_list *node)
{
    node->prev = list->prev;
    node->next = list;
    list->prev->next = node;
    list->prev = node;
}

static inline void
fr_list_push_front(struct fr_list *list, struct fr_list *node)
{
    node->next = list->next;
    node->prev = list;
    list->next->prev = node;
    list->next = node;
}

/* Safe on a node that is initialised but in no list; leaves it initialised. */
static inline void
fr_list_remove(struct fr_list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    node->prev = node->next = node;
}

static inline struct fr_list *
fr_list_pop_front(struct fr_list *list)
{
    if (fr_list_empty(list))
        return NULL;
    struct fr_list *node = list->next;
    fr_list_remove(node);
    return node;
}

#endif
