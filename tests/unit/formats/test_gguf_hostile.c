/* SPDX-License-Identifier: MIT */
/*
 * test_gguf_hostile.c - files that are wrong: refused, with a sentence that says where.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "formats/gguf.h"
#include "support/gguf_builder.h"

/* Opens the bytes, and checks the status, the sentence and that nothing is left. */
static void assert_bytes_refused(const uint8_t *bytes, size_t n_bytes,
                                 bitnet_status status, const char *sentence)
{
    struct bni_gguf *gguf = NULL;
    const uint64_t before = bni_alloc_in_use();
    const bitnet_status found = bni_gguf_open_memory(bytes, n_bytes, "bad", &gguf);
    if (found != status || strstr(bitnet_last_error(), sentence) == NULL)
        fail_msg("%s \"%s\", expected %s \"%s\"", bitnet_status_name(found),
                 bitnet_last_error(), bitnet_status_name(status), sentence);
    assert_int_equal(bni_alloc_in_use(), before);
}

static void assert_refused(struct gguf_builder *builder, bitnet_status status,
                           const char *sentence)
{
    size_t n_bytes;
    uint8_t *bytes = gguf_end(builder, &n_bytes);
    assert_bytes_refused(bytes, n_bytes, status, sentence);
    free(bytes);
}

static void assert_broken(struct gguf_builder *builder, const char *sentence)
{
    assert_refused(builder, BITNET_ERROR_MODEL_LOAD_FAILED, sentence);
}

static void what_is_no_gguf_file_is_refused(void **state)
{
    (void)state;
    uint8_t bytes[32] __attribute__((aligned(8))) = "GGUF";
    assert_bytes_refused(bytes, 0, BITNET_ERROR_MODEL_LOAD_FAILED,
                         "bad: not a GGUF file: it has 0 bytes");
    assert_bytes_refused(bytes, 23, BITNET_ERROR_MODEL_LOAD_FAILED, "it has 23 bytes");
    bytes[4] = 1;
    assert_bytes_refused(bytes, 32, BITNET_ERROR_MODEL_LOAD_FAILED,
                         "GGUF version 1, expected 2 or 3");
    bytes[4] = 4;
    assert_bytes_refused(bytes, 32, BITNET_ERROR_MODEL_LOAD_FAILED, "GGUF version 4");
    bytes[4] = 0;
    assert_bytes_refused(bytes, 32, BITNET_ERROR_MODEL_LOAD_FAILED, "GGUF version 0");
    bytes[7] = 3;
    assert_bytes_refused(bytes, 32, BITNET_ERROR_UNSUPPORTED_OPERATION, "big-endian");
    memcpy(bytes, "GGML", 4);
    assert_bytes_refused(bytes, 32, BITNET_ERROR_MODEL_LOAD_FAILED,
                         "begins with the bytes 47 47 4d 4c");
    assert_bytes_refused(bytes + 1, 31, BITNET_ERROR_INVALID_ARGUMENT, "multiple of 8");
}

static void counts_that_the_file_cannot_hold_are_refused(void **state)
{
    (void)state;
    static const uint64_t COUNTS[] = {
        2, 65537, UINT64_C(1) << 32, UINT64_C(1) << 61, UINT64_C(1) << 63, UINT64_MAX};
    uint8_t bytes[48] __attribute__((aligned(8))) = "GGUF\3";
    for (size_t i = 0; i < sizeof(COUNTS) / sizeof(COUNTS[0]); i++) {
        memset(bytes + 8, 0, 16);
        memcpy(bytes + 16, &COUNTS[i], 8);
        assert_bytes_refused(bytes, sizeof(bytes), BITNET_ERROR_MODEL_LOAD_FAILED,
                             "metadata keys; the limit is 65536, and the 24 bytes that "
                             "follow hold at most 1");
        memset(bytes + 8, 0, 16);
        memcpy(bytes + 8, &COUNTS[i], 8);
        assert_bytes_refused(bytes, sizeof(bytes), BITNET_ERROR_MODEL_LOAD_FAILED,
                             "tensors; the limit is 65536");
    }
}

