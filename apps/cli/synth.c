/* SPDX-License-Identifier: MIT */
/*
 * synth.c - `bitnet synth`: a model of any size with random weights, to measure with.
 *
 * The file gets its name at once if nothing has it, and if something does and is to be
 * replaced, at the end, so that whoever has that file mapped keeps what they have.
 * Whatever ends the writing early, the part that was written is removed: the signals
 * that would end the program are blocked and looked for between two buffers.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bitnet/clock.h>
#include <jansson.h>

#include "commands.h"
#include "complain.h"
#include "options.h"
#include "synth_model.h"
#include "synth_shape.h"
#include "synth_sink.h"

enum { MAX_PATH = 4096, BAR_WIDTH = 24, FRAME_NS = 50000000 };

struct settings {
    const char *path; /* NULL: --dry-run without one */
    const char *shape;
    const char *architecture;
    const char *head;
    uint64_t seed;
    bool is_forced;
    bool is_dry_run;
    bool is_json;
};

struct progress {
    uint64_t n_bytes;
    uint64_t last_frame_ns;
    bool is_shown; /* standard error is a terminal */
};

static const int ending_signals[] = {SIGINT, SIGTERM, SIGHUP};

enum { N_ENDING = sizeof(ending_signals) / sizeof(ending_signals[0]) };

/* Those that are ignored, as nohup has it, end nothing. */
static sigset_t set_of_ending_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < N_ENDING; i++) {
        struct sigaction action;
        if (sigaction(ending_signals[i], NULL, &action) == 0 &&
            action.sa_handler != SIG_IGN)
            sigaddset(&set, ending_signals[i]);
    }
    return set;
}

/* Whether one of them waits to be delivered. */
static bool must_end(void)
{
    sigset_t pending;
    sigpending(&pending);
    for (size_t i = 0; i < N_ENDING; i++) {
        if (sigismember(&pending, ending_signals[i]) == 1) return true;
    }
    return false;
}

static void draw(const struct progress *progress, uint64_t n_done)
{
    char bar[BAR_WIDTH + 1];
    memset(bar, '.', BAR_WIDTH);
    memset(bar, '#', (size_t)(n_done * BAR_WIDTH / progress->n_bytes));
    bar[BAR_WIDTH] = '\0';
    fprintf(stderr, "\r[%s] %" PRIu64 " of %" PRIu64 " MB", bar, n_done / 1000000,
            progress->n_bytes / 1000000);
}

/* Called after every buffer; the writing goes on as long as this returns true. */
static bool see_to_progress(void *user, uint64_t n_bytes)
{
    struct progress *progress = user;
    if (must_end()) return false;
    const uint64_t now_ns = bitnet_clock_ns();
    if (!progress->is_shown || now_ns - progress->last_frame_ns < FRAME_NS) return true;
    draw(progress, n_bytes);
    progress->last_frame_ns = now_ns;
    return true;
}

/* Asks for all the room at once, so that a full disk is known before the work. */
static bool reserve(int fd, uint64_t n_bytes)
{
    if (fallocate(fd, 0, 0, (off_t)n_bytes) == 0) return true;
    return errno == EOPNOTSUPP || errno == ENOSYS; /* not every file system can */
}

/* Fills the open file; returns 0 or an errno. */
static int fill(int fd, const struct settings *settings,
                const struct synth_shape *shape, const struct synth_sizes *sizes)
{
    if (!reserve(fd, sizes->file_bytes)) return errno;
    struct synth_sink *sink = synth_sink_create(fd);
    if (sink == NULL) return ENOMEM;
    struct progress progress = {
        .n_bytes = sizes->file_bytes,
        .is_shown = isatty(STDERR_FILENO) == 1,
    };
    sink->on_written = see_to_progress;
    sink->user = &progress;
    synth_write(shape, settings->seed, sizes, sink);
    if (progress.is_shown) fputs("\r\033[K", stderr);
    const int error = sink->error;
    free(sink);
    return error;
}

