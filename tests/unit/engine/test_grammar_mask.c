/* SPDX-License-Identifier: MIT */
/*
 * Grammars over a vocabulary: which tokens are allowed, by every way of finding out,
 * and what requests with a grammar generate. JSON schemas, and the shipped model, which
 * never saw JSON, writing it.
 */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/alloc.h"
#include "engine/grammar_mask.h"
#include "engine/random.h"
#include "model/model.h"
#include "support/engine/engines.h"
#include "support/models.h"

static bitnet_model *model;
static bitnet_engine *engine;

static const uint64_t seed = 20250104;
static uint64_t n_drawn;

static uint32_t random_below(uint32_t n)
{
    return (uint32_t)(bni_random_unit(seed, n_drawn++) * n);
}

static int set_up(void **state)
{
    (void)state;
    model = load_model();
    engine = create_engine(model, NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    destroy_engine(engine);
    bitnet_model_release(model);
    return 0;
}

static bitnet_grammar *parse(const char *text)
{
    bitnet_grammar *grammar;
    if (bitnet_grammar_parse(text, &grammar) != BITNET_OK)
        fail_msg("%s", bitnet_last_error());
    return grammar;
}

static bitnet_grammar *from_schema(const char *schema)
{
    bitnet_grammar *grammar;
    if (bitnet_grammar_from_json_schema(schema, &grammar) != BITNET_OK)
        fail_msg("%s: %s", schema, bitnet_last_error());
    return grammar;
}

/* ---- the mask ----------------------------------------------------------------------- */

/* All tokens, tried one by one on a matcher of their own, then the k first of them. */
static size_t reference_top(const struct bni_grammar_mask *mask, const float *logits,
                            size_t k, struct bni_candidate *out)
{
    size_t n = 0;
    for (uint32_t t = 0; t < model->hparams.n_vocab; t++) {
        const struct bni_string bytes =
            bni_tokenizer_bytes(model->tokenizer, (bitnet_token)t, false);
        bool is_allowed;
        if (bni_tokenizer_is_end(model->tokenizer, (bitnet_token)t))
            is_allowed =
                bni_matcher_current(mask->matcher)->can_end && !mask->ignores_eos;
        else
            is_allowed = bytes.n_bytes > 0 &&
                         bni_matcher_allows(mask->matcher, bytes.bytes, bytes.n_bytes);
        if (is_allowed && isfinite(logits[t]))
            out[n++] = (struct bni_candidate){logits[t], (bitnet_token)t};
    }
    bni_candidates_sort(out, n);
    return n < k ? n : k;
}

static const char *const grammars[] = {
    "root ::= [a-z ]+ [.!?]",
    "root ::= \"[\" ([0-9]{1,3} (\",\" [0-9]{1,3})*)? \"]\"",
    "root ::= (\"yes\" | \"no\" | \"maybe\") .{0,8}",
    "root ::= (word \" \"?)*\nword ::= [A-Z]? [a-z]{1,6} | \"\\\"\" word \"\\\"\"",
    "root ::= [^\\x00-\\x7F]{1,6}",
    "root ::= \"x\"",
};

static void the_mask_finds_what_trying_every_token_finds(void **state)
{
    (void)state;
    print_message("seed %llu\n", (unsigned long long)seed);
    const uint32_t n_vocab = model->hparams.n_vocab;
    struct bni_token_order *order;
    assert_int_equal(bni_token_order_create(model->tokenizer, &order), BITNET_OK);
    struct bni_candidate *expected = malloc(n_vocab * sizeof(*expected));
    struct bni_candidate *found = malloc(n_vocab * sizeof(*found));
    float *logits = malloc(n_vocab * sizeof(*logits));
    const struct bni_stop_rules no_stops = {0};
    const int n_rounds = IS_SLOW_BUILD ? 2 : 6;
    for (size_t g = 0; g < sizeof(grammars) / sizeof(grammars[0]); g++) {
        bitnet_grammar *grammar = parse(grammars[g]);
        for (int round = 0; round < n_rounds; round++) {
            struct bni_grammar_mask mask = {.order = order,
                                            .tokenizer = model->tokenizer,
                                            .stops = &no_stops,
                                            .ignores_eos = round % 2 == 1};
            assert_int_equal(bni_matcher_create(grammar, &mask.matcher), BITNET_OK);
            for (int step = 0; step < 6; step++) {
                for (uint32_t t = 0; t < n_vocab; t++)
                    logits[t] =
                        random_below(10) == 0 ? -INFINITY : (float)random_below(1000);
                const size_t wanted[] = {1, 5, 40, n_vocab};
                size_t n = 0;
                for (size_t w = 0; w < 4; w++) {
                    n = reference_top(&mask, logits, wanted[w], expected);
                    assert_int_equal(bni_grammar_mask_take_top(&mask, logits, n_vocab,
                                                               wanted[w], found),
                                     n);
                    assert_memory_equal(found, expected, n * sizeof(*found));
                }
                if (n == 0) break;
                const bitnet_token token = found[random_below((uint32_t)n)].token;
                if (bni_grammar_mask_is_end(&mask, token)) break;
                bni_grammar_mask_take(&mask, token);
            }
            bni_matcher_destroy(mask.matcher);
        }
        bitnet_grammar_release(grammar);
    }
    free(logits);
    free(found);
    free(expected);
    bni_free(order);
}

/* ---- schemas -------------------------------------------------------------------------- */

/* Whether the whole text fits the grammar. */
static bool fits(bitnet_grammar *grammar, const char *text)
{
    struct bni_grammar_matcher *matcher;
    assert_int_equal(bni_matcher_create(grammar, &matcher), BITNET_OK);
    const bool result = bni_matcher_take(matcher, text, strlen(text)) &&
                        bni_matcher_current(matcher)->can_end;
    bni_matcher_destroy(matcher);
    return result;
}

static void schemas_mean_what_the_header_says(void **state)
{
    (void)state;
    static const struct {
        const char *schema;
        const char *fitting[6];
        const char *others[6];
    } cases[] = {
        {"{}", {"1", "\"a\"", "[1, {\"b\":null}]", "true"}, {"", "a", "[1", "01"}},
        {"true", {"{}"}, {"}"}},
        {"{\"type\":\"null\"}", {"null"}, {"0"}},
        {"{\"type\":\"boolean\"}", {"true", "false"}, {"True"}},
        {"{\"type\":\"integer\"}", {"0", "-17"}, {"1.5", "007", "-"}},
        {"{\"type\":\"number\"}", {"0", "-1.25", "1e9", "2.5E-3"}, {".5", "1."}},
        {"{\"type\":\"string\"}",
         {"\"\"", "\"\xC3\xA9\\n\\\"\""},
         {"\"\n\"", "\"\\x\"", "a"}},
        {"{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}",
         {"\"ab\"", "\"a\xC3\xA9"
                    "c\""},
         {"\"a\"", "\"abcd\""}},
        {"{\"maxLength\":1}", {"\"a\"", "\"\""}, {"\"ab\"", "1"}},
        {"{\"type\":[\"null\",\"integer\"]}", {"null", "3"}, {"\"a\""}},
        {"{\"enum\":[\"a\\\"b\",1,null,[1]]}",
         {"\"a\\\"b\"", "1", "null", "[1]"},
         {"\"a\"", "2"}},
        {"{\"type\":\"string\",\"enum\":[\"a\",1]}", {"\"a\""}, {"1"}},
        {"{\"const\":{\"k\":[true]}}", {"{\"k\":[true]}"}, {"{}"}},
        {"{\"type\":\"array\",\"items\":{\"type\":\"boolean\"}}",
         {"[]", "[true]", "[true, false]", "[true,false]"},
         {"[1]", "[true,]", "[,true]"}},
        {"{\"items\":{\"type\":\"null\"},\"minItems\":2,\"maxItems\":3}",
         {"[null,null]", "[null,null,null]"},
         {"[]", "[null]", "[null,null,null,null]"}},
        {"{\"type\":\"array\",\"minItems\":1}", {"[1]", "[1,2]"}, {"[]"}},
        {"{\"type\":\"array\",\"maxItems\":0}", {"[]"}, {"[1]"}},
        {"{\"type\":\"array\",\"maxItems\":1}", {"[]", "[1]"}, {"[1,2]"}},
        {"{\"type\":\"object\"}", {"{}", "{\"a\":1, \"b\": {}}"}, {"{a:1}"}},
        {"{\"type\":\"object\",\"additionalProperties\":false}", {"{}"}, {"{\"a\":1}"}},
        {"{\"additionalProperties\":{\"type\":\"null\"}}",
         {"{}", "{\"a\":null, \"b\":null}"},
         {"{\"a\":1}"}},
        {"{\"properties\":{\"a\":{\"type\":\"null\"},\"b\":{\"type\":\"null\"},"
         "\"c\":{\"type\":\"null\"}},\"required\":[\"b\"],"
         "\"additionalProperties\":false}",
         {"{\"b\":null}", "{\"a\":null,\"b\":null}", "{\"b\":null, \"c\":null}",
          "{\"a\":null,\"b\":null,\"c\":null}"},
         {"{}", "{\"a\":null}", "{\"b\":null,\"a\":null}", "{,\"b\":null}",
          "{\"b\":null,}", "{\"b\":null,\"d\":1}"}},
        {"{\"properties\":{\"a\":{\"type\":\"null\"},\"b\":{\"type\":\"null\"}}}",
         {"{}", "{\"a\":null}", "{\"b\":null}", "{\"a\":null,\"b\":null}"},
         {"{,\"b\":null}"}},
        {"{\"properties\":{\"a\":{\"properties\":{\"b\":{\"type\":\"null\"}},"
         "\"required\":[\"b\"]}},\"required\":[\"a\"]}",
         {"{\"a\":{\"b\":null}}"},
         {"{\"a\":{}}", "{\"a\":1}"}},
        {"{\"anyOf\":[{\"type\":\"null\"},{\"type\":\"boolean\"}]}",
         {"null", "true"},
         {"1"}},
        {"{\"oneOf\":[{\"const\":1},{\"const\":2}]}", {"1", "2"}, {"3"}},
        {"{\"$ref\":\"#/$defs/a~1b\",\"$defs\":{\"a/b\":{\"type\":\"null\"}}}",
         {"null"},
         {"1"}},
        {"{\"title\":\"tree\",\"properties\":{\"child\":{\"$ref\":\"#\"}}}",
         {"{}", "{\"child\":{\"child\":{}}}"},
         {"{\"child\":1}"}},
        {"{\"properties\":{\"n\":{\"$ref\":\"#/definitions/list\"}},\"definitions\":"
         "{\"list\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/definitions/list\"}}}}",
         {"{\"n\":[[],[[]]]}"},
         {"{\"n\":[1]}"}},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        bitnet_grammar *grammar = from_schema(cases[i].schema);
        for (size_t k = 0; k < 6 && cases[i].fitting[k] != NULL; k++)
            if (!fits(grammar, cases[i].fitting[k]))
                fail_msg("%s refuses %s", cases[i].schema, cases[i].fitting[k]);
        for (size_t k = 0; k < 6 && cases[i].others[k] != NULL; k++)
            if (fits(grammar, cases[i].others[k]))
                fail_msg("%s takes %s", cases[i].schema, cases[i].others[k]);
        bitnet_grammar_release(grammar);
    }
}

static void what_a_schema_may_not_have_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *schema;
        bitnet_status status;
        const char *message;
    } cases[] = {
        {"{", BITNET_ERROR_INVALID_ARGUMENT, "JSON schema: line 1, column 1"},
        {"1", BITNET_ERROR_INVALID_ARGUMENT, "a schema must be an object or true"},
        {"{\"type\":\"string\",\"pattern\":\"a\"}", BITNET_ERROR_UNSUPPORTED_OPERATION,
         "\"pattern\" is not a keyword that is supported"},
        {"{\"properties\":{\"a\":{\"minimum\":1}}}", BITNET_ERROR_UNSUPPORTED_OPERATION,
         "\"minimum\""},
        {"{\"type\":\"text\"}", BITNET_ERROR_INVALID_ARGUMENT, "\"type\" must be"},
        {"{\"type\":[]}", BITNET_ERROR_INVALID_ARGUMENT, "\"type\" is an empty list"},
        {"{\"enum\":[]}", BITNET_ERROR_INVALID_ARGUMENT, "\"enum\" must be"},
        {"{\"anyOf\":[]}", BITNET_ERROR_INVALID_ARGUMENT, "\"anyOf\" must be"},
        {"{\"anyOf\":[{}],\"enum\":[1]}", BITNET_ERROR_UNSUPPORTED_OPERATION,
         "\"anyOf\" is not supported beside"},
        {"{\"minItems\":-1}", BITNET_ERROR_INVALID_ARGUMENT, "\"minItems\" must be"},
        {"{\"minItems\":3,\"maxItems\":2}", BITNET_ERROR_INVALID_ARGUMENT,
         "\"maxItems\" is less"},
        {"{\"required\":[\"a\"]}", BITNET_ERROR_UNSUPPORTED_OPERATION, "\"required\""},
        {"{\"properties\":{\"a\":{}},\"additionalProperties\":{}}",
         BITNET_ERROR_UNSUPPORTED_OPERATION, "\"additionalProperties\""},
        {"{\"$ref\":\"http://x/y\"}", BITNET_ERROR_UNSUPPORTED_OPERATION, "\"$ref\""},
        {"{\"$ref\":\"#/$defs/a\"}", BITNET_ERROR_INVALID_ARGUMENT,
         "there is nothing there"},
        {"{\"$ref\":\"#\"}", BITNET_ERROR_INVALID_ARGUMENT, "never ends"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        bitnet_grammar *grammar;
        assert_int_equal(bitnet_grammar_from_json_schema(cases[i].schema, &grammar),
                         cases[i].status);
        if (strstr(bitnet_last_error(), cases[i].message) == NULL)
            fail_msg("%s: \"%s\" does not say \"%s\"", cases[i].schema,
                     bitnet_last_error(), cases[i].message);
    }
}

