/* SPDX-License-Identifier: MIT */
/*
 * event_loop_libuv.c - jobs and text generation from one thread, in libuv's loop.
 *
 *     event_loop_libuv model.gguf
 *
 * A uv_poll_t watches the event queue's descriptor, which the queue keeps and closes
 * itself. libuv calls on_readable() again for as long as an event is left.
 */
#include <uv.h>

#include "event_loop.h"

/* With its only handle closed, uv_run() returns. */
static void close_when_finished(uv_poll_t *poll)
{
    if (is_finished(poll->data)) uv_close((uv_handle_t *)poll, NULL);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    (void)events;
    if (status == 0) {
        collect_events(poll->data);
    } else {
        fail(poll->data, uv_strerror(status));
    }
    close_when_finished(poll);
}

static void run(struct loop *loop)
{
    uv_loop_t uv;
    uv_poll_t poll = {.data = loop};
    int error = uv_loop_init(&uv);
    if (error == 0)
        error = uv_poll_init(&uv, &poll, bitnet_event_queue_fd(loop->events));
    if (error == 0) error = uv_poll_start(&poll, UV_READABLE, on_readable);
    if (error == 0) {
        begin_tasks(loop);
        close_when_finished(&poll);
        uv_run(&uv, UV_RUN_DEFAULT);
        error = uv_loop_close(&uv);
    }
    if (error != 0) fail(loop, uv_strerror(error));
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: event_loop_libuv model.gguf\n");
        return 2;
    }
    static struct loop loop;
    if (set_up(&loop, argv[1])) run(&loop);
    return tear_down(&loop) ? 0 : 1;
}
