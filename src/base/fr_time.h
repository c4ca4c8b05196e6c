/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fr_time.h - the clocks, and their text.
 *
 * Only loop, log and main-like code read clocks; everybody else is told the time.
 */
#ifndef FR_TIME_H
#define FR_TIME_H

#include "base/fr_view.h"

#include <sys/types.h>

#define FR_US_PER_MS 1000LL
#define FR_US_PER_S 1000000LL

int64_t fr_clock_mono_us(void); /* monotonic, since some start */
int64_t fr_clock_wall_us(void); /* since 1970-01-01 UTC */
int64_t fr_clock_cpu_us(clockid_t id); /* a thread's CPU clock (pthread_getcpuclockid); 0: gone */
int64_t fr_clock_process_cpu_us(void); /* CPU time of all threads of this process */

/* "2026-01-01T12:00:00.000Z"; 25 bytes with the NUL. */
#define FR_TIME_ISO_BYTES 32
void fr_time_format_iso(int64_t wall_us, char out[FR_TIME_ISO_BYTES]);
/* The same notation back, fraction optional, only "Z"; false on anything else. */
bool fr_time_parse_iso(struct fr_view text, int64_t *out_wall_us);

/* What is done often but costs much: a burst after some rest goes at once, then one every gap. */
struct fr_pace {
    int64_t due_us; /* when all so far would be over at one each gap; 0 at the start */
};
/* How long the next has to wait; 0: it may go now, and then fr_pace_take counts it. */
int64_t fr_pace_wait_us(const struct fr_pace *pace, int64_t now_us, int64_t gap_us, unsigned burst);
void fr_pace_take(struct fr_pace *pace, int64_t now_us, int64_t gap_us);

#endif
