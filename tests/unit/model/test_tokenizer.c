/* SPDX-License-Identifier: MIT */
/*
 * test_tokenizer.c - what a tokenizer does, on small vocabularies made here.
 *
 * The byte-level one has the 256 bytes as tokens 0 to 255, in the alphabet's form
 * written by an independent rule, and a few words behind them.
 */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include <bitnet/log.h>

#include "base/fault.h"
#include "support/gguf_builder.h"
#include "support/latch.h"
#include "support/tokenizers.h"

enum { NORMAL = 1, UNKNOWN = 2, CONTROL = 3, USER_DEFINED = 4, BYTE = 6 };
enum { MAX_TOKENS = 400, MAX_MERGES = 32, ARRAY = 9, F32 = 6 };

/* A vocabulary before it is a file. */
struct draft {
    const char *model;
    const char *pre; /* or NULL */
    const char *architecture;
    const char *tokens[MAX_TOKENS];
    int32_t types[MAX_TOKENS];
    float scores[MAX_TOKENS];
    size_t n_tokens;
    const char *merges[MAX_MERGES];
    size_t n_merges;
    size_t n_types;  /* as written; n_tokens unless a test says otherwise */
    size_t n_scores; /* likewise */
    void (*add_more)(struct gguf_builder *builder); /* or NULL */
};

struct made {
    uint8_t *bytes;
    struct bni_gguf *gguf;
    struct bni_tokenizer *tokenizer;
    bitnet_status status;
};

static bitnet_token add(struct draft *draft, const char *text, int32_t type)
{
    draft->tokens[draft->n_tokens] = text;
    draft->types[draft->n_tokens] = type;
    draft->n_types = draft->n_scores = draft->n_tokens + 1;
    return (bitnet_token)draft->n_tokens++;
}

static bitnet_token add_scored(struct draft *draft, const char *text, float score)
{
    draft->scores[draft->n_tokens] = score;
    return add(draft, text, NORMAL);
}

static void write_draft(const struct draft *draft, struct made *made)
{
    size_t n_bytes;
    struct gguf_builder builder;
    uint8_t payload[12 + MAX_TOKENS * sizeof(float)];
    const uint32_t type = F32;
    const uint64_t n_scores = draft->n_scores;
    gguf_begin(&builder);
    gguf_string(&builder, "tokenizer.ggml.model", draft->model);
    if (draft->pre != NULL) gguf_string(&builder, "tokenizer.ggml.pre", draft->pre);
    gguf_strings(&builder, "tokenizer.ggml.tokens", draft->tokens, draft->n_tokens);
    gguf_i32s(&builder, "tokenizer.ggml.token_type", draft->types, draft->n_types);
    memcpy(payload, &type, sizeof(type));
    memcpy(payload + 4, &n_scores, sizeof(n_scores));
    memcpy(payload + 12, draft->scores, sizeof(draft->scores));
    gguf_value(&builder, "tokenizer.ggml.scores", ARRAY, payload,
               12 + draft->n_scores * sizeof(float));
    gguf_strings(&builder, "tokenizer.ggml.merges", draft->merges, draft->n_merges);
    if (draft->add_more != NULL) draft->add_more(&builder);
    made->bytes = gguf_end(&builder, &n_bytes);
    assert_int_equal(bni_gguf_open_memory(made->bytes, n_bytes, "small.gguf",
                                          &made->gguf),
                     BITNET_OK);
}

static struct made make(const struct draft *draft)
{
    struct made made = {0};
    write_draft(draft, &made);
    made.status = bni_tokenizer_create(made.gguf, string_of(draft->architecture),
                                       &made.tokenizer);
    return made;
}

static void unmake(struct made *made)
{
    bni_tokenizer_destroy(made->tokenizer);
    bni_gguf_close(made->gguf);
    free(made->bytes);
}

/* The alphabet by its definition: printable bytes stay, the others follow from 256. */
static char byte_texts[256][3];

