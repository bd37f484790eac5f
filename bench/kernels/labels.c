/* SPDX-License-Identifier: MIT */
/*
 * labels.c - see labels.h.
 *
 * Places are tried on circles around the point, each larger than the last, and on each
 * in a fixed order of directions, to the right of the point first. The first that meets
 * no other label and no point is taken: those that are written first get the best ones.
 */
#include "labels.h"

#include <math.h>
#include <string.h>

static const double font_size = 11;
static const double character_width =
    5.9; /* on average, a little more than is needed */
static const double point_radius = 5;
static const double near = 14; /* up to here one sees what belongs together */

static bool meet(const struct bench_box *a, const struct bench_box *b)
{
    return a->left < b->right && b->left < a->right && a->top < b->bottom &&
           b->top < a->bottom;
}

static bool is_free(const struct bench_labels *labels, const struct bench_box *box)
{
    const struct bench_box *inside = &labels->inside;
    if (box->left < inside->left || box->right > inside->right ||
        box->top < inside->top || box->bottom > inside->bottom)
        return false;
    for (size_t i = 0; i < labels->n_boxes; i++)
        if (meet(box, &labels->boxes[i])) return false;
    return true;
}

static void take(struct bench_labels *labels, struct bench_box box)
{
    if (labels->n_boxes < BENCH_MAX_BOXES) labels->boxes[labels->n_boxes++] = box;
}

void bench_labels_take_point(struct bench_labels *labels, double x, double y)
{
    take(labels, (struct bench_box){x - point_radius, y - point_radius,
                                    x + point_radius, y + point_radius});
}

/* A box for words beside the point, in this direction at this distance. */
static struct bench_box box_at(double x, double y, double width, double angle,
                               double distance)
{
    const double dx = cos(angle);
    const double dy = sin(angle);
    /* Of a box that touches the circle, the side or corner that is nearest. */
    const double left = x + dx * distance - (1 - dx) / 2 * width;
    const double top = y + dy * distance - (1 - dy) / 2 * font_size;
    return (struct bench_box){left, top, left + width, top + font_size};
}

void bench_labels_write(struct bench_labels *labels, FILE *file, double x, double y,
                        const char *words, const char *color, bool is_needed)
{
    static const int directions[] = {0, 4, 2, 6, 1, 7, 3, 5}; /* eighths of a turn */
    static const double distances[] = {7, 12, 22, 34, 48, 64, 84, 108, 136};
    const size_t n_distances = sizeof(distances) / sizeof(distances[0]);
    const double width = (double)strlen(words) * character_width;
    struct bench_box box = box_at(x, y, width, 0, distances[0]);
    double distance = distances[0];
    bool is_found = false;
    for (size_t d = 0; d < n_distances && !is_found; d++) {
        if (!is_needed && distances[d] > near) return;
        for (size_t i = 0; i < 8 && !is_found; i++) {
            const struct bench_box place =
                box_at(x, y, width, directions[i] * 0.785398, distances[d]);
            is_found = is_free(labels, &place);
            if (!is_found) continue;
            box = place;
            distance = distances[d];
        }
    }
    take(labels, box);
    if (distance > near) {
        const double to_x = fmin(fmax(x, box.left), box.right);
        const double to_y = fmin(fmax(y, box.top), box.bottom);
        fprintf(
            file,
            "<path d=\"M%.1f %.1fL%.1f %.1f\" stroke=\"%s\" stroke-width=\"0.7\"/>\n",
            x, y, to_x, to_y, color);
    }
    fprintf(
        file,
        "<text x=\"%.1f\" y=\"%.1f\" font-size=\"%.0f\" fill=\"%s\" stroke=\"white\" "
        "stroke-width=\"3\" paint-order=\"stroke\">%s</text>\n",
        box.left, box.bottom - 2, font_size, color, words);
}