static void strings_longer_than_the_file_are_refused(void **state)
{
    (void)state;
    static const uint64_t LENGTHS[] = {9,
                                       0x7FFFFFFF,
                                       0xFFFFFFFF,
                                       UINT64_C(1) << 61,
                                       UINT64_C(1) << 63,
                                       UINT64_MAX - 7,
                                       UINT64_MAX};
    for (size_t i = 0; i < sizeof(LENGTHS) / sizeof(LENGTHS[0]); i++) {
        struct gguf_builder builder;
        uint64_t payload[2] = {LENGTHS[i], 0};
        gguf_begin(&builder);
        gguf_value(&builder, "general.name", BNI_GGUF_STRING, payload, sizeof(payload));
        assert_broken(&builder, "bad: key general.name: a string at byte");

        struct {
            uint32_t type;
            uint32_t count[2];
            uint32_t length[2];
        } array = {BNI_GGUF_STRING,
                   {1, 0},
                   {(uint32_t)LENGTHS[i], (uint32_t)(LENGTHS[i] >> 32)}};
        gguf_begin(&builder);
        gguf_value(&builder, "a", BNI_GGUF_ARRAY, &array, sizeof(array));
        assert_broken(&builder, "bad: key a: a string at byte");
    }
}

static void arrays_longer_than_the_file_are_refused(void **state)
{
    (void)state;
    static const uint64_t COUNTS[] = {3, 0x80000000, (UINT64_C(1) << 61) + 1,
                                      UINT64_C(1) << 63, UINT64_MAX};
    for (size_t i = 0; i < sizeof(COUNTS) / sizeof(COUNTS[0]); i++) {
        struct gguf_builder builder;
        uint8_t payload[12 + 16] = {BNI_GGUF_U64};
        memcpy(payload + 4, &COUNTS[i], 8);
        gguf_begin(&builder);
        gguf_value(&builder, "a", BNI_GGUF_ARRAY, payload, sizeof(payload));
        assert_broken(&builder, "bad: key a: an array of");
    }
}

static void types_that_do_not_exist_are_refused(void **state)
{
    (void)state;
    struct gguf_builder builder;
    const uint8_t payload[32] = {0};
    gguf_begin(&builder);
    gguf_value(&builder, "k", 13, payload, 8);
    assert_broken(&builder, "bad: key k: unknown value type 13, expected 0 to 12");

    uint8_t array[20] = {13};
    gguf_begin(&builder);
    gguf_value(&builder, "k", BNI_GGUF_ARRAY, array, sizeof(array));
    assert_broken(&builder, "bad: key k: an array of unknown type 13");
    array[0] = BNI_GGUF_ARRAY;
    gguf_begin(&builder);
    gguf_value(&builder, "k", BNI_GGUF_ARRAY, array, sizeof(array));
    assert_broken(&builder, "bad: key k: an array of arrays");
}

static void bools_other_than_0_and_1_are_refused(void **state)
{
    (void)state;
    struct gguf_builder builder;
    const uint8_t two = 2;
    gguf_begin(&builder);
    gguf_value(&builder, "k", BNI_GGUF_BOOL, &two, 1);
    assert_broken(&builder, "bad: key k: a bool is 2, expected 0 or 1");
}

static void names_that_deceive_are_refused(void **state)
{
    (void)state;
    struct gguf_builder builder;
    char name[65];
    gguf_begin(&builder);
    gguf_u32(&builder, "", 1);
    assert_broken(&builder, "bad: key  has 0 bytes, expected 1 to 65535");
    gguf_begin(&builder);
    gguf_u32(&builder, "twice\xFF", 1);
    gguf_u32(&builder, "other", 1);
    gguf_u32(&builder, "twice\xFF", 2);
    assert_broken(&builder, "bad: key twice\\xff is there twice");

    memset(name, 'n', 64);
    name[64] = '\0';
    gguf_begin(&builder);
    gguf_tensor(&builder, name, 0, 1, (const uint64_t[]){1}, NULL, 4);
    assert_broken(&builder, "has 64 bytes, expected 1 to 63");
    gguf_begin(&builder);
    gguf_tensor(&builder, "t", 0, 1, (const uint64_t[]){1}, NULL, 4);
    gguf_tensor(&builder, "t", 0, 1, (const uint64_t[]){1}, NULL, 4);
    assert_broken(&builder, "bad: tensor t is there twice");

    size_t n_bytes;
    gguf_begin(&builder);
    gguf_u32(&builder, "a0b", 1);
    uint8_t *bytes = gguf_end(&builder, &n_bytes);
    bytes[24 + 8 + 1] = '\0';
    assert_bytes_refused(bytes, n_bytes, BITNET_ERROR_MODEL_LOAD_FAILED,
                         "bad: key a\\x00b contains a NUL byte");
    free(bytes);
}