/* ---- requests --------------------------------------------------------------------------- */

static const char person_schema[] =
    "{\"type\":\"object\",\"properties\":{"
    "\"name\":{\"type\":\"string\",\"minLength\":1,\"maxLength\":12},"
    "\"age\":{\"type\":\"integer\"},"
    "\"mood\":{\"enum\":[\"happy\",\"sad\"]},"
    "\"friends\":{\"type\":\"array\",\"maxItems\":2,"
    "\"items\":{\"type\":\"string\",\"maxLength\":8}}},"
    "\"required\":[\"name\",\"age\",\"mood\",\"friends\"],"
    "\"additionalProperties\":false}";

static void expect_person(const bitnet_result *result)
{
    json_error_t error;
    json_t *person = json_loads(result->text, 0, &error);
    if (person == NULL) fail_msg("%s: %s", result->text, error.text);
    assert_int_equal(json_object_size(person), 4);
    assert_true(json_is_integer(json_object_get(person, "age")));
    assert_true(json_string_length(json_object_get(person, "name")) >= 1);
    const char *mood = json_string_value(json_object_get(person, "mood"));
    assert_true(strcmp(mood, "happy") == 0 || strcmp(mood, "sad") == 0);
    assert_true(json_array_size(json_object_get(person, "friends")) <= 2);
    json_decref(person);
}