/*
 * Writes `path`, or a neighbour that takes its name in the end. Without --force nothing
 * may have the name, and the system sees to that, whoever else is writing.
 */
static int write_file(const struct settings *settings, const struct synth_shape *shape,
                      const struct synth_sizes *sizes)
{
    char path[MAX_PATH];
    const int n_written =
        settings->is_forced
            ? snprintf(path, sizeof(path), "%s.%ld", settings->path, (long)getpid())
            : snprintf(path, sizeof(path), "%s", settings->path);
    if (n_written < 0 || (size_t)n_written >= sizeof(path)) {
        complain("synth: the file name has more than %d bytes", MAX_PATH);
        return EXIT_FAILED;
    }
    const sigset_t ending = set_of_ending_signals();
    sigset_t before;
    sigprocmask(SIG_BLOCK, &ending, &before);
    signal(SIGXFSZ, SIG_IGN); /* too large a file is an error of the write */

    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    int error = fd < 0 ? errno : fill(fd, settings, shape, sizes);
    if (fd >= 0 && close(fd) != 0 && error == 0) error = errno;
    if (error == 0 && settings->is_forced && rename(path, settings->path) != 0)
        error = errno;
    if (fd >= 0 && error != 0) unlink(path);
    sigprocmask(SIG_SETMASK, &before, NULL); /* a pending signal ends the program */

    if (error == 0) return EXIT_DONE;
    if (fd < 0 && error == EEXIST && !settings->is_forced)
        complain("synth: %s is there already; --force replaces it", path);
    else if (fd < 0)
        complain("synth: cannot create %s: %s", path, strerror(error));
    else
        complain("synth: cannot write %" PRIu64
                 " bytes to %s: %s; nothing is left of it",
                 sizes->file_bytes, settings->path, strerror(error));
    return EXIT_FAILED;
}

static void print_lines(const struct settings *settings,
                        const struct synth_shape *shape,
                        const struct synth_sizes *sizes, double elapsed_s)
{
    const struct {
        const char *label;
        uint64_t n;
        const char *unit;
    } lines[] = {
        {"parameters", sizes->n_parameters, ""},
        {"file size", sizes->file_bytes, " bytes"},
        {"  header", sizes->header_bytes, " bytes"},
        {"  ternary", sizes->ternary_bytes, " bytes"},
        {"  vocabulary", sizes->dense_bytes, " bytes"},
        {"  norms", sizes->norm_bytes, " bytes"},
        {"seed", settings->seed, ""},
    };
    if (settings->path != NULL) printf("%-16s %s\n", "file", settings->path);
    printf("%-16s %s (%s)\n", "shape", shape->name, shape->architecture);
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        printf("%-16s %" PRIu64 "%s\n", lines[i].label, lines[i].n, lines[i].unit);
    if (settings->is_dry_run)
        printf("%-16s no, this is a dry run\n", "written");
    else
        printf("%-16s in %.1f s\n", "written", elapsed_s);
}