static void dimensions_that_cannot_be_are_refused(void **state)
{
    (void)state;
    const uint64_t BIG = UINT64_C(1) << 32;
    const struct {
        uint32_t n_dims;
        uint64_t dims[4];
        const char *sentence;
    } cases[] = {
        {0, {0}, "bad: tensor t: 0 dimensions, expected 1 to 4"},
        {1, {0}, "bad: tensor t: dimension 0 is 0, expected 1 to 1099511627776"},
        {2, {8, UINT64_MAX - 7}, "bad: tensor t: dimension 1 is 18446744073709551608"},
        {1, {(UINT64_C(1) << 40) + 1}, "bad: tensor t: dimension 0 is"},
        {2, {BIG, BIG}, "bad: tensor t: more than 4611686018427387904 elements"},
        {3, {BIG, BIG, 4}, "bad: tensor t: more than"},
        {4, {BIG / 2, BIG / 2, 2, 2}, "bad: tensor t: more than"},
        {2, {BIG / 2, BIG / 2}, "bad: tensor t: the size of its 4611686018427387904"},
        {2, {BIG / 2, BIG / 2 - 1}, "bad: tensor t: ends at byte 18446744065119617"},
        {2, {BIG, 1}, "bad: tensor t: ends at byte"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct gguf_builder builder;
        gguf_begin(&builder);
        gguf_record(&builder, "t", cases[i].n_dims, cases[i].dims, 0, 0);
        gguf_data(&builder, NULL, 64);
        assert_broken(&builder, cases[i].sentence);
    }
    struct gguf_builder builder;
    gguf_begin(&builder);
    gguf_record(&builder, "t", 5, (const uint64_t[]){1, 1, 1, 1, 1}, 0, 0);
    assert_broken(&builder, "bad: tensor t: 5 dimensions");
}

static void data_outside_the_file_is_refused(void **state)
{
    (void)state;
    static const struct {
        uint64_t offset;
        const char *sentence;
    } CASES[] = {
        {4, "bad: tensor t: offset 4 is not a multiple of the alignment, 32"},
        {32, "bad: tensor t: ends at byte"},
        {64, "bad: tensor t: begins 64 bytes into the data, which has 32"},
        {UINT64_MAX - 31, "bad: tensor t: begins 18446744073709551584 bytes into"},
        {UINT64_C(1) << 63, "bad: tensor t: begins"},
    };
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct gguf_builder builder;
        gguf_begin(&builder);
        gguf_record(&builder, "t", 1, (const uint64_t[]){8}, 0, CASES[i].offset);
        gguf_data(&builder, NULL, 32);
        assert_broken(&builder, CASES[i].sentence);
    }

    struct gguf_builder builder;
    gguf_begin(&builder); /* all but the 32 bytes of the scale */
    gguf_tensor(&builder, "w", BNI_TENSOR_I2_S, 2, (const uint64_t[]){128, 2}, NULL,
                64);
    assert_broken(&builder, "bad: tensor w: ends at byte 192, past the file's 160");
}

static void overlapping_tensors_are_refused(void **state)
{
    (void)state;
    struct gguf_builder builder;
    gguf_begin(&builder);
    gguf_record(&builder, "a", 1, (const uint64_t[]){8}, 0, 32);
    gguf_record(&builder, "b", 1, (const uint64_t[]){9}, 0, 0);
    gguf_data(&builder, NULL, 96);
    assert_broken(&builder,
                  "bad: tensor b: ends at byte 132, but tensor a begins at byte "
                  "128");
    gguf_begin(&builder);
    gguf_record(&builder, "a", 1, (const uint64_t[]){1}, 0, 0);
    gguf_record(&builder, "b", 1, (const uint64_t[]){1}, 0, 0);
    gguf_data(&builder, NULL, 32);
    assert_broken(&builder, "but tensor");
}

