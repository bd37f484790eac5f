/* SPDX-License-Identifier: MIT */
/*
 * pretokenize.c - the patterns, and PCRE2 on a short leash.
 *
 * The text is hostile and the engine backtracks, so the patterns are written such
 * that there is nothing to go back to: every repetition is possessive, which does
 * not change what they match because what follows a repetition never begins with
 * what it repeats. Two places are not that simple:
 *
 *   \s*[\r\n]+    takes a run of white space up to its last line end. Written as
 *                 (blanks* line ends+)+ it finds that place going forward.
 *   \s+(?!\S)     gives back one character at most: before the last one of a run
 *                 there is white space, which satisfies the condition.
 *
 * So a match takes a number of steps proportional to the text, and the limit set
 * in bni_split_memory_init() is never met; it is there in case this is wrong.
 *
 * White space is spelled out: PCRE2's \s counts U+180E, which Unicode does not.
 * Contractions ignore case for ASCII only, so they are spelled out too.
 *
 * PCRE2 allocates through base/alloc.h. Where the system refuses memory that can
 * be executed, patterns are interpreted: that is no error, but a refusal by
 * base/alloc.h is, and `was_refused` tells them apart.
 */
#include "model/pretokenize.h"

#include <stdint.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/size.h"

/* White space but for CR and LF, inside of a class; and with them. */
#define BLANK \
    "\\t\\x{0b}\\f\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}" \
    "\\x{202f}\\x{205f}\\x{3000}"
#define SPACE "\\r\\n" BLANK

#define SPACE_RUNS "[" SPACE "]+(?![^" SPACE "])|[" SPACE "]++"

#define LLAMA3(NUMBERS) \
    "'(?:[sStTmMdD]|[rR][eE]|[vV][eE]|[lL][lL])" \
    "|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}++" \
    "|" NUMBERS "| ?+[^" SPACE "\\p{L}\\p{N}]++[\\r\\n]*+" \
    "|(?:[" BLANK "]*+[\\r\\n]++)++" \
    "|" SPACE_RUNS

#define GPT2 \
    "'(?:[stmd]|re|ve|ll)| ?+\\p{L}++| ?+\\p{N}++" \
    "| ?+[^" SPACE "\\p{L}\\p{N}]++|" SPACE_RUNS

static const char *const LLAMA3_PATTERNS[] = {LLAMA3("\\p{N}{1,3}+"), NULL};
static const char *const QWEN2_PATTERNS[] = {LLAMA3("\\p{N}"), NULL};
static const char *const GPT2_PATTERNS[] = {GPT2, NULL};
static const char *const STARCODER_PATTERNS[] = {"\\p{N}", GPT2, NULL};
static const char *const FALCON_PATTERNS[] = {"[\\p{P}$+<=>^~|`]++", GPT2,
                                              "[0-9][0-9][0-9]", NULL};
static const char *const DEFAULT_PATTERNS[] = {"[\\p{P}$+<=>^~|]++", GPT2, "\\p{N}++",
                                               "[0-9][0-9][0-9]", NULL};

static const struct bni_pretokenizer_kind KINDS[] = {
    {"llama-bpe", LLAMA3_PATTERNS, true, true},
    {"llama3", LLAMA3_PATTERNS, true, true},
    {"llama-v3", LLAMA3_PATTERNS, true, true},
    {"falcon3", LLAMA3_PATTERNS, true, true},
    {"falcon-e", LLAMA3_PATTERNS, true, true},
    {"falcon_e", LLAMA3_PATTERNS, true, true},
    {"qwen2", QWEN2_PATTERNS, false, false},
    {"gpt-2", GPT2_PATTERNS, false, false},
    {"falcon", FALCON_PATTERNS, false, false},
    {"starcoder", STARCODER_PATTERNS, false, false},
    {"refact", STARCODER_PATTERNS, false, false},
    {"default", DEFAULT_PATTERNS, false, false},
};

struct bni_pretokenizer {
    bool was_refused; /* base/alloc.h refused PCRE2 memory during creation */
    pcre2_general_context *compiling; /* records refusals in `was_refused` */
    pcre2_general_context *matching;  /* records nothing: many threads use it */
    pcre2_code *codes[BNI_MAX_PATTERNS];
    size_t n_codes;
};

const struct bni_pretokenizer_kind *bni_pretokenizer_at(size_t index)
{
    return index < sizeof(KINDS) / sizeof(*KINDS) ? &KINDS[index] : NULL;
}

const struct bni_pretokenizer_kind *bni_pretokenizer_find(struct bni_string name)
{
    const struct bni_pretokenizer_kind *kind;
    for (size_t i = 0; (kind = bni_pretokenizer_at(i)) != NULL; i++) {
        if (strlen(kind->name) == name.n_bytes &&
            memcmp(kind->name, name.bytes, name.n_bytes) == 0)
            return kind;
    }
    return NULL;
}

static void *allocate_for_pcre2(size_t n_bytes, void *was_refused)
{
    void *block = bni_alloc(n_bytes);
    if (block == NULL && was_refused != NULL) *(bool *)was_refused = true;
    return block;
}

static void free_for_pcre2(void *block, void *was_refused)
{
    (void)was_refused;
    bni_free(block);
}