static void the_shipped_model_writes_json_that_fits_a_schema(void **state)
{
    (void)state;
    bitnet_grammar *grammar = from_schema(person_schema);
    const int n_rounds = IS_SLOW_BUILD ? 4 : 16;
    for (int i = 0; i < n_rounds; i++) {
        bitnet_generate_options options = mixed_options((unsigned)i);
        options.max_tokens = 200;
        options.grammar = grammar;
        options.ignores_eos = i % 2 == 1;
        bitnet_result result = generate_well(engine, &options, test_prompts[i % 12]);
        assert_int_equal(result.finish, BITNET_FINISH_STOP);
        expect_person(&result);
        bitnet_result again = generate_well(engine, &options, test_prompts[i % 12]);
        assert_same_result(&result, &again, 0);
        bitnet_result_release(&again);
        bitnet_result_release(&result);
    }
    bitnet_grammar_release(grammar);
}

static void the_end_may_come_exactly_where_the_grammar_ends(void **state)
{
    (void)state;
    /* Nothing can follow: ended without an end-of-generation token. */
    bitnet_grammar *grammar = parse("root ::= \"yes\" | \"no\"");
    bitnet_generate_options options = bitnet_generate_options_default();
    options.grammar = grammar;
    bitnet_result result = generate_well(engine, &options, test_prompts[0]);
    assert_true(strcmp(result.text, "yes") == 0 || strcmp(result.text, "no") == 0);
    assert_int_equal(result.finish, BITNET_FINISH_STOP);
    bitnet_result_release(&result);
    bitnet_grammar_release(grammar);

    /* The text cannot end before ten letters, however much the model would like to. */
    grammar = parse("root ::= [a-z ]{10,}");
    const bitnet_logit_bias bias = {bni_tokenizer_eos(model->tokenizer), 1000.0f};
    options.grammar = grammar;
    options.logit_biases = &bias;
    options.n_logit_biases = 1;
    result = generate_well(engine, &options, test_prompts[0]);
    assert_int_equal(result.finish, BITNET_FINISH_STOP);
    assert_true(result.text_len >= 10 && result.text_len < 30);
    bitnet_result_release(&result);
    bitnet_grammar_release(grammar);
}

