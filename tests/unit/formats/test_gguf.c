/* SPDX-License-Identifier: MIT */
/*
 * test_gguf.c - sound files: what is in them is found, as it was written.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "formats/gguf.h"
#include "support/gguf_builder.h"

/* A file in memory, open. */
struct fixture {
    uint8_t *bytes;
    size_t n_bytes;
    struct bni_gguf *gguf;
};

static struct fixture open_built(struct gguf_builder *builder)
{
    struct fixture fixture;
    fixture.bytes = gguf_end(builder, &fixture.n_bytes);
    const bitnet_status status =
        bni_gguf_open_memory(fixture.bytes, fixture.n_bytes, "built", &fixture.gguf);
    if (status != BITNET_OK) fail_msg("%s", bitnet_last_error());
    return fixture;
}

static void close_built(struct fixture *fixture)
{
    bni_gguf_close(fixture->gguf);
    free(fixture->bytes);
}

/* A whole file, byte for byte: 3 keys, one I2_S tensor of 128 x 2 zeros. */
static uint8_t *worked_example(size_t *n_bytes)
{
    static const uint8_t HEADER[192] = {
        'G', 'G', 'U', 'F', 3,   0,   0,   0,   1,   0,   0,   0,   0,   0,   0,
        0,   3,   0,   0,   0,   0,   0,   0,   0,   20,  0,   0,   0,   0,   0,
        0,   0,   'g', 'e', 'n', 'e', 'r', 'a', 'l', '.', 'a', 'r', 'c', 'h', 'i',
        't', 'e', 'c', 't', 'u', 'r', 'e', 8,   0,   0,   0,   5,   0,   0,   0,
        0,   0,   0,   0,   'l', 'l', 'a', 'm', 'a', 17,  0,   0,   0,   0,   0,
        0,   0,   'g', 'e', 'n', 'e', 'r', 'a', 'l', '.', 'f', 'i', 'l', 'e', '_',
        't', 'y', 'p', 'e', 4,   0,   0,   0,   40,  0,   0,   0,   5,   0,   0,
        0,   0,   0,   0,   0,   't', '.', 'a', 'r', 'r', 9,   0,   0,   0,   5,
        0,   0,   0,   2,   0,   0,   0,   0,   0,   0,   0,   1,   0,   0,   0,
        255, 255, 255, 255, 1,   0,   0,   0,   0,   0,   0,   0,   'w', 2,   0,
        0,   0,   128, 0,   0,   0,   0,   0,   0,   0,   2,   0,   0,   0,   0,
        0,   0,   0,   36,  0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,
    };
    static const uint8_t SCALE[4] = {0x00, 0x00, 0x9C, 0x3F};
    uint8_t *bytes = calloc(1, 288);
    assert_non_null(bytes);
    memcpy(bytes, HEADER, sizeof(HEADER));
    memset(bytes + 192, 0x55, 64);
    memcpy(bytes + 256, SCALE, sizeof(SCALE));
    *n_bytes = 288;
    return bytes;
}