static void print_json(const struct settings *settings, const struct synth_shape *shape,
                       const struct synth_sizes *sizes, double elapsed_s)
{
    json_t *json = json_pack(
        "{s:s?, s:b, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f}", "path",
        settings->path, "is_dry_run", (int)settings->is_dry_run, "shape", shape->name,
        "architecture", shape->architecture, "seed", (json_int_t)settings->seed,
        "n_tensors", (json_int_t)synth_n_tensors(shape), "n_parameters",
        (json_int_t)sizes->n_parameters, "file_bytes", (json_int_t)sizes->file_bytes,
        "header_bytes", (json_int_t)sizes->header_bytes, "ternary_bytes",
        (json_int_t)sizes->ternary_bytes, "dense_bytes", (json_int_t)sizes->dense_bytes,
        "norm_bytes", (json_int_t)sizes->norm_bytes, "elapsed_s", elapsed_s);
    if (json == NULL) {
        complain("synth: cannot make the JSON: the file name is not UTF-8, or out of "
                 "memory");
        return;
    }
    json_dumpf(json, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(json);
}

static int make(const struct settings *settings, const struct synth_shape *shape)
{
    struct synth_sink *counter = synth_sink_create(-1);
    if (counter == NULL) {
        complain("synth: out of memory");
        return EXIT_FAILED;
    }
    const struct synth_sizes sizes = synth_measure(shape, settings->seed, counter);
    free(counter);
    const uint64_t begin_ns = bitnet_clock_ns();
    if (!settings->is_dry_run) {
        const int code = write_file(settings, shape, &sizes);
        if (code != EXIT_DONE) return code;
    }
    const double elapsed_s = (double)(bitnet_clock_ns() - begin_ns) / 1e9;
    if (settings->is_json)
        print_json(settings, shape, &sizes, elapsed_s);
    else
        print_lines(settings, shape, &sizes, elapsed_s);
    return EXIT_DONE;
}

/* The name of a type, and after a comma maybe "tied" or "untied". */
static bool read_head(const char *text, struct synth_shape *shape)
{
    static const struct {
        const char *name;
        enum synth_type type;
    } types[] = {{"f16", SYNTH_F16},
                 {"bf16", SYNTH_BF16},
                 {"f32", SYNTH_F32},
                 {"q8_0", SYNTH_Q8_0},
                 {"q6_k", SYNTH_Q6_K}};
    const size_t n_type = strcspn(text, ",");
    const char *rest = text + n_type;
    if (strcmp(rest, ",tied") == 0)
        shape->is_tied = true;
    else if (strcmp(rest, ",untied") == 0)
        shape->is_tied = false;
    else if (*rest != '\0')
        return false;
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (strlen(types[i].name) != n_type ||
            strncmp(types[i].name, text, n_type) != 0)
            continue;
        shape->dense = types[i].type;
        return true;
    }
    return false;
}

/* Puts together the shape from its name and what the options say otherwise. */
static bool choose_shape(const struct settings *settings,
                         const struct synth_shape *asked, struct synth_shape *shape)
{
    char words[256];
    if (!synth_shape_find(settings->shape, shape)) {
        synth_shape_names(words, sizeof(words));
        complain("synth: there is no shape '%s'; there are %s", settings->shape, words);
        return false;
    }
    if (settings->architecture != NULL &&
        !synth_shape_set_architecture(shape, settings->architecture)) {
        complain("synth: --arch: '%s' is not bitnet-b1.58, bitnet or llama",
                 settings->architecture);
        return false;
    }
    if (settings->head != NULL && !read_head(settings->head, shape)) {
        complain(
            "synth: --head: '%s' is not f16, bf16, f32, q8_0 or q6_k, with or without "
            ",tied or ,untied",
            settings->head);
        return false;
    }
    const struct {
        const uint64_t *asked;
        uint64_t *value;
    } numbers[] = {
        {&asked->n_layers, &shape->n_layers},
        {&asked->n_embd, &shape->n_embd},
        {&asked->n_ff, &shape->n_ff},
        {&asked->n_heads, &shape->n_heads},
        {&asked->n_kv_heads, &shape->n_kv_heads},
        {&asked->n_vocab, &shape->n_vocab},
        {&asked->n_ctx, &shape->n_ctx},
    };
    bool is_other = settings->architecture != NULL || settings->head != NULL;
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        if (*numbers[i].asked == 0) continue;
        *numbers[i].value = *numbers[i].asked;
        is_other = true;
    }
    if (is_other) shape->name = "custom";
    if (synth_shape_check(shape, words, sizeof(words))) return true;
    complain("synth: %s", words);
    return false;
}

