/* SPDX-License-Identifier: MIT */
/*
 * test_detokenizer.c - text comes out in whole characters, as early as it can.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "support/gguf_builder.h"
#include "support/tokenizers.h"

enum { NORMAL = 1, UNKNOWN = 2, CONTROL = 3, USER_DEFINED = 4, UNUSED = 5, BYTE = 6 };

struct made {
    uint8_t *bytes;
    struct opened opened;
};

/* An SPM vocabulary, whose byte tokens make any bytes possible. */
enum {
    UNK,
    BOS,
    F0,
    X9F,
    X99,
    X82,
    XFF,
    XC3,
    XA9,
    BLOCK_HI,
    HI,
    USER_BLOCK,
    UNUSED_TOKEN,
    N_SPM_TOKENS,
};

static struct made make_spm(void)
{
    static const char *const tokens[N_SPM_TOKENS] = {
        "<unk>",  "<s>",
        "<0xF0>", "<0x9F>",
        "<0x99>", "<0x82>",
        "<0xFF>", "<0xC3>",
        "<0xA9>", "\xE2\x96\x81hi\xE2\x96\x81",
        "hi",     "[\xE2\x96\x81]",
        "pad",
    };
    static const int32_t types[N_SPM_TOKENS] = {
        UNKNOWN, CONTROL, BYTE,   BYTE,   BYTE,         BYTE,   BYTE,
        BYTE,    BYTE,    NORMAL, NORMAL, USER_DEFINED, UNUSED,
    };
    struct made made;
    struct gguf_builder builder;
    struct {
        uint32_t type;
        uint32_t n_low;
        uint32_t n_high;
        float scores[N_SPM_TOKENS];
    } payload = {.type = 6, .n_low = N_SPM_TOKENS};
    size_t n_bytes;
    gguf_begin(&builder);
    gguf_string(&builder, "tokenizer.ggml.model", "llama");
    gguf_strings(&builder, "tokenizer.ggml.tokens", tokens, N_SPM_TOKENS);
    gguf_i32s(&builder, "tokenizer.ggml.token_type", types, N_SPM_TOKENS);
    gguf_value(&builder, "tokenizer.ggml.scores", 9, &payload, sizeof(payload));
    made.bytes = gguf_end(&builder, &n_bytes);
    assert_int_equal(bni_gguf_open_memory(made.bytes, n_bytes, "spm",
                                          &made.opened.gguf),
                     BITNET_OK);
    if (bni_tokenizer_create(made.opened.gguf, string_of("llama"),
                             &made.opened.tokenizer) != BITNET_OK)
        fail_msg("%s", bitnet_last_error());
    return made;
}

static void unmake(struct made *made)
{
    close_opened(&made->opened);
    free(made->bytes);
}

/* What one push gives. */
static void assert_push(struct bni_detokenizer *detokenizer, bitnet_token token,
                        const char *expected)
{
    char out[64];
    const size_t n = bni_detokenizer_push(detokenizer, token, out);
    assert_true(n <= bni_detokenizer_max_piece_bytes(detokenizer->tokenizer));
    assert_int_equal(n, strlen(expected));
    assert_memory_equal(out, expected, n);
}

static void assert_flush(struct bni_detokenizer *detokenizer, const char *expected)
{
    char out[64];
    const size_t n = bni_detokenizer_flush(detokenizer, out);
    assert_int_equal(n, strlen(expected));
    assert_memory_equal(out, expected, n);
}

static struct bni_detokenizer begin(const struct made *made, bool show_special,
                                    bool continues_text)
{
    struct bni_detokenizer detokenizer;
    bni_detokenizer_init(&detokenizer, made->opened.tokenizer, show_special,
                         continues_text);
    return detokenizer;
}

static void a_character_comes_when_its_last_byte_does(void **state)
{
    (void)state;
    struct made made = make_spm();
    struct bni_detokenizer detokenizer = begin(&made, false, true);
    assert_push(&detokenizer, F0, "");
    assert_push(&detokenizer, X9F, "");
    assert_push(&detokenizer, X99, "");
    assert_push(&detokenizer, X82, "\xF0\x9F\x99\x82");
    assert_push(&detokenizer, XC3, "");
    assert_push(&detokenizer, XA9, "\xC3\xA9");
    assert_flush(&detokenizer, "");
    unmake(&made);
}

