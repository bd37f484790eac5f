/* SPDX-License-Identifier: MIT */
/*
 * select.c - which table of kernels this process uses.
 *
 * The only place that looks at CPU features. All tables give the same bits, so
 * the choice is about speed alone; BITNET_ISA makes it by hand, to test that
 * claim or to measure what an instruction set is worth.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/error.h"
#include "base/quote.h"
#include "kernels/kernels.h"

/* The tables of this build, best first. */
static const struct bni_kernels *const tables[] = {
#if defined(__x86_64__)
    &bni_kernels_avx512vnni, &bni_kernels_avx512,
    &bni_kernels_avxvnni,    &bni_kernels_avx2,
#elif defined(__aarch64__)
    &bni_kernels_dotprod,
    &bni_kernels_neon,
#endif
    &bni_kernels_scalar,
};

enum { N_TABLES = sizeof(tables) / sizeof(tables[0]) };

static bool cpu_runs(const struct bni_kernels *table)
{
#if defined(__x86_64__)
    const struct bni_cpu_features cpu = bni_cpu_features();
    const bool has_avx2 = cpu.has_avx2 && cpu.has_fma && cpu.has_f16c;
    if (table == &bni_kernels_avx512vnni)
        return has_avx2 && cpu.has_avx512 && cpu.has_avx512_vnni;
    if (table == &bni_kernels_avx512) return has_avx2 && cpu.has_avx512;
    if (table == &bni_kernels_avxvnni) return has_avx2 && cpu.has_avx_vnni;
    if (table == &bni_kernels_avx2) return has_avx2;
#elif defined(__aarch64__)
    const struct bni_cpu_features cpu = bni_cpu_features();
    if (table == &bni_kernels_dotprod) return cpu.has_neon && cpu.has_dotprod;
    if (table == &bni_kernels_neon) return cpu.has_neon;
#endif
    return table == &bni_kernels_scalar;
}

static const struct bni_kernels *find_table(const char *name)
{
    for (size_t i = 0; i < N_TABLES; i++)
        if (strcmp(tables[i]->name, name) == 0) return tables[i];
    return NULL;
}

/* Writes "avx2, scalar": what this CPU runs. The names are ours, so they fit. */
static void list_tables(char *list, size_t max_bytes)
{
    size_t n_bytes = 0;
    list[0] = '\0';
    for (size_t i = 0; i < N_TABLES; i++) {
        if (!cpu_runs(tables[i])) continue;
        const int written = snprintf(list + n_bytes, max_bytes - n_bytes, "%s%s",
                                     n_bytes > 0 ? ", " : "", tables[i]->name);
        if (written < 0 || (size_t)written >= max_bytes - n_bytes) return;
        n_bytes += (size_t)written;
    }
}

const struct bni_kernels *bni_kernels_by_name(const char *name)
{
    const struct bni_kernels *table = find_table(name);
    return table != NULL && cpu_runs(table) ? table : NULL;
}

const struct bni_kernels *bni_kernels_select(void)
{
    const char *name = getenv("BITNET_ISA");
    if (name == NULL || name[0] == '\0') {
        size_t best = 0;
        while (!cpu_runs(tables[best])) best++; /* the last one, scalar, always runs */
        return tables[best];
    }

    const struct bni_kernels *table = bni_kernels_by_name(name);
    if (table != NULL) return table;

    struct bni_quote quote;
    const char *quoted = bni_quote_bytes(&quote, name, strlen(name));
    char list[64];
    list_tables(list, sizeof(list));
    if (find_table(name) != NULL)
        bni_error(
            BITNET_ERROR_UNSUPPORTED_OPERATION,
            "choosing kernels: BITNET_ISA asks for \"%s\", whose instructions this "
            "CPU lacks; it runs: %s",
            quoted, list);
    else
        bni_error(
            BITNET_ERROR_INVALID_ARGUMENT,
            "choosing kernels: BITNET_ISA is \"%s\", which names no kernels; this "
            "CPU runs: %s",
            quoted, list);
    return NULL;
}