static void write_byte_texts(void)
{
    unsigned n_shifted = 0;
    for (unsigned byte = 0; byte < 256; byte++) {
        const bool is_printable = (byte >= '!' && byte <= '~') ||
                                  (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
        const unsigned code_point = is_printable ? byte : 256 + n_shifted++;
        char *text = byte_texts[byte];
        if (code_point < 0x80) {
            text[0] = (char)code_point;
            text[1] = '\0';
        } else {
            text[0] = (char)(0xC0 | code_point >> 6);
            text[1] = (char)(0x80 | (code_point & 0x3F));
            text[2] = '\0';
        }
    }
    assert_int_equal(n_shifted, 68);
}

/* Tokens behind the bytes. */
enum {
    HE = 256,
    LL,
    HELL,
    HELLO,
    SPACE_HELLO,
    AA,
    XYZ,
    LO,
    BEGIN,
    EOT,
    THINK,
    IM_START,
    THINKING,
};

static struct draft small_bpe(void)
{
    struct draft draft = {.model = "gpt2", .pre = "llama-bpe", .architecture = "x"};
    write_byte_texts();
    for (unsigned byte = 0; byte < 256; byte++) add(&draft, byte_texts[byte], NORMAL);
    add(&draft, "he", NORMAL);
    add(&draft, "ll", NORMAL);
    add(&draft, "hell", NORMAL);
    add(&draft, "hello", NORMAL);
    add(&draft, "\xC4\xA0hello", NORMAL);
    add(&draft, "aa", NORMAL);
    add(&draft, "xyz", NORMAL); /* no merge makes it */
    add(&draft, "lo", NORMAL);
    add(&draft, "<|begin_of_text|>", CONTROL);
    add(&draft, "<|eot_id|>", CONTROL);
    add(&draft, "<think>", USER_DEFINED);
    add(&draft, "<|im_start|>", USER_DEFINED); /* looks like a marker: is one */
    add(&draft, "<think>ing", USER_DEFINED);
    static const char *const merges[] = {
        "h e", "l l", "he ll", "hell o", "\xC4\xA0 hello", "a a", "l o",
    };
    draft.n_merges = sizeof(merges) / sizeof(*merges);
    memcpy(draft.merges, merges, sizeof(merges));
    return draft;
}

static struct made make_small_bpe(void)
{
    const struct draft draft = small_bpe();
    const struct made made = make(&draft);
    if (made.status != BITNET_OK) fail_msg("%s", bitnet_last_error());
    return made;
}

enum {
    SPM_UNK,
    SPM_BOS,
    SPM_EOS,
    SPM_BYTE_C3,
    SPM_BYTE_A9,
    SPM_BLOCK,
    SPM_A,
    SPM_B,
    SPM_AB,
    SPM_BA,
    SPM_BLOCK_A,
    SPM_TWO_BLOCKS,
    SPM_USER,
};

static struct draft small_spm(void)
{
    struct draft draft = {.model = "llama", .architecture = "x"};
    add(&draft, "<unk>", UNKNOWN);
    add(&draft, "<s>", CONTROL);
    add(&draft, "</s>", CONTROL);
    add(&draft, "<0xC3>", BYTE);
    add(&draft, "<0xA9>", BYTE);
    add_scored(&draft, "\xE2\x96\x81", -10.0f);
    add_scored(&draft, "a", -11.0f);
    add_scored(&draft, "b", -12.0f);
    add_scored(&draft, "ab", -2.0f);
    add_scored(&draft, "ba", -1.0f);
    add_scored(&draft,
               "\xE2\x96\x81"
               "a",
               -3.0f);
    add_scored(&draft, "\xE2\x96\x81\xE2\x96\x81", -0.5f);
    add(&draft, "[x]", USER_DEFINED);
    return draft;
}

#define TOKENS(...) \
    (const bitnet_token[]){__VA_ARGS__}, \
        sizeof((const bitnet_token[]){__VA_ARGS__}) / sizeof(bitnet_token)

static void assert_encodes(const struct made *made, const char *text,
                           bool parse_special, const bitnet_token *expected, size_t n)
{
    assert_true(
        encodes_to(made->tokenizer, text, strlen(text), parse_special, expected, n));
}

static void every_byte_has_its_character(void **state)
{
    (void)state;
    struct made made = make_small_bpe();
    assert_string_equal(byte_texts[0x00], "\xC4\x80"); /* U+0100 */
    assert_string_equal(byte_texts[0x20], "\xC4\xA0"); /* U+0120 */
    assert_string_equal(byte_texts[0xAD], "\xC5\x83"); /* U+0143 */
    for (int byte = 0; byte < 256; byte++) {
        const struct bni_string bytes =
            bni_tokenizer_bytes(made.tokenizer, (bitnet_token)byte, false);
        assert_int_equal(bytes.n_bytes, 1);
        assert_int_equal((uint8_t)bytes.bytes[0], byte);
    }
    unmake(&made);
}

static void merges_go_by_rank_and_from_the_left(void **state)
{
    (void)state;
    struct made made = make_small_bpe();
    assert_encodes(&made, "hello", false, TOKENS(HELLO));
    assert_encodes(&made, "hello hello", false, TOKENS(HELLO, SPACE_HELLO));
    assert_encodes(&made, "hellohello", false, TOKENS(HELLO, HELLO));
    assert_encodes(&made, "aaaaa", false, TOKENS(AA, AA, 'a'));
    assert_encodes(&made, "lllo", false, TOKENS(LL, LO));
    assert_encodes(&made, "llo", false, TOKENS(LL, 'o')); /* "l l" is before "l o" */
    assert_encodes(&made, "h\xC3\xA9", false, TOKENS('h', 0xC3, 0xA9));
    unmake(&made);
}

static void a_whole_piece_that_is_a_token_is_taken_where_the_kind_says_so(void **state)
{
    (void)state;
    struct made made = make_small_bpe();
    assert_encodes(&made, "xyz", false, TOKENS(XYZ));
    assert_encodes(&made, "xyzz", false, TOKENS('x', 'y', 'z', 'z'));
    unmake(&made);
    struct draft draft = small_bpe();
    draft.pre = "gpt-2";
    made = make(&draft);
    assert_int_equal(made.status, BITNET_OK);
    assert_encodes(&made, "xyz", false, TOKENS('x', 'y', 'z'));
    unmake(&made);
}

static void control_tokens_are_text_unless_asked_for(void **state)
{
    (void)state;
    struct made made = make_small_bpe();
    assert_encodes(&made, "aa<|eot_id|>aa", true, TOKENS(AA, EOT, AA));
    assert_encodes(&made, "<|eot_id|>", false,
                   TOKENS('<', '|', 'e', 'o', 't', '_', 'i', 'd', '|', '>'));
    assert_encodes(&made, "<|eot_id|", true,
                   TOKENS('<', '|', 'e', 'o', 't', '_', 'i', 'd', '|'));
    assert_encodes(&made, "<<|eot_id|><|begin_of_text|>", true,
                   TOKENS('<', EOT, BEGIN));
    unmake(&made);
}

static void user_defined_tokens_are_always_recognised_the_longest_first(void **state)
{
    (void)state;
    struct made made = make_small_bpe();
    for (int parse_special = 0; parse_special < 2; parse_special++) {
        assert_encodes(&made, "<think>hello", parse_special != 0, TOKENS(THINK, HELLO));
        assert_encodes(&made, "a<think>inga", parse_special != 0,
                       TOKENS('a', THINKING, 'a'));
    }
    unmake(&made);
}

static void a_marker_that_is_typed_as_user_defined_cannot_be_forged(void **state)
{
    (void)state;
    struct made made = make_small_bpe();
    assert_encodes(&made, "<|im_start|>", true, TOKENS(IM_START));
    assert_encodes(&made, "<|im_start|>", false,
                   TOKENS('<', '|', 'i', 'm', '_', 's', 't', 'a', 'r', 't', '|', '>'));
    assert_int_equal(bni_tokenizer_bytes(made.tokenizer, IM_START, false).n_bytes, 0);
    unmake(&made);
}

static void bytes_that_are_no_character_become_the_replacement(void **state)
{
    (void)state;
    struct made made = make_small_bpe();
    assert_encodes(&made,
                   "\xFF"
                   "a",
                   false, TOKENS(0xEF, 0xBF, 0xBD, 'a'));
    assert_encodes(&made, "\xF0\x9F\x99", false, TOKENS(0xEF, 0xBF, 0xBD));
    unmake(&made);
}

/* What bitnet_tokenize() promises: three for each byte, a space, BOS and EOS. */
static void the_number_of_tokens_is_bounded_by_the_length(void **state)
{
    (void)state;
    struct draft drafts[] = {small_bpe(), small_spm()};
    static const char *const texts[] = {"", "\xFF", "\xFF\xFF\xFF", "a[x]a[x]a",
                                        "<think>a"};
    for (int i = 0; i < 2; i++) {
        struct made made = make(&drafts[i]);
        assert_int_equal(made.status, BITNET_OK);
        for (size_t k = 0; k < sizeof(texts) / sizeof(*texts); k++) {
            bitnet_token *tokens;
            size_t n_tokens;
            const size_t n_text = strlen(texts[k]);
            assert_int_equal(bni_tokenizer_encode(made.tokenizer, texts[k], n_text,
                                                  true, true, &tokens, &n_tokens),
                             BITNET_OK);
            assert_true(n_tokens <= 3 * n_text + 3);
            bni_free(tokens);
        }
        unmake(&made);
    }
}

static void add_bos_and_ends(struct gguf_builder *builder)
{
    gguf_u32(builder, "tokenizer.ggml.bos_token_id", BEGIN);
    gguf_u32(builder, "tokenizer.ggml.eos_token_id", HELLO);
    gguf_bool(builder, "tokenizer.ggml.add_eos_token", true);
}

static void bos_and_eos_go_where_the_file_says(void **state)
{
    (void)state;
    struct draft draft = small_bpe();
    draft.add_more = add_bos_and_ends;
    struct made made = make(&draft);
    bitnet_token *tokens;
    size_t n_tokens;
    assert_int_equal(made.status, BITNET_OK);
    assert_int_equal(bni_tokenizer_bos(made.tokenizer), BEGIN);
    assert_int_equal(bni_tokenizer_eos(made.tokenizer), HELLO);
    assert_true(bni_tokenizer_adds_bos(made.tokenizer)); /* llama-bpe does by itself */
    assert_true(bni_tokenizer_adds_eos(made.tokenizer));
    assert_int_equal(bni_tokenizer_encode(made.tokenizer, "", 0, true, false, &tokens,
                                          &n_tokens),
                     BITNET_OK);
    assert_int_equal(n_tokens, 2);
    assert_int_equal(tokens[0], BEGIN);
    assert_int_equal(tokens[1], HELLO);
    bni_free(tokens);
    assert_int_equal(bni_tokenizer_encode(made.tokenizer, "", 0, false, false, &tokens,
                                          &n_tokens),
                     BITNET_OK);
    assert_int_equal(n_tokens, 0);
    bni_free(tokens);

    assert_true(bni_tokenizer_is_end(made.tokenizer, HELLO));
    assert_true(bni_tokenizer_is_end(made.tokenizer, EOT)); /* by its text */
    assert_false(bni_tokenizer_is_end(made.tokenizer, BEGIN));
    assert_false(bni_tokenizer_is_end(made.tokenizer, BITNET_NO_TOKEN));
    assert_false(bni_tokenizer_is_end(made.tokenizer, MAX_TOKENS));
    unmake(&made);
}

static void without_a_bos_none_is_added(void **state)
{
    (void)state;
    struct made made = make_small_bpe();
    assert_int_equal(bni_tokenizer_bos(made.tokenizer), BITNET_NO_TOKEN);
    assert_int_equal(bni_tokenizer_eos(made.tokenizer), BITNET_NO_TOKEN);
    assert_false(bni_tokenizer_adds_bos(made.tokenizer));
    unmake(&made);
}

static void add_bos_out_of_range(struct gguf_builder *builder)
{
    gguf_u32(builder, "tokenizer.ggml.bos_token_id", 100000);
}

static void count_warnings(void *user, bitnet_log_level level, const char *message)
{
    int *n = user;
    if (level == BITNET_LOG_WARNING && strstr(message, "small.gguf") != NULL) (*n)++;
}

static void a_bos_outside_the_vocabulary_is_ignored_with_a_warning(void **state)
{
    (void)state;
    int n_warnings = 0;
    struct draft draft = small_bpe();
    draft.add_more = add_bos_out_of_range;
    bitnet_set_log(count_warnings, &n_warnings, BITNET_LOG_WARNING);
    struct made made = make(&draft);
    bitnet_set_log(NULL, NULL, BITNET_LOG_WARNING);
    assert_int_equal(made.status, BITNET_OK);
    assert_int_equal(bni_tokenizer_bos(made.tokenizer), BITNET_NO_TOKEN);
    assert_true(n_warnings > 0);
    unmake(&made);
}

static void a_missing_pretokenizer_follows_from_the_architecture(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"bitnet-25", "gpt2 (llama-bpe)"},
        {"bitnet-b1.58", "gpt2 (llama-bpe)"},
        {"llama", "gpt2 (default)"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct draft draft = small_bpe();
        draft.pre = NULL;
        draft.architecture = cases[i][0];
        struct made made = make(&draft);
        assert_int_equal(made.status, BITNET_OK);
        assert_string_equal(bni_tokenizer_description(made.tokenizer), cases[i][1]);
        unmake(&made);
    }
}