int command_synth(int argc, char **argv)
{
    struct settings settings = {.shape = "2b4t", .seed = 1};
    struct synth_shape asked = {0};
    const struct option options[] = {
        {"shape", 's', OPTION_TEXT, &settings.shape, "NAME",
         "2b4t (default), large, 3b, 8b, falcon3-1b, -3b, -7b or -10b", 0, 0},
        {"layers", 0, OPTION_WHOLE, &asked.n_layers, "N",
         "layers, where 0 here and below is what the shape has", 0, 1024},
        {"embd", 0, OPTION_WHOLE, &asked.n_embd, "N", "width, a multiple of 32", 0,
         65536},
        {"ffn", 0, OPTION_WHOLE, &asked.n_ff, "N",
         "width of the feed-forward block, a multiple of 32", 0, 262144},
        {"heads", 0, OPTION_WHOLE, &asked.n_heads, "N", "attention heads", 0, 65536},
        {"kv-heads", 0, OPTION_WHOLE, &asked.n_kv_heads, "N",
         "heads of keys and values", 0, 65536},
        {"vocab", 0, OPTION_WHOLE, &asked.n_vocab, "N", "tokens, at least 258", 0,
         1 << 24},
        {"ctx", 0, OPTION_WHOLE, &asked.n_ctx, "N", "tokens of context", 0, 1 << 24},
        {"arch", 0, OPTION_TEXT, &settings.architecture, "NAME",
         "bitnet-b1.58, bitnet or llama; default: the shape's", 0, 0},
        {"head", 0, OPTION_TEXT, &settings.head, "TYPE",
         "f16, bf16, f32, q8_0 or q6_k; with ,tied or ,untied; default: f16", 0, 0},
        {"seed", 0, OPTION_WHOLE, &settings.seed, "N", "equal seeds, equal bytes", 0,
         0x1p53},
        {"force", 0, OPTION_FLAG, &settings.is_forced, NULL,
         "replace the file if it is there", 0, 0},
        {"dry-run", 'n', OPTION_FLAG, &settings.is_dry_run, NULL,
         "only tell how large the file would be", 0, 0},
        {"json", 0, OPTION_FLAG, &settings.is_json, NULL,
         "one JSON object instead of lines", 0, 0},
    };
    const struct command command = {
        .name = "synth",
        .arguments = "[options] FILE",
        .summary = "Writes a GGUF model with random ternary weights, to measure with. "
                   "It takes as long\nas a real model of its size, and talks nonsense.",
        .examples = "  bitnet synth 2b.gguf\n"
                    "  bitnet synth --dry-run --shape 8b\n"
                    "  bitnet synth --layers 2 --embd 256 --ffn 512 --heads 4 "
                    "--kv-heads 2 \\\n      --vocab 512 --ctx 256 small.gguf\n",
        .options = options,
        .n_options = sizeof(options) / sizeof(options[0]),
    };
    int n_operands;
    switch (options_read(&command, argc, argv, &n_operands)) {
    case OPTIONS_READ: break;
    case OPTIONS_HELP_SHOWN: return EXIT_DONE;
    case OPTIONS_WRONG: return EXIT_WRONG_USAGE;
    }
    if (n_operands > 1 || (n_operands == 0 && !settings.is_dry_run)) {
        complain("synth: %d files are named, expected one to write", n_operands);
        return EXIT_WRONG_USAGE;
    }
    if (asked.n_vocab != 0 && asked.n_vocab < SYNTH_MIN_VOCAB) {
        complain("synth: --vocab: %" PRIu64 " tokens, expected at least %d",
                 asked.n_vocab, SYNTH_MIN_VOCAB);
        return EXIT_WRONG_USAGE;
    }
    struct synth_shape shape;
    if (!choose_shape(&settings, &asked, &shape)) return EXIT_WRONG_USAGE;
    settings.path = n_operands == 1 ? argv[0] : NULL;
    return make(&settings, &shape);
}
