/* SPDX-License-Identifier: MIT */
/*
 * event_fd.c - see event_fd.h.
 *
 * Raising and lowering move eight bytes: that is what an eventfd wants, and a pipe
 * takes so few in one piece. Neither can block or fail, as at most one raise is
 * ever outstanding; only a program that reads or closes the descriptor itself, which
 * is forbidden to it, could make them. Both are cancellation points, and are called
 * with locks held: so cancellation is off meanwhile.
 */
#include "threads/event_fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fault.h"
#include "threads/sync.h"

static bitnet_status open_error(const char *what, int error)
{
    return bni_error(BITNET_ERROR_INTERNAL,
                     "the system refused %s: error %d; each event queue needs its own "
                     "(the limit of open files may be reached)",
                     what, error);
}

static bitnet_status open_pipe(struct bni_event_fd *fd)
{
    int ends[2];
    if (bni_fault_is_due()) return open_error("a pipe", EMFILE);
    if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) != 0) return open_error("a pipe", errno);
    *fd = (struct bni_event_fd){.read_end = ends[0], .write_end = ends[1]};
    return BITNET_OK;
}

#if defined(__linux__)

#include <sys/eventfd.h>

static bitnet_status open_native(struct bni_event_fd *fd)
{
    if (bni_fault_is_due()) return open_error("an eventfd", EMFILE);
    const int opened = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (opened < 0) return open_error("an eventfd", errno);
    *fd = (struct bni_event_fd){.read_end = opened, .write_end = opened};
    return BITNET_OK;
}

#else

static bitnet_status open_native(struct bni_event_fd *fd)
{
    return open_pipe(fd);
}

#endif

bitnet_status bni_event_fd_open(struct bni_event_fd *fd, enum bni_event_fd_kind kind)
{
    return kind == BNI_EVENT_FD_PIPE ? open_pipe(fd) : open_native(fd);
}

void bni_event_fd_close(const struct bni_event_fd *fd)
{
    close(fd->read_end);
    if (fd->write_end != fd->read_end) close(fd->write_end);
}

void bni_event_fd_raise(const struct bni_event_fd *fd)
{
    const uint64_t one = 1;
    const int cancel_state = bni_cancel_disable();
    const ssize_t n_written = write(fd->write_end, &one, sizeof(one));
    bni_cancel_restore(cancel_state);
    (void)n_written; /* see the top */
}

void bni_event_fd_lower(const struct bni_event_fd *fd)
{
    uint64_t count;
    const int cancel_state = bni_cancel_disable();
    const ssize_t n_read = read(fd->read_end, &count, sizeof(count));
    bni_cancel_restore(cancel_state);
    (void)n_read; /* see the top */
}
