/* SPDX-License-Identifier: MIT */
/*
 * report.c - see report.h.
 *
 * All rates are tokens generated per second of wall time. A request's time runs from
 * its call to its last token, waiting for others included; a batch's from its first
 * call to the end of its last. The gain is the batch's rate over the rate of the same
 * engine serving one request at a time, and both lines say what they were measured on.
 */
#include "report.h"

#include <inttypes.h>
#include <string.h>

#include <bitnet/version.h>
#include <jansson.h>

#include "complain.h"
#include "text.h"

enum { PROMPT_COLUMNS = 36 };

static double rate(uint64_t n_tokens, uint64_t elapsed_ns)
{
    return elapsed_ns == 0 ? 0 : (double)n_tokens * 1e9 / (double)elapsed_ns;
}

static double batch_rate(const struct batch *batch)
{
    return rate(batch_n_tokens(batch), batch->elapsed_ns);
}

/* Returns 0 if there is nothing to compare. */
static double gain(const struct report *report)
{
    const double alone = batch_rate(report->alone);
    return alone > 0 && report->together->n_callers > 1
               ? batch_rate(report->together) / alone
               : 0;
}

static const struct request *alone_twin(const struct report *report, size_t index)
{
    const bool has_twin = index >= report->first_alone &&
                          index - report->first_alone < report->alone->n_requests;
    return has_twin ? &report->alone->requests[index - report->first_alone] : NULL;
}

static bool are_same_bytes(const void *a, size_t n_a, const void *b, size_t n_b)
{
    if (n_a != n_b) return false;
    return n_a == 0 || (a != NULL && b != NULL && memcmp(a, b, n_a) == 0);
}

enum comparison report_compare(const struct report *report, size_t index)
{
    const struct request *request = &report->together->requests[index];
    const struct request *twin = alone_twin(report, index);
    const bool are_finished = twin != NULL && request->was_started &&
                              twin->was_started && request->status == BITNET_OK &&
                              twin->status == BITNET_OK;
    if (!are_finished) return COMPARISON_NONE;
    const bitnet_result *a = &request->result;
    const bitnet_result *b = &twin->result;
    const bool are_equal =
        are_same_bytes(a->tokens, a->n_tokens * sizeof(*a->tokens), b->tokens,
                       b->n_tokens * sizeof(*b->tokens)) &&
        are_same_bytes(a->text, a->text_len, b->text, b->text_len);
    return are_equal ? COMPARISON_EQUAL : COMPARISON_DIFFERENT;
}

static void count_compared(const struct report *report, size_t *n_compared,
                           size_t *n_equal)
{
    *n_compared = 0;
    *n_equal = 0;
    for (size_t i = 0; i < report->together->n_requests; i++) {
        const enum comparison comparison = report_compare(report, i);
        *n_compared += comparison != COMPARISON_NONE;
        *n_equal += comparison == COMPARISON_EQUAL;
    }
}

bool report_is_equal(const struct report *report)
{
    size_t n_compared;
    size_t n_equal;
    count_compared(report, &n_compared, &n_equal);
    return n_compared > 0 && n_equal == n_compared;
}

static const char *ending(const struct request *request)
{
    if (!request->was_started) return "not begun";
    if (request->result.finish != BITNET_FINISH_NONE)
        return bitnet_finish_name(request->result.finish);
    return "refused"; /* before it began; its line on standard error says why */
}

static void print_row(const struct request *request, size_t number, FILE *out)
{
    const bitnet_result *result = &request->result;
    fprintf(out, "%4zu  ", number);
    text_put_fitted(out, request->prompt, strlen(request->prompt), PROMPT_COLUMNS,
                    true);
    fprintf(out, " %7zu  %-9s", result->n_tokens, ending(request));
    if (result->n_tokens > 0)
        fprintf(out, " %8.1f ms %10.1f", (double)result->time_to_first_token_ns / 1e6,
                rate(result->n_tokens, result->total_ns));
    fputc('\n', out);
}

/* `what` in the columns of prompt and tokens, then the batch's rate. */
static void print_total(const struct batch *batch, const char *what, FILE *out)
{
    char line[160];
    snprintf(line, sizeof(line), "%s: %" PRIu64 " tokens in %.2f s", what,
             batch_n_tokens(batch), (double)batch->elapsed_ns / 1e9);
    fprintf(out, "%-71s %10.1f\n", line, batch_rate(batch));
}

static void print_comparison(const struct report *report, FILE *out)
{
    size_t n_compared;
    size_t n_equal;
    count_compared(report, &n_compared, &n_equal);
    if (n_compared == 0) {
        fprintf(out, "verify: nothing to compare, no request finished both ways\n");
    } else if (n_equal == n_compared) {
        fprintf(out, "verify: all %zu equal, each prompt alone gives the same tokens\n",
                n_equal);
    } else {
        fprintf(out, "verify: %zu of %zu DIFFER from the same prompt alone:",
                n_compared - n_equal, n_compared);
        for (size_t i = 0; i < report->together->n_requests; i++) {
            if (report_compare(report, i) == COMPARISON_DIFFERENT)
                fprintf(out, " %zu", i + 1);
        }
        fputc('\n', out);
    }
}