static void a_grammar_that_allows_no_token_of_the_vocabulary_says_so(void **state)
{
    (void)state;
    bitnet_grammar *grammar = parse("root ::= \"x\" [ab]");
    bitnet_generate_options options = bitnet_generate_options_default();
    options.grammar = grammar;
    static bitnet_logit_bias bans[BITNET_MAX_LOGIT_BIASES];
    for (uint32_t t = 0; t < model->hparams.n_vocab; t++) {
        const struct bni_string bytes =
            bni_tokenizer_bytes(model->tokenizer, (bitnet_token)t, false);
        if (bytes.n_bytes > 0 && bytes.bytes[0] == 'x' &&
            options.n_logit_biases < BITNET_MAX_LOGIT_BIASES)
            bans[options.n_logit_biases++] =
                (bitnet_logit_bias){(bitnet_token)t, -INFINITY};
    }
    options.logit_biases = bans;
    bitnet_result result;
    assert_int_equal(bitnet_generate(engine, &options, "A", &result),
                     BITNET_ERROR_INFERENCE_FAILED);
    assert_non_null(strstr(bitnet_last_error(), "no token is left"));
    bitnet_result_release(&result);
    bitnet_grammar_release(grammar);
}

struct caller {
    bitnet_engine *engine;
    bitnet_grammar *grammar;
    unsigned number;
    bitnet_result result;
    bitnet_status status;
};