static void the_worked_example_is_read_to_the_byte(void **state)
{
    (void)state;
    size_t n_bytes;
    uint8_t *bytes = worked_example(&n_bytes);
    struct bni_gguf *gguf;
    assert_int_equal(bni_gguf_open_memory(bytes, n_bytes, "example", &gguf), BITNET_OK);
    assert_int_equal(bni_gguf_version(gguf), 3);
    assert_string_equal(bni_gguf_path(gguf), "example");
    assert_int_equal(bni_gguf_file_bytes(gguf), 288);
    assert_int_equal(bni_gguf_n_values(gguf), 3);
    assert_int_equal(bni_gguf_n_tensors(gguf), 1);

    struct bni_string architecture;
    uint64_t file_type;
    const struct bni_gguf_value *array;
    assert_int_equal(bni_gguf_get_string(gguf, "general.architecture", NULL,
                                         &architecture),
                     BITNET_OK);
    assert_int_equal(architecture.n_bytes, 5);
    assert_memory_equal(architecture.bytes, "llama", 5);
    assert_int_equal(bni_gguf_get_u64(gguf, "general.file_type", 0, 100, NULL,
                                      &file_type),
                     BITNET_OK);
    assert_int_equal(file_type, 40);
    assert_int_equal(bni_gguf_get_array(gguf, "t.arr", BNI_GGUF_I32, NULL, &array),
                     BITNET_OK);
    assert_int_equal(array->n_elements, 2);
    assert_int_equal(bni_gguf_i32_at(array, 0), 1);
    assert_int_equal(bni_gguf_i32_at(array, 1), -1);

    const struct bni_gguf_tensor *tensor = bni_gguf_find_tensor(gguf, "w");
    assert_non_null(tensor);
    assert_int_equal(tensor->type, BNI_TENSOR_I2_S);
    assert_string_equal(bni_gguf_tensor_type_name(tensor->type), "I2_S");
    assert_int_equal(tensor->n_dims, 2);
    assert_int_equal(tensor->dims[0], 128);
    assert_int_equal(tensor->dims[1], 2);
    assert_int_equal(tensor->dims[2], 1);
    assert_int_equal(tensor->n_elements, 256);
    assert_int_equal(tensor->n_bytes, 96);
    assert_int_equal(tensor->file_offset, 192);
    assert_ptr_equal(tensor->bytes, bytes + 192);
    bni_gguf_close(gguf);

    for (size_t n = 0; n < n_bytes; n++) { /* in a block of its own, for ASan to see */
        uint8_t *cut = malloc(n + 1);
        assert_non_null(cut);
        uint8_t *copy = realloc(cut, n > 0 ? n : 1);
        memcpy(copy, bytes, n);
        assert_int_equal(bni_gguf_open_memory(copy, n, "cut", &gguf),
                         BITNET_ERROR_MODEL_LOAD_FAILED);
        free(copy);
    }
    free(bytes);
}

static void i2_s_is_packed_as_the_format_says(void **state)
{
    (void)state;
    static const uint8_t EXPECTED[36] = {
        0xA6, 0x50, 0x22, 0x69, 0x58, 0x94, 0x04, 0x04, 0x28, 0x22, 0x46, 0x82,
        0x16, 0x25, 0x85, 0xA0, 0x2A, 0x01, 0x04, 0x21, 0x95, 0x65, 0x85, 0x14,
        0x02, 0x1A, 0x2A, 0x98, 0x52, 0x90, 0x95, 0x86, 0x00, 0x00, 0x9C, 0x3F,
    };
    int8_t values[128];
    uint8_t packed[64];
    uint32_t random = 1;
    for (size_t i = 0; i < 128; i++) {
        random = (random * 1103515245u + 12345u) & 0x7FFFFFFFu;
        values[i] = (int8_t)((int)((random >> 16) % 3) - 1);
    }
    gguf_pack_i2_s(values, 128, 1.21875f, packed);
    assert_memory_equal(packed, EXPECTED, sizeof(EXPECTED));
}

static void integers_of_every_width_are_read(void **state)
{
    (void)state;
    static const struct {
        uint32_t type;
        size_t n_bytes;
        uint64_t bits;
    } CASES[] = {
        {BNI_GGUF_U8, 1, 200},  {BNI_GGUF_U16, 2, 200}, {BNI_GGUF_U32, 4, 200},
        {BNI_GGUF_U64, 8, 200}, {BNI_GGUF_I16, 2, 200}, {BNI_GGUF_I32, 4, 200},
        {BNI_GGUF_I64, 8, 200},
    };
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct gguf_builder builder;
        uint64_t value;
        gguf_begin(&builder);
        gguf_value(&builder, "k", CASES[i].type, &CASES[i].bits, CASES[i].n_bytes);
        struct fixture fixture = open_built(&builder);
        assert_int_equal(bni_gguf_get_u64(fixture.gguf, "k", 200, 200, NULL, &value),
                         BITNET_OK);
        assert_int_equal(value, 200);
        close_built(&fixture);
    }
}