static void a_bad_byte_is_replaced_at_once(void **state)
{
    (void)state;
    struct made made = make_spm();
    struct bni_detokenizer detokenizer = begin(&made, false, true);
    assert_push(&detokenizer, XFF, "\xEF\xBF\xBD");
    assert_push(&detokenizer, X9F, "\xEF\xBF\xBD");
    assert_push(&detokenizer, F0, "");
    assert_push(&detokenizer, X9F, "");
    /* The unfinished character is one bad part, the new byte may begin another. */
    assert_push(&detokenizer, XC3, "\xEF\xBF\xBD");
    assert_push(&detokenizer, HI, "\xEF\xBF\xBDhi");
    unmake(&made);
}

static void what_is_unfinished_at_the_end_is_replaced(void **state)
{
    (void)state;
    struct made made = make_spm();
    struct bni_detokenizer detokenizer = begin(&made, false, true);
    assert_push(&detokenizer, F0, "");
    assert_push(&detokenizer, X9F, "");
    assert_push(&detokenizer, X99, "");
    assert_flush(&detokenizer, "\xEF\xBF\xBD");
    assert_flush(&detokenizer, "");
    unmake(&made);
}

static void one_leading_space_goes_only_where_a_text_begins(void **state)
{
    (void)state;
    struct made made = make_spm();
    struct bni_detokenizer detokenizer = begin(&made, false, false);
    assert_push(&detokenizer, BOS, ""); /* prints nothing: the text has not begun */
    assert_push(&detokenizer, BLOCK_HI, "hi ");
    assert_push(&detokenizer, BLOCK_HI, " hi ");
    detokenizer = begin(&made, false, true);
    assert_push(&detokenizer, BLOCK_HI, " hi ");
    detokenizer = begin(&made, false, false);
    assert_push(&detokenizer, HI, "hi");
    assert_push(&detokenizer, BLOCK_HI, " hi ");
    unmake(&made);
}

static void special_tokens_print_only_if_asked_for(void **state)
{
    (void)state;
    struct made made = make_spm();
    struct bni_detokenizer detokenizer = begin(&made, false, false);
    assert_push(&detokenizer, BOS, "");
    assert_push(&detokenizer, UNK, "");
    assert_push(&detokenizer, UNUSED_TOKEN, "");
    assert_push(&detokenizer, USER_BLOCK, "[\xE2\x96\x81]"); /* verbatim */
    detokenizer = begin(&made, true, false);
    assert_push(&detokenizer, BOS, "<s>");
    assert_push(&detokenizer, UNK, "<unk>");
    assert_push(&detokenizer, UNUSED_TOKEN, "pad");
    unmake(&made);
}

/* Random bytes through the stream are what repairing them at once gives. */
static void a_stream_of_bytes_equals_their_repair(void **state)
{
    (void)state;
    const unsigned seed = 99;
    print_message("seed %u\n", seed);
    srand(seed);
    struct made made = make_spm();
    for (int round = 0; round < 5000; round++) {
        static const bitnet_token choices[] = {F0, X9F, X99, X82, XFF, XC3, XA9, HI};
        static const char *const bytes[] = {"\xF0", "\x9F", "\x99", "\x82",
                                            "\xFF", "\xC3", "\xA9", "hi"};
        uint8_t joined[64];
        uint8_t expected[3 * sizeof(joined)];
        char out[1024];
        size_t n_joined = 0;
        size_t n_out = 0;
        struct bni_detokenizer detokenizer = begin(&made, false, true);
        for (int i = 0; i < 16; i++) {
            const size_t choice = (size_t)rand() % 8;
            memcpy(joined + n_joined, bytes[choice], strlen(bytes[choice]));
            n_joined += strlen(bytes[choice]);
            n_out += bni_detokenizer_push(&detokenizer, choices[choice], out + n_out);
            assert_int_equal(bni_utf8_whole_prefix((const uint8_t *)out, n_out), n_out);
        }
        n_out += bni_detokenizer_flush(&detokenizer, out + n_out);
        const size_t n_expected = bni_utf8_repair(joined, n_joined, expected);
        assert_int_equal(n_out, n_expected);
        assert_memory_equal(out, expected, n_expected);
    }
    unmake(&made);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_character_comes_when_its_last_byte_does),
        cmocka_unit_test(a_bad_byte_is_replaced_at_once),
        cmocka_unit_test(what_is_unfinished_at_the_end_is_replaced),
        cmocka_unit_test(one_leading_space_goes_only_where_a_text_begins),
        cmocka_unit_test(special_tokens_print_only_if_asked_for),
        cmocka_unit_test(a_stream_of_bytes_equals_their_repair),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