static void spm_joins_the_pair_of_the_highest_score(void **state)
{
    (void)state;
    const struct draft draft = small_spm();
    struct made made = make(&draft);
    if (made.status != BITNET_OK) fail_msg("%s", bitnet_last_error());
    assert_string_equal(bni_tokenizer_description(made.tokenizer), "llama");
    assert_encodes(&made, "a", false, TOKENS(SPM_BLOCK_A));
    assert_encodes(&made, "ab", false, TOKENS(SPM_BLOCK, SPM_AB));
    assert_encodes(&made, "aba", false, TOKENS(SPM_BLOCK_A, SPM_BA));
    assert_encodes(&made, " a", false, TOKENS(SPM_TWO_BLOCKS, SPM_A));
    assert_encodes(&made,
                   "\xE2\x96\x81"
                   "a",
                   false, TOKENS(SPM_TWO_BLOCKS, SPM_A));
    /* Bytes for what has no token; what has no byte either is unknown. */
    assert_encodes(&made, "b\xC3\xA9", false,
                   TOKENS(SPM_BLOCK, SPM_B, SPM_BYTE_C3, SPM_BYTE_A9));
    assert_encodes(&made, "z", false, TOKENS(SPM_BLOCK, SPM_UNK));
    /* Each stretch between special tokens begins with a space. */
    assert_encodes(&made, "a[x]a", false, TOKENS(SPM_BLOCK_A, SPM_USER, SPM_BLOCK_A));
    assert_encodes(&made, "</s>", true, TOKENS(SPM_EOS));
    assert_true(bni_tokenizer_is_end(made.tokenizer, SPM_EOS));
    assert_int_equal(bni_tokenizer_bos(made.tokenizer), SPM_BOS);
    assert_true(bni_tokenizer_adds_bos(made.tokenizer));
    assert_false(bni_tokenizer_adds_eos(made.tokenizer));
    unmake(&made);
}

