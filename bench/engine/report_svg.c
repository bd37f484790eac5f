/* SPDX-License-Identifier: MIT */
/*
 * report_svg.c - tokens per second by the number of callers, as bars: a panel for each
 * model, in which the longest bar fills the width.
 */
#include "common/report.h"
#include "results.h"

enum {
    WIDTH = 720,
    BAR_LEFT = 110,
    BAR_MAX = 480,
    LINE = 22,
    BAR_HEIGHT = 16,
    TITLE_HEIGHT = 34,
    GAP = 18,
    PANEL_HEIGHT = TITLE_HEIGHT + LINE * BENCH_N_CALLERS + GAP,
};

static void write_panel(FILE *file, const struct bench_model *model, int y)
{
    double longest = 0;
    for (size_t row = 0; row < BENCH_N_CALLERS; row++) {
        if (model->callers_tokens_per_s[row] > longest)
            longest = model->callers_tokens_per_s[row];
    }
    fprintf(
        file,
        "<text x=\"10\" y=\"%d\" font-weight=\"bold\">%s model, %.1f MB: tokens per "
        "second of all callers</text>\n",
        y + LINE, model->id, (double)model->n_bytes / 1e6);
    y += TITLE_HEIGHT;
    for (size_t row = 0; row < BENCH_N_CALLERS; row++, y += LINE) {
        char label[24];
        char words[48];
        const double rate = model->callers_tokens_per_s[row];
        snprintf(label, sizeof(label), "%u caller%s", bench_callers[row],
                 bench_callers[row] == 1 ? "" : "s");
        snprintf(words, sizeof(words), "%.1f (%.2f times one)", rate,
                 bench_gain(model, row));
        const struct bench_bar bar = {
            .left = BAR_LEFT,
            .top = y,
            .width = rate / longest * BAR_MAX,
            .height = BAR_HEIGHT,
            .is_ours = 1,
            .label = label,
            .words = words,
        };
        bench_svg_bar(file, &bar);
    }
}

void bench_write_svg(FILE *file, const struct bench_results *results)
{
    int height = GAP;
    for (size_t i = 0; i < results->n_models; i++) {
        if (results->models[i].has_callers) height += PANEL_HEIGHT;
    }
    bench_svg_begin(file, WIDTH, height);
    int y = 0;
    for (size_t i = 0; i < results->n_models; i++) {
        if (!results->models[i].has_callers) continue;
        write_panel(file, &results->models[i], y);
        y += PANEL_HEIGHT;
    }
    fputs("</svg>\n", file);
}
