/* SPDX-License-Identifier: MIT */
/*
 * report.c - see report.h.
 */
#include "common/report.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void bench_give_up(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%s: ", bench_program);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    _exit(1);
}

void bench_show_progress(size_t n_done, size_t n_all, const char *what)
{
    enum { WIDTH = 24 };
    char bar[WIDTH + 1];
    if (!isatty(STDERR_FILENO)) return;
    const size_t n_filled = n_done * WIDTH / n_all;
    memset(bar, '.', WIDTH);
    memset(bar, '#', n_filled);
    bar[WIDTH] = '\0';
    fprintf(stderr, "\r[%s] %zu/%zu %-40s", bar, n_done, n_all, what);
    if (n_done == n_all) fputc('\n', stderr);
}

static int by_value(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a;
    const uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

uint64_t bench_percentile(uint64_t *values, size_t n, double share)
{
    qsort(values, n, sizeof(*values), by_value);
    return values[(size_t)(share * (double)(n - 1) + 0.5)];
}

static int by_real_value(const void *a, const void *b)
{
    const double x = *(const double *)a;
    const double y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_real_percentile(double *values, size_t n, double share)
{
    qsort(values, n, sizeof(*values), by_real_value);
    return values[(size_t)(share * (double)(n - 1) + 0.5)];
}

FILE *bench_open(const char *path)
{
    FILE *file = fopen(path, "w");
    if (file == NULL)
        fprintf(stderr, "%s: cannot write %s: %s\n", bench_program, path,
                strerror(errno));
    return file;
}

void bench_svg_begin(FILE *file, int width, int height)
{
    fprintf(file,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
            "font-family=\"sans-serif\" font-size=\"13\">\n"
            "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
            width, height);
}

void bench_svg_bar(FILE *file, const struct bench_bar *bar)
{
    const int base_line = bar->top + bar->height - 3;
    fprintf(file,
            "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>\n"
            "<rect x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\" fill=\"%s\"/>\n"
            "<text x=\"%.1f\" y=\"%d\">%s</text>\n",
            bar->left - 8, base_line, bar->label, bar->left, bar->top, bar->width,
            bar->height, bar->is_ours ? "#c2410c" : "#94a3b8",
            bar->left + bar->width + 6, base_line, bar->words);
}
