/* SPDX-License-Identifier: MIT */
/*
 * pool_options.h - from what the caller asked for to what a pool is made of.
 */
#ifndef BNI_THREADS_POOL_OPTIONS_H
#define BNI_THREADS_POOL_OPTIONS_H

#include <bitnet/thread_pool.h>

/*
 * Fills `resolved` with the caller's options, or the defaults for NULL, every 0
 * replaced by what it stands for but stack_size. INVALID_ARGUMENT, naming the option,
 * for one that is out of range.
 */
bitnet_status bni_pool_options_resolve(const bitnet_thread_pool_options *options,
                                       bitnet_thread_pool_options *resolved);

/* The number of threads that `num_threads` asks for, checked likewise. */
bitnet_status bni_pool_resolve_threads(uint32_t num_threads, uint32_t *resolved);

#endif
