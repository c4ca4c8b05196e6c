/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy_lines.h - the protocol of `freshet decide`: a line of JSON in, a count of members out, so
 * that anything can put the engines to the test.
 *
 * May touch: base.
 */
#ifndef POLICY_LINES_H
#define POLICY_LINES_H

#include "policy/policy.h"

#define POLICY_LINE_BYTES_MAX 65536
#define POLICY_ANSWER_BYTES 16
#define POLICY_FLAPS_PER_HOUR 12.0 /* the budget where nobody says another */

struct policy_lines;

/* Owns: the caller, until policy_lines_free. */
struct policy_lines *policy_lines_new(enum policy_kind kind);
void policy_lines_free(struct policy_lines **lines);

enum policy_line {
    POLICY_LINE_SILENT, /* wants no answer: a hello, or a type of a newer caller */
    POLICY_LINE_ANSWER,
    POLICY_LINE_BAD,    /* not understood; answered with the count that holds */
};
/* One line, without its end. On ANSWER and BAD out holds the answer: digits and a newline. */
enum policy_line policy_lines_take(struct policy_lines *lines, struct fr_view line,
                                   char out[POLICY_ANSWER_BYTES]);

#endif