static void negative_integers_are_out_of_range_and_shown_as_they_are(void **state)
{
    (void)state;
    static const struct {
        uint32_t type;
        size_t n_bytes;
        int64_t value;
        const char *shown;
    } CASES[] = {
        {BNI_GGUF_I8, 1, -1, "is -1, expected 0 to 18446744073709551615"},
        {BNI_GGUF_I8, 1, INT8_MIN, "is -128,"},
        {BNI_GGUF_I16, 2, INT16_MIN, "is -32768,"},
        {BNI_GGUF_I32, 4, INT32_MIN, "is -2147483648,"},
        {BNI_GGUF_I64, 8, INT64_MIN, "is -9223372036854775808,"},
    };
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct gguf_builder builder;
        uint64_t value = 42;
        gguf_begin(&builder);
        gguf_value(&builder, "k", CASES[i].type, &CASES[i].value, CASES[i].n_bytes);
        struct fixture fixture = open_built(&builder);
        assert_int_equal(bni_gguf_get_u64(fixture.gguf, "k", 0, UINT64_MAX, NULL,
                                          &value),
                         BITNET_ERROR_MODEL_LOAD_FAILED);
        assert_non_null(strstr(bitnet_last_error(), CASES[i].shown));
        assert_int_equal(value, 42);
        close_built(&fixture);
    }
}

static void a_missing_key_is_an_error_only_if_it_must_be_there(void **state)
{
    (void)state;
    struct gguf_builder builder;
    bool is_found = true;
    uint64_t value = 7;
    gguf_begin(&builder);
    gguf_u32(&builder, "other", 1);
    struct fixture fixture = open_built(&builder);
    assert_int_equal(bni_gguf_get_u64(fixture.gguf, "key", 0, 9, &is_found, &value),
                     BITNET_OK);
    assert_false(is_found);
    assert_int_equal(value, 7);
    assert_int_equal(bni_gguf_get_u64(fixture.gguf, "key", 0, 9, NULL, &value),
                     BITNET_ERROR_MODEL_LOAD_FAILED);
    assert_string_equal(bitnet_last_error(), "built: key key: is missing");
    close_built(&fixture);
}

static void a_value_of_the_wrong_kind_is_an_error_that_says_so(void **state)
{
    (void)state;
    struct gguf_builder builder;
    bool is_found;
    uint64_t integer;
    float number;
    bool truth;
    struct bni_string string;
    const struct bni_gguf_value *array;
    gguf_begin(&builder);
    gguf_f32(&builder, "number", 1.5f);
    gguf_i32s(&builder, "array", (const int32_t[]){1}, 1);
    struct fixture fixture = open_built(&builder);
    const struct bni_gguf *gguf = fixture.gguf;
    assert_int_equal(bni_gguf_get_u64(gguf, "number", 0, 9, &is_found, &integer),
                     BITNET_ERROR_MODEL_LOAD_FAILED);
    assert_string_equal(bitnet_last_error(),
                        "built: key number: is of type f32, expected an integer");
    assert_int_equal(bni_gguf_get_f32(gguf, "array", NULL, &number),
                     BITNET_ERROR_MODEL_LOAD_FAILED);
    assert_string_equal(bitnet_last_error(),
                        "built: key array: is of type array of i32, expected a float");
    assert_int_equal(bni_gguf_get_bool(gguf, "number", NULL, &truth),
                     BITNET_ERROR_MODEL_LOAD_FAILED);
    assert_int_equal(bni_gguf_get_string(gguf, "number", NULL, &string),
                     BITNET_ERROR_MODEL_LOAD_FAILED);
    assert_int_equal(bni_gguf_get_array(gguf, "array", BNI_GGUF_STRING, NULL, &array),
                     BITNET_ERROR_MODEL_LOAD_FAILED);
    assert_string_equal(
        bitnet_last_error(),
        "built: key array: is of type array of i32, expected an array of string");
    close_built(&fixture);
}

