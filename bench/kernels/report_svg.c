/* SPDX-License-Identifier: MIT */
/*
 * report_svg.c - the roofline: arithmetic for each byte that is read, to the right,
 * against arithmetic per second, upwards, both logarithmic; a panel for each number of
 * threads.
 *
 * The machine's limits are lines: a slope for each memory, a level for each peak. What
 * is measured is a point under them; filled, if its bytes come from memory. An operation
 * with several numbers of activations is a row of points, connected.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/report.h"
#include "labels.h"
#include "results.h"

enum {
    WIDTH = 1120,
    PANEL_HEIGHT = 640,
    LEFT = 64,
    RIGHT = 1100,
    TOP = 40, /* within a panel */
    BOTTOM = 590,
};

/* What is drawn, in 10^9 per second over arithmetic per byte. */
static const double min_x = 0.02, max_x = 4096, min_y = 1;

static const char *const integer_color = "#c2410c";
static const char *const float_color = "#1d4ed8";
static const char *const other_color = "#475569";
static const char *const step_color = "#111111";

struct panel {
    FILE *file;
    const struct bench_results *results;
    size_t team;
    double top; /* of the drawing */
    double max_y;
    struct bench_labels labels;
};

static double x_of(double intensity)
{
    return LEFT + (RIGHT - LEFT) * log(intensity / min_x) / log(max_x / min_x);
}

static double y_of(const struct panel *panel, double g_per_s)
{
    return panel->top + BOTTOM -
           (BOTTOM - TOP) * log(g_per_s / min_y) / log(panel->max_y / min_y);
}

static void write_axes(const struct panel *panel)
{
    FILE *file = panel->file;
    const unsigned n_threads = panel->results->limits.n_threads[panel->team];
    fprintf(
        file,
        "<text x=\"%d\" y=\"%.0f\" font-weight=\"bold\">%u thread%s, table %s: 10^9 "
        "per second over multiply-adds or other operations for each byte "
        "read</text>\n",
        LEFT, panel->top + TOP - 14, n_threads, n_threads == 1 ? "" : "s",
        panel->results->table);
    for (double x = 0.03125; x < max_x; x *= 2)
        fprintf(file,
                "<path d=\"M%.1f %.1fV%.1f\" stroke=\"#e5e7eb\"/>\n"
                "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\" font-size=\"11\">"
                "%g</text>\n",
                x_of(x), panel->top + TOP, panel->top + BOTTOM, x_of(x),
                panel->top + BOTTOM + 16, x);
    static const double levels[] = {1,   2,   5,   10,  20,  50,  100,
                                    200, 500, 1e3, 2e3, 5e3, 1e4, 2e4};
    for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
        if (levels[i] > panel->max_y) break;
        const double y = y_of(panel, levels[i]);
        fprintf(file,
                "<path d=\"M%d %.1fH%d\" stroke=\"#e5e7eb\"/>\n"
                "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\" font-size=\"11\">%g"
                "</text>\n",
                LEFT, y, RIGHT, LEFT - 6, y + 4, levels[i]);
    }
}

/* A line of words along a limit, whose place no label may take. */
static void write_name(struct panel *panel, const struct bench_peak *peak,
                       const char *unit, double x, double y, double angle)
{
    fprintf(panel->file,
            "<text transform=\"translate(%.1f %.1f) rotate(%.1f)\" font-size=\"11\" "
            "fill=\"#15803d\">%s, %.1f %s</text>\n",
            x, y, angle, peak->name, peak->g_per_s[panel->team], unit);
}

/* The name stands above the line, `at` so much of the way up. */
static void write_slope(struct panel *panel, const struct bench_peak *peak, double at)
{
    if (peak->name == NULL) return;
    const double gb_s = peak->g_per_s[panel->team];
    const double from_x = fmax(min_x, min_y / gb_s);
    const double to_x = fmin(max_x, panel->max_y / gb_s);
    const double x1 = x_of(from_x), y1 = y_of(panel, from_x * gb_s);
    const double x2 = x_of(to_x), y2 = y_of(panel, to_x * gb_s);
    fprintf(panel->file,
            "<path d=\"M%.1f %.1fL%.1f %.1f\" stroke=\"#15803d\" "
            "stroke-width=\"1.5\"/>\n",
            x1, y1, x2, y2);
    write_name(panel, peak, "GB/s", x1 + at * (x2 - x1) - 6, y1 + at * (y2 - y1) - 6,
               atan2(y2 - y1, x2 - x1) * 57.29578);
}

static void write_level(struct panel *panel, const struct bench_peak *peak)
{
    if (peak->name == NULL) return;
    const double y = y_of(panel, peak->g_per_s[panel->team]);
    fprintf(panel->file,
            "<path d=\"M%d %.1fH%d\" stroke=\"#15803d\" stroke-width=\"1.5\"/>\n", LEFT,
            y, RIGHT);
    /* Up here on the left there is nothing but the first-level cache's slope. */
    const struct bench_box place = {LEFT + 6, y - 16, LEFT + 216, y};
    write_name(panel, peak, "GMAC/s", place.left, y - 4, 0);
    panel->labels.boxes[panel->labels.n_boxes++] = place;
}

