/* SPDX-License-Identifier: MIT */
/*
 * report_svg.c - the throughput and the round trips as bars, ours in another colour.
 *
 * One panel for each workload, below each other; within a panel the longest bar fills
 * the width. Peers' names have no character that XML would mind.
 */
#include <string.h>

#include "results.h"

enum {
    WIDTH = 720,
    BAR_LEFT = 150,
    BAR_MAX = 460,
    LINE = 22,
    BAR_HEIGHT = 16,
    TITLE_HEIGHT = 34,
    GAP = 18,
};

static bool is_drawn(const struct bench_row *row)
{
    return strncmp(row->workload->id, "throughput", 10) == 0 ||
           strncmp(row->workload->id, "round_trip", 10) == 0;
}

static int panel_height(const struct bench_row *row)
{
    return TITLE_HEIGHT + LINE * (int)row->n_cells + GAP;
}

static void write_panel(FILE *file, const struct bench_row *row, int y)
{
    const struct bench_metric *metric = &row->workload->metrics[0];
    double longest = 0;
    for (size_t c = 0; c < row->n_cells; c++) {
        const struct bench_cell *cell = &row->cells[c];
        if (cell->n_rounds > 0 && bench_cell_median(cell, 0) > longest)
            longest = bench_cell_median(cell, 0);
    }
    fprintf(
        file,
        "<text x=\"10\" y=\"%d\" font-weight=\"bold\">%s; %s, %s is better</text>\n",
        y + LINE, row->workload->title, metric->heading,
        row->workload->is_higher_better ? "more" : "less");
    y += TITLE_HEIGHT;
    for (size_t c = 0; c < row->n_cells; c++, y += LINE) {
        const struct bench_cell *cell = &row->cells[c];
        const bool is_measured = cell->n_rounds > 0;
        const double value = is_measured ? bench_cell_median(cell, 0) : 0;
        char words[48] = "failed";
        if (is_measured)
            snprintf(words, sizeof(words), "%.*f%s", metric->n_decimals,
                     value * metric->scale,
                     cell->peer->is_bounded ? "" : " (unbounded)");
        const struct bench_bar bar = {
            .left = BAR_LEFT,
            .top = y,
            .width = longest > 0 ? value / longest * BAR_MAX : 0,
            .height = BAR_HEIGHT,
            .is_ours = cell->peer->is_ours,
            .label = cell->peer->name,
            .words = words,
        };
        bench_svg_bar(file, &bar);
    }
}

void bench_write_svg(FILE *file, const struct bench_results *results)
{
    int height = GAP;
    for (size_t r = 0; r < results->n_rows; r++) {
        if (is_drawn(&results->rows[r])) height += panel_height(&results->rows[r]);
    }
    bench_svg_begin(file, WIDTH, height);
    int y = 0;
    for (size_t r = 0; r < results->n_rows; r++) {
        if (!is_drawn(&results->rows[r])) continue;
        write_panel(file, &results->rows[r], y);
        y += panel_height(&results->rows[r]);
    }
    fputs("</svg>\n", file);
}