static void add_no_space_prefix(struct gguf_builder *builder)
{
    gguf_bool(builder, "tokenizer.ggml.add_space_prefix", false);
}

static void spm_adds_no_space_if_told_so(void **state)
{
    (void)state;
    struct draft draft = small_spm();
    draft.add_more = add_no_space_prefix;
    struct made made = make(&draft);
    assert_int_equal(made.status, BITNET_OK);
    assert_encodes(&made, "a", false, TOKENS(SPM_A));
    unmake(&made);
}

static void assert_refused(const struct draft *draft, bitnet_status status,
                           const char *const *words, size_t n_words)
{
    const uint64_t in_use = bni_alloc_in_use();
    struct made made = make(draft);
    assert_int_equal(made.status, status);
    assert_null(made.tokenizer);
    for (size_t i = 0; i < n_words; i++)
        if (strstr(bitnet_last_error(), words[i]) == NULL)
            fail_msg("\"%s\" does not say \"%s\"", bitnet_last_error(), words[i]);
    unmake(&made);
    assert_int_equal(bni_alloc_in_use(), in_use);
}

#define WORDS(...) \
    (const char *const[]){__VA_ARGS__}, \
        sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)

static void a_wrong_file_is_refused_and_the_place_is_named(void **state)
{
    (void)state;
    const bitnet_status bad = BITNET_ERROR_MODEL_LOAD_FAILED;
    const bitnet_status unsupported = BITNET_ERROR_UNSUPPORTED_OPERATION;
    static char long_text[65538];
    memset(long_text, 'a', sizeof(long_text) - 1);

    struct draft draft = small_bpe();
    draft.model = "bert";
    assert_refused(&draft, unsupported,
                   WORDS("small.gguf", "tokenizer.ggml.model", "\"bert\"", "gpt2"));
    draft = small_bpe();
    draft.pre = "poro-chat\n";
    assert_refused(&draft, unsupported,
                   WORDS("tokenizer.ggml.pre", "poro-chat\\x0a", "llama-bpe",
                         "default"));
    draft = small_bpe();
    draft.n_types = 5;
    assert_refused(&draft, bad, WORDS("token_type", "has 5", "expected 269"));
    draft = small_bpe();
    draft.n_scores = 7;
    assert_refused(&draft, bad, WORDS("scores", "has 7", "expected 269"));
    draft = small_bpe();
    draft.types[3] = 7;
    assert_refused(&draft, bad, WORDS("token_type[3]", "found 7", "0 to 6"));
    draft = small_bpe();
    draft.tokens[XYZ] = long_text;
    assert_refused(&draft, bad, WORDS("tokens[262]", "65537", "65536"));
    draft = small_bpe();
    draft.tokens[EOT] = long_text + 65000;
    assert_refused(&draft, bad, WORDS("tokens[265]", "special", "537", "256"));
    static const char *const bad_merges[] = {"xy", " xy", "xy ", "x y z", "x  y", ""};
    for (size_t i = 0; i < sizeof(bad_merges) / sizeof(*bad_merges); i++) {
        draft = small_bpe();
        draft.merges[4] = bad_merges[i];
        assert_refused(&draft, bad, WORDS("small.gguf", "merges[4]", "one space"));
    }
    draft = small_bpe();
    draft.n_tokens = draft.n_types = draft.n_scores = 0;
    assert_refused(&draft, bad, WORDS("tokens", "has 0"));
    draft = small_spm();
    draft.scores[SPM_AB] = NAN;
    assert_refused(&draft, bad, WORDS("scores[8]", "NaN"));
    draft = small_spm();
    draft.types[SPM_A] = BYTE;
    assert_refused(&draft, bad, WORDS("tokens[6]", "\"a\"", "<0x0A>"));
}

