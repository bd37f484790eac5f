/* SPDX-License-Identifier: MIT */
/*
 * event_loop_poll.c - jobs and text generation from one thread, asleep in poll().
 *
 *     event_loop_poll model.gguf
 *
 * The event queue's descriptor is readable while something has happened. It is one
 * more entry among the sockets and terminals that the program polls already.
 */
#include <errno.h>
#include <poll.h>

#include "event_loop.h"

static void run(struct loop *loop)
{
    struct pollfd polled = {bitnet_event_queue_fd(loop->events), POLLIN, 0};
    begin_tasks(loop);
    while (!is_finished(loop)) {
        if (poll(&polled, 1, -1) > 0) {
            collect_events(loop);
        } else if (errno != EINTR) {
            fail(loop, "poll() failed");
        }
    }
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: event_loop_poll model.gguf\n");
        return 2;
    }
    static struct loop loop;
    if (set_up(&loop, argv[1])) run(&loop);
    return tear_down(&loop) ? 0 : 1;
}