void report_print_table(const struct report *report, FILE *out)
{
    const struct batch *together = report->together;
    fprintf(out, "\n   #  %-*s  tokens  ended     first token   tokens/s\n",
            PROMPT_COLUMNS, "prompt");
    for (size_t i = 0; i < together->n_requests; i++)
        print_row(&together->requests[i], i + 1, out);

    char what[96];
    snprintf(what, sizeof(what), "%zu prompt%s from %zu caller thread%s",
             together->n_requests, together->n_requests == 1 ? "" : "s",
             together->n_callers, together->n_callers == 1 ? "" : "s");
    print_total(together, what, out);
    if (report->alone->elapsed_ns > 0) {
        if (report->is_verified)
            snprintf(what, sizeof(what), "the same, one at a time");
        else
            snprintf(what, sizeof(what), "prompt %zu once more, alone",
                     report->first_alone + 1);
        print_total(report->alone, what, out);
    }
    if (gain(report) > 0)
        fprintf(out, "%-71s %9.2fx\n", "gain over one at a time", gain(report));
    if (report->is_verified) print_comparison(report, out);
    if (report->is_interrupted) fprintf(out, "interrupted: this is what there is\n");
}

static json_t *milliseconds(uint64_t ns)
{
    return json_real((double)ns / 1e6);
}

static json_t *request_to_json(const struct report *report, size_t index)
{
    const struct request *request = &report->together->requests[index];
    const bitnet_result *result = &request->result;
    json_t *tokens = json_array();
    for (size_t i = 0; i < result->n_tokens; i++)
        json_array_append_new(tokens, json_integer(result->tokens[i]));

    json_t *json =
        json_pack("{s:s, s:I, s:s%, s:o, s:I, s:I, s:s, s:s, s:o, s:o, s:f}", /* */
                  "prompt", request->prompt,                                  /* */
                  "seed", (json_int_t)request->seed,                          /* */
                  "text", result->text == NULL ? "" : result->text,
                  result->text_len,                                       /* */
                  "tokens", tokens,                                       /* */
                  "n_prompt_tokens", (json_int_t)result->n_prompt_tokens, /* */
                  "n_tokens", (json_int_t)result->n_tokens,               /* */
                  "ended", ending(request),                               /* */
                  "status", bitnet_status_name(request->status),          /* */
                  "time_to_first_token_ms",
                  milliseconds(result->time_to_first_token_ns), /* */
                  "total_ms", milliseconds(result->total_ns),   /* */
                  "tokens_per_second", rate(result->n_tokens, result->total_ns));
    if (json == NULL) return NULL;
    if (request->status != BITNET_OK)
        json_object_set_new(json, "error", json_string(request->error));
    const enum comparison comparison = report_compare(report, index);
    if (report->is_verified && comparison != COMPARISON_NONE)
        json_object_set_new(json, "equal_alone",
                            json_boolean(comparison == COMPARISON_EQUAL));
    return json;
}

static json_t *batch_to_json(const struct batch *batch)
{
    return json_pack("{s:I, s:I, s:I, s:f, s:f}",                   /* */
                     "n_requests", (json_int_t)batch->n_requests,   /* */
                     "n_callers", (json_int_t)batch->n_callers,     /* */
                     "n_tokens", (json_int_t)batch_n_tokens(batch), /* */
                     "seconds", (double)batch->elapsed_ns / 1e9,    /* */
                     "tokens_per_second", batch_rate(batch));
}

static json_t *options_to_json(const bitnet_generate_options *options)
{
    return json_pack("{s:I, s:f, s:I, s:f, s:f, s:f}",              /* */
                     "max_tokens", (json_int_t)options->max_tokens, /* */
                     "temperature", (double)options->temperature,   /* */
                     "top_k", (json_int_t)options->top_k,           /* */
                     "top_p", (double)options->top_p,               /* */
                     "min_p", (double)options->min_p,               /* */
                     "repeat_penalty", (double)options->repeat_penalty);
}

bool report_print_json(const struct report *report, FILE *out)
{
    json_t *requests = json_array();
    bool is_made = true;
    for (size_t i = 0; i < report->together->n_requests; i++)
        is_made &= json_array_append_new(requests, request_to_json(report, i)) == 0;

    json_t *json =
        json_pack("{s:s, s:{s:s, s:s, s:s}, s:o, s:I, s:o, s:o, s:b}", /* */
                  "version", bitnet_version(),                         /* */
                  "model", "path", report->model->path, "architecture",
                  report->model->architecture, "weights",
                  report->model->weight_type,                                 /* */
                  "options", options_to_json(&report->serving->sampling),     /* */
                  "n_compute_threads", (json_int_t)report->n_compute_threads, /* */
                  "requests", requests,                                       /* */
                  "together", batch_to_json(report->together),                /* */
                  "interrupted", report->is_interrupted);
    if (json != NULL && report->alone->elapsed_ns > 0)
        json_object_set_new(json, "one_at_a_time", batch_to_json(report->alone));
    if (json != NULL && gain(report) > 0)
        json_object_set_new(json, "gain", json_real(gain(report)));
    if (json != NULL && report->is_verified) {
        size_t n_compared;
        size_t n_equal;
        count_compared(report, &n_compared, &n_equal);
        json_object_set_new(json, "verify",
                            json_pack("{s:I, s:I}", "n_compared",
                                      (json_int_t)n_compared, "n_equal",
                                      (json_int_t)n_equal));
    }

    is_made = is_made && json != NULL;
    if (is_made) {
        json_dumpf(json, out,
                   JSON_INDENT(2) | JSON_REAL_PRECISION(9)); /* ferror tells */
        fputc('\n', out);
    } else {
        complain("cannot make the JSON report: out of memory, or a name is not UTF-8");
    }
    json_decref(json);
    return is_made;
}