/*
 * The vocabulary's hash of eight bytes, copied: whoever makes a file knows it. More
 * texts than a search goes through share a few of the table's 4096 slots.
 */
static uint64_t mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * UINT64_C(0x9E3779B97F4A7C15);
    return hash ^ hash >> 29;
}

static void texts_made_to_collide_are_refused(void **state)
{
    (void)state;
    enum { N = 1200, N_SLOTS = 4096, N_SHARED = 8 };
    static char texts[N][9];
    const char *tokens[N];
    size_t n_found = 0;
    for (uint64_t i = 0; n_found < N; i++) {
        uint64_t word;
        char *text = texts[n_found];
        for (int k = 0; k < 8; k++) text[k] = (char)('a' + (i >> (4 * k) & 15));
        memcpy(&word, text, sizeof(word));
        if ((mix(mix(mix(8, word), 0), 0) & (N_SLOTS - 1)) >= N_SHARED) continue;
        tokens[n_found++] = text;
    }

    struct made made = {0};
    struct gguf_builder builder;
    size_t n_bytes;
    gguf_begin(&builder);
    gguf_string(&builder, "tokenizer.ggml.model", "gpt2");
    gguf_strings(&builder, "tokenizer.ggml.tokens", tokens, N);
    made.bytes = gguf_end(&builder, &n_bytes);
    assert_int_equal(bni_gguf_open_memory(made.bytes, n_bytes, "flood", &made.gguf),
                     BITNET_OK);
    assert_int_equal(bni_tokenizer_create(made.gguf, string_of("x"), &made.tokenizer),
                     BITNET_ERROR_MODEL_LOAD_FAILED);
    assert_non_null(strstr(bitnet_last_error(), "collide"));
    unmake(&made);
}

