/* SPDX-License-Identifier: MIT */
/*
 * display.c - see display.h.
 *
 * Texts come out in the order of the prompts, so the same prompts give the same
 * bytes however the requests were scheduled. The first request that has not ended,
 * the head, is written as it comes; those behind it are kept until it is their turn:
 *
 *     [1] done  [2] done  [3] live: written as it comes  [4] kept  [5] kept  ...
 *                          ^ head
 *
 * Where the progress display and the texts share a terminal the head is kept too and
 * written when it has ended, above the progress:
 *
 *     [1] Once upon a time there was a cat.     <- written for good
 *       2  …and then the dog said                <- frame: redrawn at most
 *       3  …went to the park to                     every FRAME_NS
 *     1 of 3 done, 57 tokens, 412 tokens/s      <-
 *
 * One lock guards everything; output is written under it because its order is what
 * the lock is for.
 */
#include "display.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <bitnet/clock.h>

#include "complain.h"
#include "text.h"

enum { FRAME_NS = 50000000, MAX_FRAME_ROWS = 16, USUAL_COLUMNS = 80, USUAL_ROWS = 24 };

enum stage { WAITING, RUNNING, FINISHED };

struct shown {
    const char *prompt;
    enum stage stage;
    char *text; /* generated so far */
    size_t n_bytes;
    size_t capacity;
    size_t n_written; /* of text */
    bool is_begun;    /* the prompt is written */
};

struct display {
    /* Fixed. */
    size_t n;
    bitnet_engine *engine;
    uint64_t begin_ns;
    bool is_quiet;
    bool has_progress;
    bool writes_live; /* the head does not wait for its end */
    bool is_terminal; /* standard output is */
    pthread_mutex_t lock;

    /* Guarded by lock. */
    size_t head;
    size_t n_finished;
    unsigned n_frame_lines; /* on the terminal now */
    uint64_t last_frame_ns;
    int error; /* errno of the first write that failed, or ENOMEM; 0: none */
    struct shown shown[];
};

struct display *display_create(char *const *prompts, size_t n, bitnet_engine *engine,
                               bool is_quiet)
{
    struct display *display = calloc(1, sizeof(*display) + n * sizeof(struct shown));
    if (display == NULL) return NULL;
    const char *term = getenv("TERM");
    display->n = n;
    display->engine = engine;
    display->begin_ns = bitnet_clock_ns();
    display->is_quiet = is_quiet;
    display->is_terminal = isatty(STDOUT_FILENO) == 1;
    display->has_progress = n > 1 && isatty(STDERR_FILENO) == 1 && term != NULL &&
                            strcmp(term, "dumb") != 0;
    display->writes_live = !(display->has_progress && display->is_terminal);
    pthread_mutex_init(&display->lock,
                       NULL); /* of default kind: cannot fail on Linux */
    for (size_t i = 0; i < n; i++) display->shown[i].prompt = prompts[i];
    return display;
}

static void fail(struct display *display, int error)
{
    if (display->error == 0) display->error = error;
}

static void put(struct display *display, const char *text, size_t n_bytes)
{
    if (n_bytes == 0) return; /* a text that has not begun is NULL */
    if (display->is_terminal)
        text_put_safe(stdout, text, n_bytes);
    else
        fwrite(text, 1, n_bytes, stdout);
}

/* Writes what is there of one request and not yet written, and its end. */
static void write_shown(struct display *display, size_t index)
{
    struct shown *shown = &display->shown[index];
    if (!shown->is_begun) {
        if (display->n > 1) printf("[%zu] ", index + 1);
        put(display, shown->prompt, strlen(shown->prompt));
        shown->is_begun = true;
    }
    put(display, shown->text + shown->n_written, shown->n_bytes - shown->n_written);
    shown->n_written = shown->n_bytes;
    if (shown->stage == FINISHED) putchar('\n');
}

static void erase_frame(struct display *display)
{
    if (display->n_frame_lines == 0) return;
    fprintf(stderr, "\r\033[%uA\033[J", display->n_frame_lines);
    display->n_frame_lines = 0;
}