static void alignments_that_are_none_are_refused(void **state)
{
    (void)state;
    static const uint32_t ALIGNMENTS[] = {0, 1, 4, 12, 24, 131072, 0x80000000};
    for (size_t i = 0; i < sizeof(ALIGNMENTS) / sizeof(ALIGNMENTS[0]); i++) {
        struct gguf_builder builder;
        gguf_begin(&builder);
        gguf_u32(&builder, "general.alignment", ALIGNMENTS[i]);
        assert_broken(&builder, "bad: key general.alignment: is");
    }
    struct gguf_builder builder;
    gguf_begin(&builder);
    gguf_value(&builder, "general.alignment", BNI_GGUF_U64, (const uint64_t[]){32}, 8);
    assert_broken(&builder, "bad: key general.alignment: is of type u64, expected u32");
}

static void types_that_are_known_but_not_read_are_named(void **state)
{
    (void)state;
    static const struct {
        uint32_t type;
        size_t n_bytes;
        const char *sentence;
    } CASES[] = {
        {2, 144,
         "bad: tensor t: is of type 2 (Q4_0), expected F32, F16, BF16, Q8_0, Q6_K or "
         "I2_S"},
        {9, 288, "is of type 9 (Q8_1)"},
        {12, 144, "is of type 12 (Q4_K)"},
        {34, 54,
         "is of type 34 (TQ1_0), expected F32, F16, BF16, Q8_0, Q6_K or I2_S; export "
         "the model "
         "again as I2_S"},
        {35, 66, "is of type 35 (TQ2_0)"},
        {38, 0,
         "(TL1), expected F32, F16, BF16, Q8_0, Q6_K or I2_S; its layout depends on"},
        {39, 0, "(TL2 or MXFP4)"},
        {134, 54,
         "(IQ1_BN), expected F32, F16, BF16, Q8_0, Q6_K or I2_S; it is ik_llama.cpp's"},
        {135, 68, "(IQ2_BN)"},
        {335, 68, "(IQ2_BN_R4)"},
    };
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct gguf_builder builder;
        gguf_begin(&builder);
        gguf_tensor(&builder, "t", CASES[i].type, 1, (const uint64_t[]){256}, NULL,
                    CASES[i].n_bytes);
        assert_refused(&builder, BITNET_ERROR_UNSUPPORTED_OPERATION, CASES[i].sentence);
        if (CASES[i].n_bytes == 0) continue; /* its size is unknown */
        gguf_begin(&builder);
        gguf_tensor(&builder, "t", CASES[i].type, 1, (const uint64_t[]){256}, NULL,
                    CASES[i].n_bytes - 1);
        assert_broken(&builder, "bad: tensor t: ends at byte");
    }
}

static void types_that_are_unknown_or_withdrawn_are_refused(void **state)
{
    (void)state;
    static const uint32_t TYPES[] = {4,  5,          31,         33,        43,
                                     99, 0x7FFFFFFF, 0x80000000, UINT32_MAX};
    struct gguf_builder builder;
    char sentence[64];
    for (size_t i = 0; i < sizeof(TYPES) / sizeof(TYPES[0]); i++) {
        snprintf(sentence, sizeof(sentence), "bad: tensor t: unknown type %u",
                 TYPES[i]);
        gguf_begin(&builder);
        gguf_tensor(&builder, "t", TYPES[i], 1, (const uint64_t[]){256}, NULL, 1024);
        assert_broken(&builder, sentence);
    }
    gguf_begin(&builder);
    gguf_tensor(&builder, "t", 200, 1, (const uint64_t[]){256}, NULL, 1024);
    assert_broken(&builder, "unknown type 200; numbers like it are ik_llama.cpp's");
}

