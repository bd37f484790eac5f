/* SPDX-License-Identifier: MIT */
/*
 * bitnet.h - all of libbitnet's C interface.
 *
 *   bitnet/model.h           load a model; text to tokens and back
 *   bitnet/grammar.h         what a generated text must look like
 *   bitnet/engine.h          generate text, from any thread, any number at once
 *   bitnet/score.h           how likely a model finds a given text
 *   bitnet/embed.h           a text as a vector
 *   bitnet/thread_manager.h  the process's threads: how many, and what they did
 *   bitnet/thread_pool.h     a bounded pool of worker threads for your own jobs
 *   bitnet/event_queue.h     jobs and requests for programs with an event loop
 *   bitnet/durations.h       how long things took, as counts
 *   bitnet/trace.h           what the pool and its threads do, told as it happens
 *   bitnet/ref.h             counted references to your own objects
 *   bitnet/status.h          what functions return, and the sentence about it
 *   bitnet/clock.h           the clock that deadlines are written in
 *   bitnet/log.h             remarks, if you want them
 *   bitnet/version.h
 */
#ifndef BITNET_H
#define BITNET_H

#include <bitnet/clock.h>
#include <bitnet/durations.h>
#include <bitnet/embed.h>
#include <bitnet/engine.h>
#include <bitnet/event_queue.h>
#include <bitnet/export.h>
#include <bitnet/grammar.h>
#include <bitnet/log.h>
#include <bitnet/model.h>
#include <bitnet/ref.h>
#include <bitnet/score.h>
#include <bitnet/status.h>
#include <bitnet/thread_manager.h>
#include <bitnet/thread_pool.h>
#include <bitnet/trace.h>
#include <bitnet/version.h>

#endif
