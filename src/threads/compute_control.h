/* SPDX-License-Identifier: MIT */
/*
 * compute_control.h - the thread manager's side of compute.h: how many threads
 * compute, and taking the team down.
 */
#ifndef BNI_THREADS_COMPUTE_CONTROL_H
#define BNI_THREADS_COMPUTE_CONTROL_H

#include <bitnet/status.h>

/*
 * Makes the next turn's team one of `n_threads`; 0 is what the process may use, read
 * anew. A turn under way keeps its team. INVALID_ARGUMENT for too many.
 */
bitnet_status bni_compute_set_threads(unsigned n_threads);

/* Has the number worked out anew when it is next needed, unless it was set. */
void bni_compute_refresh(void);

/* Returns the number of threads the next turn's team has. */
unsigned bni_compute_threads(void);

/*
 * Stops and joins the team's threads unless somebody has a turn on it or waits for
 * one. The next turn creates it anew.
 */
void bni_compute_cleanup(void);

#endif