static void merges_of_unknown_texts_are_left_out(void **state)
{
    (void)state;
    struct draft draft = small_bpe();
    draft.merges[0] = "zz yy";                         /* neither is a token */
    draft.merges[draft.n_merges++] = "h e";            /* last now */
    draft.merges[draft.n_merges++] = "a a";            /* again: the first counts */
    draft.merges[draft.n_merges++] = "< |";            /* makes no token */
    draft.merges[draft.n_merges++] = "\xE6\x97\xA5 a"; /* not of the alphabet */
    struct made made = make(&draft);
    assert_int_equal(made.status, BITNET_OK);
    assert_encodes(&made, "hello", false, TOKENS(HELLO));
    assert_encodes(&made, "xhello", false,
                   TOKENS('x', HELLO)); /* he, ll, hell, hello */
    assert_encodes(&made, "<|", false, TOKENS('<', '|'));
    unmake(&made);
}

static void of_equal_texts_the_first_is_used(void **state)
{
    (void)state;
    struct draft draft = small_bpe();
    add(&draft, "xyz", NORMAL);
    add(&draft, "", NORMAL); /* exists, is never matched */
    add(&draft, "", USER_DEFINED);
    add(&draft, "a b", NORMAL); /* does not decode: prints, is never matched */
    add(&draft, "<|eot_id|>", USER_DEFINED);
    struct made made = make(&draft);
    assert_int_equal(made.status, BITNET_OK);
    assert_encodes(&made, "xyz", false, TOKENS(XYZ));
    assert_encodes(&made, "<|eot_id|>", true, TOKENS(EOT));
    assert_encodes(&made, "a b", false, TOKENS('a', ' ', 'b'));
    assert_int_equal(bni_tokenizer_bytes(made.tokenizer, THINKING + 4, false).n_bytes,
                     3);
    unmake(&made);
}

static void a_file_changed_anywhere_harms_nothing(void **state)
{
    (void)state;
    const unsigned seed = 7;
    print_message("seed %u\n", seed);
    srand(seed);
    const uint64_t in_use = bni_alloc_in_use();
    for (int round = 0; round < 3000; round++) {
        const struct draft draft = round % 2 == 0 ? small_bpe() : small_spm();
        struct made made = {0};
        size_t n_bytes;
        write_draft(&draft, &made);
        n_bytes = (size_t)bni_gguf_file_bytes(made.gguf);
        bni_gguf_close(made.gguf);
        made.gguf = NULL;
        for (int i = 0; i < 3; i++)
            made.bytes[(size_t)rand() % n_bytes] = (uint8_t)rand();
        if (bni_gguf_open_memory(made.bytes, n_bytes, "fuzz", &made.gguf) ==
            BITNET_OK) {
            bitnet_token *tokens;
            size_t n_tokens;
            const char text[] = "hello <|eot_id|> \xC3\xA9 aba";
            if (bni_tokenizer_create(made.gguf, string_of("x"), &made.tokenizer) ==
                BITNET_OK) {
                assert_int_equal(bni_tokenizer_encode(made.tokenizer, text,
                                                      sizeof(text) - 1, true, true,
                                                      &tokens, &n_tokens),
                                 BITNET_OK);
                size_t n_text;
                bni_free(decode(made.tokenizer, tokens, n_tokens, true, &n_text));
                bni_free(tokens);
            }
        }
        unmake(&made);
    }
    assert_int_equal(bni_alloc_in_use(), in_use);
}

