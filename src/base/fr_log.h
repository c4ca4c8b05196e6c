/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fr_log.h - one line an event: time, level, room, event, key=value.
 *
 * Shape:    human on a terminal, a JSON object a line otherwise; foreign strings are escaped.
 * Threads:  any; one write(2) a line.
 * Who logs: edge, manager, allocator's owner, proxy, admin, cli. Pure rooms and base return errors.
 */
#ifndef FR_LOG_H
#define FR_LOG_H

#include "base/fr_view.h"

enum fr_log_level { FR_LOG_DEBUG, FR_LOG_INFO, FR_LOG_WARN, FR_LOG_ERROR };
enum fr_log_shape { FR_LOG_SHAPE_AUTO, FR_LOG_SHAPE_HUMAN, FR_LOG_SHAPE_JSON };

enum fr_log_type { FR_LOG_TYPE_TEXT, FR_LOG_TYPE_INT, FR_LOG_TYPE_FLOAT };
struct fr_log_field {
    const char *key;
    enum fr_log_type type;
    union {
        struct fr_view text;
        int64_t integer;
        double number;
    } value;
};

#define FR_S(k, s) ((struct fr_log_field){(k), FR_LOG_TYPE_TEXT, {.text = fr_view_of(s)}})
#define FR_V(k, v) ((struct fr_log_field){(k), FR_LOG_TYPE_TEXT, {.text = (v)}})
#define FR_I(k, n) ((struct fr_log_field){(k), FR_LOG_TYPE_INT, {.integer = (int64_t)(n)}})
#define FR_F(k, x) ((struct fr_log_field){(k), FR_LOG_TYPE_FLOAT, {.number = (x)}})

/* Start of the process, before threads. NO_COLOR is honoured. */
void fr_log_setup(enum fr_log_level least, enum fr_log_shape shape);
bool fr_log_on(enum fr_log_level level);
void fr_log_write(enum fr_log_level level, const char *room, const char *event,
                  const struct fr_log_field *fields, size_t field_count);

/* fr_log(FR_LOG_INFO, "edge", "listening", FR_S("address", text), FR_I("workers", n)); */
#define fr_log(level, room, ...)                                                                   \
    (fr_log_on(level) ? fr_log_fields_((level), (room), __VA_ARGS__, FR_LOG_END_) : (void)0)
#define FR_LOG_END_ ((struct fr_log_field){0})
#define fr_log_fields_(level, room, event, ...)                                                    \
    fr_log_write((level), (room), (event), (const struct fr_log_field[]){__VA_ARGS__},             \
                 sizeof((const struct fr_log_field[]){__VA_ARGS__}) /                              \
                         sizeof(struct fr_log_field) -                                             \
                     1)

#endif
