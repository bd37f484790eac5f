/* SPDX-License-Identifier: MIT */
/*
 * event_fd.h - a file descriptor that is readable or not, as its owner says.
 *
 * An eventfd where there is one (Linux), else a pipe with at most one byte in it;
 * tests ask for the pipe on Linux too. Both are non-blocking and closed on exec.
 */
#ifndef BNI_THREADS_EVENT_FD_H
#define BNI_THREADS_EVENT_FD_H

#include <bitnet/status.h>

enum bni_event_fd_kind { BNI_EVENT_FD_NATIVE, BNI_EVENT_FD_PIPE };

struct bni_event_fd {
    int read_end;  /* what users poll */
    int write_end; /* the same for an eventfd */
};

/* Opens one that is not readable. Fails with INTERNAL, and then needs no close. */
bitnet_status bni_event_fd_open(struct bni_event_fd *fd, enum bni_event_fd_kind kind);
void bni_event_fd_close(const struct bni_event_fd *fd);

/* Makes it readable, or not readable any more. Each is called after the other. */
void bni_event_fd_raise(const struct bni_event_fd *fd);
void bni_event_fd_lower(const struct bni_event_fd *fd);

#endif