static void a_megabyte_in_one_piece_takes_no_time(void **state)
{
    (void)state;
    enum { N = 1 << 20 };
    char *text = malloc(N);
    assert_non_null(text);
    struct draft drafts[] = {small_bpe(), small_spm()};
    for (int i = 0; i < 2; i++) {
        struct made made = make(&drafts[i]);
        assert_int_equal(made.status, BITNET_OK);
        static const char letters[] = {'a', ' ', 'l', '<'};
        for (size_t k = 0; k < sizeof(letters); k++) {
            bitnet_token *tokens;
            size_t n_tokens;
            memset(text, letters[k], N);
            assert_int_equal(bni_tokenizer_encode(made.tokenizer, text, N, false, true,
                                                  &tokens, &n_tokens),
                             BITNET_OK);
            assert_true(n_tokens >= N / 2 && n_tokens <= N + 2);
            if (i == 0 && letters[k] == 'a') assert_int_equal(n_tokens, N / 2);
            bni_free(tokens);
        }
        unmake(&made);
    }
    free(text);
}

static void every_refused_allocation_is_reported_and_leaks_nothing(void **state)
{
    (void)state;
    static const char text[] = "hello <think> 123 <|eot_id|>";
    struct draft drafts[] = {small_bpe(), small_spm()};
    for (int i = 0; i < 2; i++) {
        struct made made = {0};
        write_draft(&drafts[i], &made);
        const uint64_t in_use = bni_alloc_in_use();
        bitnet_status status = BITNET_ERROR_INTERNAL;
        uint64_t n = 0;
        while (status != BITNET_OK) {
            bitnet_token *tokens = NULL;
            size_t n_tokens;
            made.tokenizer = NULL;
            bni_fault_arm(++n);
            status = bni_tokenizer_create(made.gguf, string_of("x"), &made.tokenizer);
            if (status == BITNET_OK)
                status = bni_tokenizer_encode(made.tokenizer, text, sizeof(text) - 1,
                                              true, true, &tokens, &n_tokens);
            if (status == BITNET_OK)
                bni_free(tokens);
            else
                assert_int_equal(status, BITNET_ERROR_OUT_OF_MEMORY);
            bni_tokenizer_destroy(made.tokenizer);
            assert_int_equal(bni_alloc_in_use(), in_use);
        }
        assert_true(bni_fault_count() < n); /* the last time nothing was refused */
        bni_fault_arm(0);
        assert_true(n > 8);
        made.tokenizer = NULL;
        unmake(&made);
    }
}

static void random_text_comes_back_as_it_was(void **state)
{
    (void)state;
    const unsigned seed = 42;
    print_message("seed %u\n", seed);
    srand(seed);
    struct made made = make_small_bpe();
    for (int round = 0; round < 2000; round++) {
        char text[256];
        size_t n = 0;
        const size_t n_chars = (size_t)rand() % 60;
        for (size_t i = 0; i < n_chars; i++) {
            static const uint32_t limits[] = {0x80, 0x800, 0xD800, 0x110000};
            static const char *const words[] = {"hello", " ", "<think>", "<|eot_id|>",
                                                "ll"};
            const int choice = rand() % 9;
            if (choice > 3) {
                n += (size_t)snprintf(text + n, sizeof(text) - n, "%s",
                                      words[choice - 4]);
                if (n > sizeof(text) - 16) break;
                continue;
            }
            uint32_t c = (uint32_t)rand() % limits[choice];
            if (c >= 0xD800 && c < 0xE000) c = 0x1F642;
            if (c < 0x80)
                text[n++] = (char)c;
            else if (c < 0x800) {
                text[n++] = (char)(0xC0 | c >> 6);
                text[n++] = (char)(0x80 | (c & 0x3F));
            } else if (c < 0x10000) {
                text[n++] = (char)(0xE0 | c >> 12);
                text[n++] = (char)(0x80 | (c >> 6 & 0x3F));
                text[n++] = (char)(0x80 | (c & 0x3F));
            } else {
                text[n++] = (char)(0xF0 | c >> 18);
                text[n++] = (char)(0x80 | (c >> 12 & 0x3F));
                text[n++] = (char)(0x80 | (c >> 6 & 0x3F));
                text[n++] = (char)(0x80 | (c & 0x3F));
            }
            if (n > sizeof(text) - 16) break;
        }
        for (int parse_special = 0; parse_special < 2; parse_special++) {
            bitnet_token *tokens;
            size_t n_tokens;
            size_t n_back;
            assert_int_equal(bni_tokenizer_encode(made.tokenizer, text, n, false,
                                                  parse_special != 0, &tokens,
                                                  &n_tokens),
                             BITNET_OK);
            char *back = decode(made.tokenizer, tokens, n_tokens, true, &n_back);
            assert_int_equal(n_back, n);
            assert_memory_equal(back, text, n);
            bni_free(back);
            bni_free(tokens);
        }
    }
    unmake(&made);
}

