/* SPDX-License-Identifier: MIT */
/*
 * fault.h - failure on purpose, for tests.
 *
 * Everything the system may refuse (an allocation, a mapping, a thread, a
 * descriptor) asks bni_fault_is_due() first. A test arms the n-th question to be
 * answered yes, runs, and looks at how many were asked; doing so for every n
 * walks every failure path. Unarmed, a question is one relaxed load.
 */
#ifndef BNI_BASE_FAULT_H
#define BNI_BASE_FAULT_H

#include <stdbool.h>
#include <stdint.h>

/* Whether this very acquisition must fail. Called by whoever is about to acquire. */
bool bni_fault_is_due(void);

/* Makes the n-th question from now (1 = the next) fail, once; 0 disarms. */
void bni_fault_arm(uint64_t n);

/* Returns how many questions were asked since bni_fault_arm(). */
uint64_t bni_fault_count(void);

#endif
