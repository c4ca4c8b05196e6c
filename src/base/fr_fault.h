/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fr_fault.h - named places where a test can kill the process, as if by kill -9.
 *
 * Only with FR_FAULT_POINTS (test builds); otherwise the macro is nothing at all.
 * FRESHET_FAULT="name" dies at the first pass of that place, "name:3" at the third.
 * Names are listed in fault_points.def: one row a place, so that a test can walk all of them.
 */
#ifndef FR_FAULT_H
#define FR_FAULT_H

#ifdef FR_FAULT_POINTS
void fr_fault_point(const char *name);
#define FR_FAULT(name) fr_fault_point(name)
#else
#define FR_FAULT(name) ((void)0)
#endif

#endif