enum { N_THREADS = 8, N_ROUNDS = 200 };

struct worker {
    pthread_t thread;
    const struct bni_tokenizer *tokenizer;
    struct latch *start;
    uint64_t hash;
};

/* Encodes the same texts as all the others, from a different one on. */
static void *encode_many(void *user)
{
    struct worker *worker = user;
    latch_meet(worker->start);
    for (int round = 0; round < N_ROUNDS; round++) {
        char text[64];
        bitnet_token *tokens;
        size_t n_tokens;
        const int n = snprintf(text, sizeof(text), "hello %d <think>aaa\xC3\xA9 x%dyz",
                               round, round * 7919);
        if (bni_tokenizer_encode(worker->tokenizer, text, (size_t)n, true, true,
                                 &tokens, &n_tokens) != BITNET_OK)
            return NULL;
        for (size_t i = 0; i < n_tokens; i++)
            worker->hash = worker->hash * 1000003 + (uint64_t)tokens[i];
        bni_free(tokens);
    }
    return NULL;
}

static void many_threads_get_the_same_tokens_at_once(void **state)
{
    (void)state;
    struct draft drafts[] = {small_bpe(), small_spm()};
    for (int i = 0; i < 2; i++) {
        struct made made = make(&drafts[i]);
        struct latch start = LATCH(N_THREADS);
        struct worker workers[N_THREADS];
        assert_int_equal(made.status, BITNET_OK);
        for (int k = 0; k < N_THREADS; k++) {
            workers[k] = (struct worker){.tokenizer = made.tokenizer, .start = &start};
            assert_int_equal(pthread_create(&workers[k].thread, NULL, encode_many,
                                            &workers[k]),
                             0);
        }
        for (int k = 0; k < N_THREADS; k++) pthread_join(workers[k].thread, NULL);

        struct latch alone = LATCH(1);
        struct worker serial = {.tokenizer = made.tokenizer, .start = &alone};
        encode_many(&serial);
        assert_true(serial.hash != 0);
        for (int k = 0; k < N_THREADS; k++) assert_true(workers[k].hash == serial.hash);
        unmake(&made);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_has_its_character),
        cmocka_unit_test(merges_go_by_rank_and_from_the_left),
        cmocka_unit_test(a_whole_piece_that_is_a_token_is_taken_where_the_kind_says_so),
        cmocka_unit_test(control_tokens_are_text_unless_asked_for),
        cmocka_unit_test(user_defined_tokens_are_always_recognised_the_longest_first),
        cmocka_unit_test(a_marker_that_is_typed_as_user_defined_cannot_be_forged),
        cmocka_unit_test(bytes_that_are_no_character_become_the_replacement),
        cmocka_unit_test(the_number_of_tokens_is_bounded_by_the_length),
        cmocka_unit_test(bos_and_eos_go_where_the_file_says),
        cmocka_unit_test(without_a_bos_none_is_added),
        cmocka_unit_test(a_bos_outside_the_vocabulary_is_ignored_with_a_warning),
        cmocka_unit_test(a_missing_pretokenizer_follows_from_the_architecture),
        cmocka_unit_test(spm_joins_the_pair_of_the_highest_score),
        cmocka_unit_test(spm_adds_no_space_if_told_so),
        cmocka_unit_test(a_wrong_file_is_refused_and_the_place_is_named),
        cmocka_unit_test(texts_made_to_collide_are_refused),
        cmocka_unit_test(merges_of_unknown_texts_are_left_out),
        cmocka_unit_test(of_equal_texts_the_first_is_used),
        cmocka_unit_test(a_file_changed_anywhere_harms_nothing),
        cmocka_unit_test(a_megabyte_in_one_piece_takes_no_time),
        cmocka_unit_test(every_refused_allocation_is_reported_and_leaks_nothing),
        cmocka_unit_test(random_text_comes_back_as_it_was),
        cmocka_unit_test(many_threads_get_the_same_tokens_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