static void *generate_person(void *arg)
{
    struct caller *caller = arg;
    bitnet_generate_options options = mixed_options(caller->number);
    options.max_tokens = 200;
    options.grammar = caller->grammar;
    caller->status =
        bitnet_generate(caller->engine, &options, test_prompts[0], &caller->result);
    bitnet_grammar_release(caller->grammar); /* each thread has a reference */
    return NULL;
}

static void many_threads_share_one_grammar(void **state)
{
    (void)state;
    enum { N_CALLERS = 6 };
    bitnet_engine *fresh =
        create_engine(model, NULL); /* its vocabulary not yet sorted */
    bitnet_grammar *grammar = from_schema(person_schema);
    struct caller callers[N_CALLERS];
    pthread_t threads[N_CALLERS];
    for (unsigned i = 0; i < N_CALLERS; i++) {
        callers[i] = (struct caller){.engine = fresh,
                                     .grammar = bitnet_grammar_retain(grammar),
                                     .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, generate_person,
                                        &callers[i]),
                         0);
    }
    bitnet_grammar_release(grammar);
    for (unsigned i = 0; i < N_CALLERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(callers[i].status, BITNET_OK);
        expect_person(&callers[i].result);
        bitnet_result_release(&callers[i].result);
    }
    destroy_engine(fresh);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_mask_finds_what_trying_every_token_finds),
        cmocka_unit_test(schemas_mean_what_the_header_says),
        cmocka_unit_test(what_a_schema_may_not_have_is_named),
        cmocka_unit_test(the_shipped_model_writes_json_that_fits_a_schema),
        cmocka_unit_test(the_end_may_come_exactly_where_the_grammar_ends),
        cmocka_unit_test(a_grammar_that_allows_no_token_of_the_vocabulary_says_so),
        cmocka_unit_test(many_threads_share_one_grammar),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
