/* SPDX-License-Identifier: MIT */
/*
 * labels.h - words beside points of a drawing, so that they do not lie on each other.
 */
#ifndef BENCH_KERNELS_LABELS_H
#define BENCH_KERNELS_LABELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum { BENCH_MAX_BOXES = 512 };

struct bench_box {
    double left, top, right, bottom;
};

/* The places that are taken. */
struct bench_labels {
    struct bench_box inside; /* where words may be at all */
    size_t n_boxes;
    struct bench_box boxes[BENCH_MAX_BOXES];
};

/* Takes the place around a point. */
void bench_labels_take_point(struct bench_labels *labels, double x, double y);

/*
 * Writes words as near to the point as there is room, with a line to it if that is not
 * near. Where there is none within reach, words that are needed go on top of others, and
 * any others are left out.
 */
void bench_labels_write(struct bench_labels *labels, FILE *file, double x, double y,
                        const char *words, const char *color, bool is_needed);

#endif