static void rows_that_are_no_whole_blocks_are_refused(void **state)
{
    (void)state;
    struct gguf_builder builder;
    gguf_begin(&builder);
    gguf_tensor(&builder, "t", 35, 1, (const uint64_t[]){128}, NULL, 66);
    assert_broken(&builder,
                  "bad: tensor t: rows of 128 elements, expected a multiple of "
                  "TQ2_0's 256");
    gguf_begin(&builder);
    gguf_tensor(&builder, "t", BNI_TENSOR_Q6_K, 1, (const uint64_t[]){3200}, NULL,
                13 * 210);
    assert_broken(&builder,
                  "bad: tensor t: rows of 3200 elements, expected a multiple of "
                  "Q6_K's 256");
    gguf_begin(&builder);
    gguf_tensor(&builder, "t", BNI_TENSOR_I2_S, 2, (const uint64_t[]){100, 1}, NULL,
                64);
    assert_broken(&builder,
                  "bad: tensor t: 100 elements, expected a multiple of I2_S's 128");
}

static void the_pre_release_i2_format_is_recognised(void **state)
{
    (void)state;
    struct gguf_builder builder;
    gguf_begin(&builder);
    gguf_tensor(&builder, "a", BNI_TENSOR_BF16, 2, (const uint64_t[]){128, 4}, NULL,
                160);
    gguf_tensor(&builder, "b", BNI_TENSOR_BF16, 2, (const uint64_t[]){128, 4}, NULL,
                128);
    assert_refused(&builder, BITNET_ERROR_UNSUPPORTED_OPERATION,
                   "seems to be in the pre-release I2 format");
}

static void every_changed_bit_is_survived(void **state)
{
    (void)state;
    struct gguf_builder builder;
    size_t n_bytes;
    unsigned n_good = 0;
    gguf_begin(&builder);
    gguf_string(&builder, "general.architecture", "bitnet");
    gguf_strings(&builder, "strings", (const char *const[]){"a", "", "bc"}, 3);
    gguf_bool(&builder, "yes", true);
    gguf_u32(&builder, "general.alignment", 32);
    gguf_tensor(&builder, "a", BNI_TENSOR_F32, 1, (const uint64_t[]){5}, NULL, 20);
    gguf_tensor(&builder, "b", BNI_TENSOR_I2_S, 2, (const uint64_t[]){128, 2}, NULL,
                96);
    uint8_t *bytes = gguf_end(&builder, &n_bytes);
    for (size_t bit = 0; bit < 8 * n_bytes; bit++) {
        struct bni_gguf *gguf;
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        const bitnet_status status = bni_gguf_open_memory(bytes, n_bytes, "bad", &gguf);
        if (status == BITNET_OK) {
            uint64_t sum = 0;
            for (size_t i = 0; i < bni_gguf_n_tensors(gguf); i++) {
                const struct bni_gguf_tensor *tensor = bni_gguf_tensor_at(gguf, i);
                for (size_t j = 0; j < tensor->n_bytes; j++) sum += tensor->bytes[j];
            }
            n_good += sum <= 255; /* at most the bit that was changed */
            bni_gguf_close(gguf);
        }
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_true(n_good > 0);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_no_gguf_file_is_refused),
        cmocka_unit_test(counts_that_the_file_cannot_hold_are_refused),
        cmocka_unit_test(strings_longer_than_the_file_are_refused),
        cmocka_unit_test(arrays_longer_than_the_file_are_refused),
        cmocka_unit_test(types_that_do_not_exist_are_refused),
        cmocka_unit_test(bools_other_than_0_and_1_are_refused),
        cmocka_unit_test(names_that_deceive_are_refused),
        cmocka_unit_test(dimensions_that_cannot_be_are_refused),
        cmocka_unit_test(data_outside_the_file_is_refused),
        cmocka_unit_test(overlapping_tensors_are_refused),
        cmocka_unit_test(alignments_that_are_none_are_refused),
        cmocka_unit_test(types_that_are_known_but_not_read_are_named),
        cmocka_unit_test(types_that_are_unknown_or_withdrawn_are_refused),
        cmocka_unit_test(rows_that_are_no_whole_blocks_are_refused),
        cmocka_unit_test(the_pre_release_i2_format_is_recognised),
        cmocka_unit_test(every_changed_bit_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
