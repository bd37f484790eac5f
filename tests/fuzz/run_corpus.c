/* SPDX-License-Identifier: MIT */
/*
 * run_corpus.c - a fuzz target without a fuzzer.
 *
 *     test_fuzz_corpus FOLDER...
 *
 * Runs the target over every file in the folders, then over changed copies of them:
 * each is one to eight changes away, drawn from a seeded generator, so a failure can
 * be repeated. BITNET_FUZZ_SEED and BITNET_FUZZ_RUNS set the seed and how many copies
 * are made of each file. Folders that do not exist are passed over, but there must be
 * a file in the end.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

enum { MAX_FILE_BYTES = 1 << 20, DEFAULT_RUNS = 200 };

struct input {
    uint8_t *bytes;
    size_t n_bytes;
};

static uint64_t next_random(uint64_t *state)
{
    *state += UINT64_C(0x9E3779B97F4A7C15);
    uint64_t x = *state;
    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return x ^ x >> 31;
}

/* Changes favour the first bytes, where counts, lengths and types are. */
static size_t random_place(uint64_t *state, size_t n_bytes)
{
    const uint64_t draw = next_random(state);
    const size_t n_front = n_bytes < 2048 ? n_bytes : 2048;
    return draw % 4 != 0 ? (draw >> 8) % n_front : (draw >> 8) % n_bytes;
}

static void change(struct input *input, uint64_t *state)
{
    static const uint64_t INTERESTING[] = {
        0,
        1,
        0x7F,
        0x80,
        0xFF,
        0x7FFFFFFF,
        0x80000000,
        0xFFFFFFFF,
        UINT64_C(1) << 61,
        UINT64_C(1) << 63,
        UINT64_MAX,
    };
    if (input->n_bytes == 0) return;
    const size_t place = random_place(state, input->n_bytes);
    const uint64_t draw = next_random(state);
    const size_t n_left = input->n_bytes - place;
    switch (draw % 6) {
    case 0: input->bytes[place] ^= (uint8_t)(1u << (draw >> 8) % 8); break;
    case 1: input->bytes[place] = (uint8_t)(draw >> 8); break;
    case 2: input->n_bytes = place; break;
    case 3: { /* a number */
        const uint64_t number =
            INTERESTING[(draw >> 8) % (sizeof(INTERESTING) / sizeof(INTERESTING[0]))];
        const size_t width = (draw >> 16) % 2 != 0 ? 8 : 4;
        memcpy(input->bytes + place, &number, width < n_left ? width : n_left);
        break;
    }
    case 4: { /* a piece left out */
        const size_t n_cut = (draw >> 8) % 16 < n_left ? (draw >> 8) % 16 : n_left;
        memmove(input->bytes + place, input->bytes + place + n_cut, n_left - n_cut);
        input->n_bytes -= n_cut;
        break;
    }
    default: { /* a piece from elsewhere */
        const size_t from = random_place(state, input->n_bytes);
        const size_t n_room = input->n_bytes - (from > place ? from : place);
        const size_t n_copied = (draw >> 8) % 32 < n_room ? (draw >> 8) % 32 : n_room;
        memmove(input->bytes + place, input->bytes + from, n_copied);
        break;
    }
    }
}

static void run_changed(const struct input *original, uint64_t seed, unsigned n_runs)
{
    struct input copy = {malloc(original->n_bytes + 1), 0};
    if (copy.bytes == NULL) abort();
    for (unsigned run = 0; run < n_runs; run++) {
        uint64_t state = seed * 1000003 + run;
        memcpy(copy.bytes, original->bytes, original->n_bytes);
        copy.n_bytes = original->n_bytes;
        for (uint64_t n = 1 + next_random(&state) % 8; n > 0; n--)
            change(&copy, &state);
        LLVMFuzzerTestOneInput(copy.bytes, copy.n_bytes);
    }
    free(copy.bytes);
}

/* Gives the file's bytes; false if it cannot be read or is too large to be a seed. */
static int read_file(const char *path, struct input *input)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) return 0;
    input->bytes = malloc(MAX_FILE_BYTES);
    if (input->bytes == NULL) abort();
    input->n_bytes = fread(input->bytes, 1, MAX_FILE_BYTES, file);
    fclose(file);
    return 1;
}

static int is_seed(const char *name)
{
    return strstr(name, ".gguf") != NULL || strstr(name, ".gbnf") != NULL ||
           strstr(name, ".json") != NULL;
}

static unsigned run_folder(const char *folder, uint64_t seed, unsigned n_runs)
{
    unsigned n_files = 0;
    DIR *entries = opendir(folder);
    if (entries == NULL) return 0;
    for (struct dirent *entry = readdir(entries); entry != NULL;
         entry = readdir(entries)) {
        char path[4096];
        struct input input;
        if (!is_seed(entry->d_name)) continue;
        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        if (!read_file(path, &input)) continue;
        LLVMFuzzerTestOneInput(input.bytes, input.n_bytes);
        run_changed(&input, seed, n_runs);
        free(input.bytes);
        n_files++;
    }
    closedir(entries);
    return n_files;
}

static uint64_t number_from_environment(const char *name, uint64_t fallback)
{
    const char *text = getenv(name);
    return text != NULL ? strtoull(text, NULL, 10) : fallback;
}

int main(int argc, char **argv)
{
    const uint64_t seed = number_from_environment("BITNET_FUZZ_SEED", 1);
    const unsigned n_runs =
        (unsigned)number_from_environment("BITNET_FUZZ_RUNS", DEFAULT_RUNS);
    unsigned n_files = 0;
    printf("seed %llu, %u changed copies of each file\n", (unsigned long long)seed,
           n_runs);
    for (int i = 1; i < argc; i++) n_files += run_folder(argv[i], seed, n_runs);
    printf("%u files\n", n_files);
    return n_files > 0 ? 0 : 1;
}