static bitnet_status compile(struct bni_pretokenizer *pretokenizer,
                             pcre2_compile_context *context, const char *pattern,
                             bool uses_jit)
{
    int code;
    size_t offset;
    pcre2_code *compiled =
        pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP,
                      &code, &offset, context);
    if (compiled == NULL && pretokenizer->was_refused)
        return BITNET_ERROR_OUT_OF_MEMORY;
    if (compiled == NULL)
        return bni_error(
            BITNET_ERROR_INTERNAL,
            "cannot compile a split pattern: PCRE2 says error %d at byte %zu", code,
            offset);
    pretokenizer->codes[pretokenizer->n_codes++] = compiled;
    if (uses_jit) (void)pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE);
    return pretokenizer->was_refused ? BITNET_ERROR_OUT_OF_MEMORY : BITNET_OK;
}

bitnet_status bni_pretokenizer_create(const struct bni_pretokenizer_kind *kind,
                                      bool uses_jit, struct bni_pretokenizer **out)
{
    bitnet_status status = BITNET_ERROR_OUT_OF_MEMORY;
    struct bni_pretokenizer *pretokenizer = bni_calloc(1, sizeof(*pretokenizer));
    if (pretokenizer == NULL) return status;

    pcre2_compile_context *context = NULL;
    pretokenizer->compiling =
        pcre2_general_context_create(allocate_for_pcre2, free_for_pcre2,
                                     &pretokenizer->was_refused);
    pretokenizer->matching =
        pcre2_general_context_create(allocate_for_pcre2, free_for_pcre2, NULL);
    if (pretokenizer->compiling != NULL)
        context = pcre2_compile_context_create(pretokenizer->compiling);
    if (pretokenizer->matching != NULL && context != NULL) status = BITNET_OK;

    for (size_t i = 0; status == BITNET_OK && kind->patterns[i] != NULL; i++)
        status = compile(pretokenizer, context, kind->patterns[i], uses_jit);
    pcre2_compile_context_free(context);

    if (status == BITNET_OK)
        *out = pretokenizer;
    else
        bni_pretokenizer_destroy(pretokenizer);
    return status;
}

void bni_pretokenizer_destroy(struct bni_pretokenizer *pretokenizer)
{
    if (pretokenizer == NULL) return;
    for (size_t i = 0; i < pretokenizer->n_codes; i++)
        pcre2_code_free(pretokenizer->codes[i]);
    pcre2_general_context_free(pretokenizer->compiling);
    pcre2_general_context_free(pretokenizer->matching);
    bni_free(pretokenizer);
}

bitnet_status bni_split_memory_init(struct bni_split_memory *memory,
                                    const struct bni_pretokenizer *pretokenizer,
                                    size_t n_bytes)
{
    /* A repetition is one step or, in the interpreter, one for each time around. */
    enum { STEPS_PER_BYTE = 8, MORE_STEPS = 1000, MAX_HEAP_KIB = 1024 };
    const size_t max_steps = STEPS_PER_BYTE * bni_size_min(n_bytes, UINT32_MAX / 16);

    memory->match_data = pcre2_match_data_create(1, pretokenizer->matching);
    memory->match_context = pcre2_match_context_create(pretokenizer->matching);
    if (memory->match_data == NULL || memory->match_context == NULL) {
        bni_split_memory_clear(memory);
        return BITNET_ERROR_OUT_OF_MEMORY;
    }
    pcre2_set_match_limit(memory->match_context, (uint32_t)max_steps + MORE_STEPS);
    pcre2_set_heap_limit(memory->match_context, MAX_HEAP_KIB);
    return BITNET_OK;
}

void bni_split_memory_clear(struct bni_split_memory *memory)
{
    pcre2_match_data_free(memory->match_data);
    pcre2_match_context_free(memory->match_context);
    *memory = (struct bni_split_memory){0};
}

/* What stays the same from one pattern to the next. */
struct split {
    const struct bni_pretokenizer *pretokenizer;
    const struct bni_split_memory *memory;
    bni_piece_fn fn;
    void *user;
};

/* Splits by pattern `index` and those behind it; one level deep for each pattern. */
static bitnet_status split_by(const struct split *split, size_t index, const char *text,
                              size_t n_bytes)
{
    if (n_bytes == 0) return BITNET_OK;
    if (index == split->pretokenizer->n_codes)
        return split->fn(split->user, text, n_bytes);

    bitnet_status status = BITNET_OK;
    size_t n_done = 0;
    while (n_done < n_bytes && status == BITNET_OK) {
        /* The text is known to be UTF-8: checking it again here would be quadratic. */
        const int result =
            pcre2_match(split->pretokenizer->codes[index], (PCRE2_SPTR)text, n_bytes,
                        n_done, PCRE2_NO_UTF_CHECK, split->memory->match_data,
                        split->memory->match_context);
        if (result == PCRE2_ERROR_NOMATCH) break;
        if (result == PCRE2_ERROR_NOMEMORY) return BITNET_ERROR_OUT_OF_MEMORY;
        if (result < 0)
            return bni_error(
                BITNET_ERROR_INTERNAL,
                "cannot split a text of %zu bytes: PCRE2 says error %d at byte "
                "%zu of them",
                n_bytes, result, n_done);

        const size_t *bounds = pcre2_get_ovector_pointer(split->memory->match_data);
        const size_t begin = bounds[0];
        const size_t end = bounds[1];
        status = split_by(split, index + 1, text + n_done, begin - n_done);
        if (status == BITNET_OK)
            status = split_by(split, index + 1, text + begin, end - begin);
        n_done = end;
    }
    if (status != BITNET_OK) return status;
    return split_by(split, index + 1, text + n_done, n_bytes - n_done);
}

bitnet_status bni_pretokenize(const struct bni_pretokenizer *pretokenizer,
                              const struct bni_split_memory *memory, const char *text,
                              size_t n_bytes, bni_piece_fn fn, void *user)
{
    const struct split split = {pretokenizer, memory, fn, user};
    return split_by(&split, 0, text, n_bytes);
}