static void floats_bools_and_strings_are_read(void **state)
{
    (void)state;
    static const char *const STRINGS[] = {"one", "", "three"};
    struct gguf_builder builder;
    const double wide = 0.25;
    const double huge = 1e300;
    float number;
    bool truth = false;
    const struct bni_gguf_value *array;
    struct bni_string string;
    gguf_begin(&builder);
    gguf_value(&builder, "wide", BNI_GGUF_F64, &wide, sizeof(wide));
    gguf_value(&builder, "huge", BNI_GGUF_F64, &huge, sizeof(huge));
    gguf_f32(&builder, "narrow", NAN);
    gguf_bool(&builder, "yes", true);
    gguf_strings(&builder, "strings", STRINGS, 3);
    struct fixture fixture = open_built(&builder);
    const struct bni_gguf *gguf = fixture.gguf;
    assert_int_equal(bni_gguf_get_f32(gguf, "wide", NULL, &number), BITNET_OK);
    assert_true(number == 0.25f);
    assert_int_equal(bni_gguf_get_f32(gguf, "narrow", NULL, &number), BITNET_OK);
    assert_true(isnan(number));
    assert_int_equal(bni_gguf_get_f32(gguf, "huge", NULL, &number),
                     BITNET_ERROR_MODEL_LOAD_FAILED);
    assert_int_equal(bni_gguf_get_bool(gguf, "yes", NULL, &truth), BITNET_OK);
    assert_true(truth);
    assert_int_equal(bni_gguf_get_array(gguf, "strings", BNI_GGUF_STRING, NULL, &array),
                     BITNET_OK);
    size_t cursor = 0;
    for (size_t i = 0; i < 3; i++) {
        assert_true(bni_gguf_next_string(array, &cursor, &string));
        assert_int_equal(string.n_bytes, strlen(STRINGS[i]));
        assert_memory_equal(string.bytes, STRINGS[i], string.n_bytes);
    }
    assert_false(bni_gguf_next_string(array, &cursor, &string));
    close_built(&fixture);
}

static void every_key_and_tensor_of_many_is_found(void **state)
{
    (void)state;
    enum { N = 2000 };
    struct gguf_builder builder;
    char name[32];
    gguf_begin(&builder);
    for (uint32_t i = 0; i < N; i++) {
        snprintf(name, sizeof(name), "k%u", i * 7919 % N);
        gguf_u32(&builder, name, i);
        gguf_tensor(&builder, name, BNI_TENSOR_F32, 1, (const uint64_t[]){1}, &i, 4);
    }
    struct fixture fixture = open_built(&builder);
    for (uint32_t i = 0; i < N; i++) {
        snprintf(name, sizeof(name), "k%u", i * 7919 % N);
        assert_ptr_equal(bni_gguf_find(fixture.gguf, name),
                         bni_gguf_value_at(fixture.gguf, i));
        assert_ptr_equal(bni_gguf_find_tensor(fixture.gguf, name),
                         bni_gguf_tensor_at(fixture.gguf, i));
        assert_memory_equal(bni_gguf_tensor_at(fixture.gguf, i)->bytes, &i, 4);
    }
    assert_null(bni_gguf_find(fixture.gguf, "k2000"));
    assert_null(bni_gguf_find_tensor(fixture.gguf, ""));
    close_built(&fixture);
}

static void order_gaps_and_trailing_bytes_are_free(void **state)
{
    (void)state;
    struct gguf_builder builder;
    const uint64_t dims[1] = {8};
    gguf_begin(&builder);
    gguf_record(&builder, "second", 1, dims, BNI_TENSOR_F32, 128);
    gguf_record(&builder, "first", 1, dims, BNI_TENSOR_F32, 0);
    gguf_data(&builder, NULL, 128 + 32 + 5);
    struct fixture fixture = open_built(&builder);
    const struct bni_gguf_tensor *first = bni_gguf_find_tensor(fixture.gguf, "first");
    const struct bni_gguf_tensor *second = bni_gguf_find_tensor(fixture.gguf, "second");
    assert_int_equal(second->file_offset - first->file_offset, 128);
    close_built(&fixture);
}