static const char *color_of(const struct bench_list *list,
                            const struct bench_results *results,
                            const struct bench_result *result)
{
    if (list == &results->steps) return step_color;
    if (result->work.n_integer > 0) return integer_color;
    return strcmp(result->unit, "MAC") == 0 ? float_color : other_color;
}

static bool are_connected(const struct bench_result *a, const struct bench_result *b)
{
    return a->name == b->name && a->is_from_memory == b->is_from_memory;
}

/* Every point, and the lines between those of one operation. */
static void write_points(struct panel *panel, const struct bench_list *list)
{
    double last_x = 0, last_y = 0;
    for (size_t i = 0; i < list->n; i++) {
        const struct bench_result *result = &list->results[i];
        if (result->s[panel->team] == 0) continue;
        const struct bench_rate rate =
            bench_rate_of(&panel->results->limits, panel->team, result);
        const char *color = color_of(list, panel->results, result);
        const double x = x_of(rate.intensity);
        const double y = y_of(panel, rate.g_per_s);
        if (i > 0 && are_connected(result, result - 1))
            fprintf(panel->file,
                    "<path d=\"M%.1f %.1fL%.1f %.1f\" stroke=\"%s\" "
                    "stroke-width=\"0.8\"%s/>\n",
                    last_x, last_y, x, y, color,
                    result->is_from_memory ? "" : " stroke-dasharray=\"3 3\"");
        fprintf(panel->file,
                "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\" fill=\"%s\" "
                "stroke=\"%s\"/>\n",
                x, y, result->is_from_memory ? color : "white", color);
        bench_labels_take_point(&panel->labels, x, y);
        last_x = x;
        last_y = y;
    }
}

/* Names first, at the last point of each row, then numbers where there is room. */
static void write_labels(struct panel *panel, const struct bench_list *list,
                         bool is_name)
{
    for (size_t i = 0; i < list->n; i++) {
        const struct bench_result *result = &list->results[i];
        const bool is_last = i + 1 == list->n || !are_connected(result, result + 1);
        const bool is_alone = is_last && (i == 0 || !are_connected(result, result - 1));
        if (result->s[panel->team] == 0 || is_name != is_last) continue;
        const struct bench_rate rate =
            bench_rate_of(&panel->results->limits, panel->team, result);
        const bool is_step = list == &panel->results->steps;
        const size_t number = is_step ? result->n_context : result->n_x;
        char words[64];
        if (!is_name)
            snprintf(words, sizeof(words), "%zu", number);
        else if (is_alone)
            snprintf(words, sizeof(words), "%s", result->name);
        else
            snprintf(words, sizeof(words), "%s%s, %zu", result->name,
                     is_step ? " after" : "", number);
        bench_labels_write(&panel->labels, panel->file, x_of(rate.intensity),
                           y_of(panel, rate.g_per_s), words,
                           color_of(list, panel->results, result), is_name);
    }
}

static void write_panel(FILE *file, const struct bench_results *results, size_t team)
{
    const struct bench_limits *limits = &results->limits;
    static struct panel panel; /* large for a stack */
    panel = (struct panel){
        .file = file,
        .results = results,
        .team = team,
        .top = (double)team * PANEL_HEIGHT,
        .max_y = 100,
    };
    const struct bench_peak *peaks[] = {&limits->integer, &limits->narrow,
                                        &limits->fused};
    for (size_t i = 0; i < 3; i++)
        panel.max_y = fmax(panel.max_y, 1.6 * peaks[i]->g_per_s[team]);
    panel.labels.inside =
        (struct bench_box){LEFT, panel.top + TOP, RIGHT, panel.top + BOTTOM};
    write_axes(&panel);
    write_slope(&panel, &limits->memory, 0.02);
    write_slope(&panel, &limits->cache, 0.3);
    for (size_t i = 0; i < 3; i++) write_level(&panel, peaks[i]);
    write_points(&panel, &results->operations);
    write_points(&panel, &results->steps);
    write_labels(&panel, &results->operations, true);
    write_labels(&panel, &results->steps, true);
    write_labels(&panel, &results->operations, false);
    write_labels(&panel, &results->steps, false);
}

void bench_write_svg(FILE *file, const struct bench_results *results)
{
    bench_svg_begin(file, WIDTH, BENCH_N_TEAMS * PANEL_HEIGHT + 24);
    for (size_t t = 0; t < BENCH_N_TEAMS; t++) write_panel(file, results, t);
    fprintf(
        file,
        "<text x=\"%d\" y=\"%d\" font-size=\"11\">filled: from memory; hollow: from a "
        "cache; numbers: activations of a product, query heads, tokens of context "
        "before a step</text>\n</svg>\n",
        LEFT, BENCH_N_TEAMS * PANEL_HEIGHT + 8);
}