/* Composed in memory and written at once, so that it does not flicker. */
static void draw_frame(struct display *display)
{
    struct winsize size;
    const bool is_known =
        ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    const unsigned n_columns = is_known ? size.ws_col : USUAL_COLUMNS;
    const unsigned n_rows = is_known && size.ws_row > 0 ? size.ws_row : USUAL_ROWS;
    unsigned max_rows = n_rows > 4 ? n_rows - 4 : 0;
    if (max_rows > MAX_FRAME_ROWS) max_rows = MAX_FRAME_ROWS;
    if (n_columns < 40) max_rows = 0;

    char *frame = NULL;
    size_t n_bytes = 0;
    FILE *out = open_memstream(&frame, &n_bytes);
    if (out == NULL) return; /* no picture then */
    unsigned n_lines = 0;
    for (size_t i = display->head; i < display->n && n_lines < max_rows; i++) {
        const struct shown *shown = &display->shown[i];
        if (shown->stage != RUNNING) continue;
        const unsigned n_left = n_columns - 8;
        fprintf(out, " %4zu  ", i + 1);
        const char *tail =
            shown->n_bytes == 0 ? "…" : text_tail(shown->text, shown->n_bytes, n_left);
        text_put_fitted(out, tail, strlen(tail), n_left, false);
        fputc('\n', out);
        n_lines++;
    }
    bitnet_engine_stats stats = {.struct_size = sizeof(stats)};
    bitnet_engine_get_stats(display->engine, &stats);
    const double seconds = (double)(bitnet_clock_ns() - display->begin_ns) / 1e9;
    char summary[128];
    snprintf(summary, sizeof(summary),
             "%zu of %zu done, %" PRIu64 " tokens, %.0f tokens/s", display->n_finished,
             display->n, stats.n_generated, (double)stats.n_generated / seconds);
    text_put_fitted(out, summary, strlen(summary), n_columns - 1, false);
    fputc('\n', out);
    if (fclose(out) == 0) {
        erase_frame(display);
        fwrite(frame, 1, n_bytes, stderr);
        display->n_frame_lines = n_lines + 1;
        display->last_frame_ns = bitnet_clock_ns();
    }
    free(frame);
}

/* Writes what is due, and redraws the frame if texts went over it or it is old. */
static void update(struct display *display, bool is_urgent)
{
    if (!display->is_quiet && display->error == 0) {
        bool is_written = false;
        errno = 0;
        for (; display->head < display->n; display->head++) {
            const struct shown *head = &display->shown[display->head];
            const bool is_due = head->stage == FINISHED ||
                                (head->stage == RUNNING && display->writes_live);
            if (!is_due) break;
            if (display->is_terminal) erase_frame(display);
            write_shown(display, display->head);
            is_written = true;
            if (head->stage != FINISHED) break;
        }
        /* An earlier write may have failed already and left only the mark. */
        if (is_written && (fflush(stdout) != 0 || ferror(stdout)))
            fail(display, errno != 0 ? errno : EIO);
    }
    if (!display->has_progress) return;
    if (is_urgent || display->n_frame_lines == 0 ||
        bitnet_clock_ns() - display->last_frame_ns >= FRAME_NS)
        draw_frame(display);
}

static bool append(struct shown *shown, const char *text, size_t text_len)
{
    const size_t n_needed = shown->n_bytes + text_len + 1;
    if (n_needed > shown->capacity) {
        const size_t capacity = n_needed * 2;
        char *larger = realloc(shown->text, capacity);
        if (larger == NULL) return false;
        shown->text = larger;
        shown->capacity = capacity;
    }
    memcpy(shown->text + shown->n_bytes, text, text_len);
    shown->n_bytes += text_len;
    shown->text[shown->n_bytes] = '\0';
    return true;
}

void display_start(struct display *display, size_t index)
{
    pthread_mutex_lock(&display->lock);
    display->shown[index].stage = RUNNING;
    update(display, false);
    pthread_mutex_unlock(&display->lock);
}

void display_text(struct display *display, size_t index, const char *text,
                  size_t text_len)
{
    pthread_mutex_lock(&display->lock);
    if (!append(&display->shown[index], text, text_len)) fail(display, ENOMEM);
    update(display, false);
    pthread_mutex_unlock(&display->lock);
}

void display_finish(struct display *display, size_t index)
{
    pthread_mutex_lock(&display->lock);
    display->shown[index].stage = FINISHED;
    display->n_finished++;
    update(display, true);
    pthread_mutex_unlock(&display->lock);
}

bool display_has_failed(struct display *display)
{
    pthread_mutex_lock(&display->lock);
    const bool has_failed = display->error != 0;
    pthread_mutex_unlock(&display->lock);
    return has_failed;
}

bool display_end(struct display *display)
{
    if (display == NULL) return true;
    if (display->has_progress) erase_frame(display);
    if (display->error != 0)
        complain("cannot write to standard output: %s", strerror(display->error));
    const bool is_good = display->error == 0;
    for (size_t i = 0; i < display->n; i++) free(display->shown[i].text);
    pthread_mutex_destroy(&display->lock);
    free(display);
    return is_good;
}