static void version_2_and_other_alignments_are_read(void **state)
{
    (void)state;
    static const uint32_t ALIGNMENTS[] = {8, 16, 64, 4096};
    for (size_t i = 0; i < 4; i++) {
        struct gguf_builder builder;
        gguf_begin(&builder);
        builder.version = 2;
        builder.alignment = ALIGNMENTS[i];
        gguf_u32(&builder, "general.alignment", ALIGNMENTS[i]);
        gguf_tensor(&builder, "a", BNI_TENSOR_F16, 1, (const uint64_t[]){3}, NULL, 6);
        gguf_tensor(&builder, "b", BNI_TENSOR_F32, 1, (const uint64_t[]){1}, NULL, 4);
        struct fixture fixture = open_built(&builder);
        assert_int_equal(bni_gguf_find_tensor(fixture.gguf, "b")->file_offset %
                             ALIGNMENTS[i],
                         0);
        close_built(&fixture);
    }
}

static void a_file_on_disk_is_read_like_one_in_memory(void **state)
{
    (void)state;
    char path[] = "bitnet-test-XXXXXX";
    const int descriptor = mkstemp(path);
    assert_true(descriptor >= 0);
    close(descriptor);
    size_t n_bytes;
    uint8_t *bytes = worked_example(&n_bytes);
    assert_true(gguf_write_file(path, bytes, n_bytes));
    struct bni_gguf *gguf;
    assert_int_equal(bni_gguf_open(path, &gguf), BITNET_OK);
    assert_string_equal(bni_gguf_path(gguf), path);
    assert_memory_equal(bni_gguf_find_tensor(gguf, "w")->bytes, bytes + 192, 96);
    bni_gguf_close(gguf);
    bni_gguf_close(NULL);
    free(bytes);

    /* Whatever the system refuses, nothing is left behind. */
    const uint64_t before = bni_alloc_in_use();
    for (uint64_t n = 1;; n++) {
        bni_fault_arm(n);
        const bitnet_status status = bni_gguf_open(path, &gguf);
        const bool is_done = bni_fault_count() < n;
        bni_fault_arm(0);
        if (is_done) {
            assert_int_equal(status, BITNET_OK);
            bni_gguf_close(gguf);
            assert_true(n > 5);
            break;
        }
        assert_int_not_equal(status, BITNET_OK);
        assert_int_equal(bni_alloc_in_use(), before);
    }
    remove(path);
}

static void memory_taken_is_a_small_multiple_of_the_file(void **state)
{
    (void)state;
    struct gguf_builder builder;
    char name[32];
    gguf_begin(&builder);
    for (uint32_t i = 0; i < 5000; i++) { /* the smallest records there are */
        const uint8_t byte = 0;
        snprintf(name, sizeof(name), "%x", i);
        gguf_value(&builder, name, BNI_GGUF_U8, &byte, 1);
        gguf_record(&builder, name, 1, (const uint64_t[]){1}, BNI_TENSOR_F16, 32 * i);
    }
    gguf_data(&builder, NULL, 32 * 5000);
    const int64_t before = bni_alloc_thread_balance();
    struct fixture fixture = open_built(&builder);
    const int64_t n_taken = bni_alloc_thread_balance() - before;
    assert_true((uint64_t)n_taken < 8 * fixture.n_bytes);
    const int64_t n_told = (int64_t)bni_gguf_allocated_bytes(fixture.gguf);
    assert_in_range(n_taken - n_told, 0, 4096); /* headers and rounding */
    close_built(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_worked_example_is_read_to_the_byte),
        cmocka_unit_test(i2_s_is_packed_as_the_format_says),
        cmocka_unit_test(integers_of_every_width_are_read),
        cmocka_unit_test(negative_integers_are_out_of_range_and_shown_as_they_are),
        cmocka_unit_test(a_missing_key_is_an_error_only_if_it_must_be_there),
        cmocka_unit_test(a_value_of_the_wrong_kind_is_an_error_that_says_so),
        cmocka_unit_test(floats_bools_and_strings_are_read),
        cmocka_unit_test(every_key_and_tensor_of_many_is_found),
        cmocka_unit_test(order_gaps_and_trailing_bytes_are_free),
        cmocka_unit_test(version_2_and_other_alignments_are_read),
        cmocka_unit_test(a_file_on_disk_is_read_like_one_in_memory),
        cmocka_unit_test(memory_taken_is_a_small_multiple_of_the_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
