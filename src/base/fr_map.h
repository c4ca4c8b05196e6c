/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fr_map.h - string keys to pointers, in order of insertion. Control code's dictionary.
 */
#ifndef FR_MAP_H
#define FR_MAP_H

#include "base/fr_view.h"

struct fr_map;

struct fr_map *fr_map_new(void);
/* free_value may be NULL. Accepts NULL, leaves NULL behind. */
void fr_map_free(struct fr_map **map, void (*free_value)(void *value));

size_t fr_map_count(const struct fr_map *map);
void *fr_map_get(const struct fr_map *map, struct fr_view key); /* NULL when absent */
/* Copies the key; returns the value that was there before, or NULL. value must not be NULL. */
void *fr_map_put(struct fr_map *map, struct fr_view key, void *value);
void *fr_map_remove(struct fr_map *map, struct fr_view key); /* the value, or NULL */

/* Walks in order of insertion: start with *cursor = 0; false at the end. Removing the entry just
 * returned is allowed, adding is not. out_key may be NULL. */
bool fr_map_next(const struct fr_map *map, size_t *cursor, struct fr_view *out_key,
                 void **out_value);

#endif
