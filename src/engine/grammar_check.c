/* SPDX-License-Identifier: MIT */
/*
 * grammar_check.c - see grammar_check.h.
 *
 * Whether a rule can be empty, and whether it can end, are the same question, asked
 * with and without characters: a rule finishes if all elements of one alternative do.
 * finishing_rules() answers both in one walk over the calls.
 *
 * A matcher expands calls until it stands before characters. That ends unless a rule
 * can be reached from itself without a character and with one more place to return
 * to each time round. A call at the end of an alternative adds no such place, and the
 * matcher expands nothing twice in the same place, so x* is fine even if x may be
 * empty. So left recursion is: a circle of calls, each reached through what can be
 * empty, of which one is not at the end. Circles are the strongly connected
 * components (Tarjan, 1972), found here without recursion.
 */
#include "engine/grammar_check.h"

#include "base/alloc.h"
#include "base/error.h"

struct view {
    const struct bni_grammar_rule *rules;
    const uint32_t *alternatives;
    const uint32_t *code;
    uint32_t n_rules;
    uint32_t n_alternatives;
    uint32_t n_code;
};

/* ---- what can finish ------------------------------------------------------------------- */

/* Where a rule is called: the alternative, in a list by rule. */
struct call_site {
    uint32_t alternative;
    uint32_t next; /* site of the same rule, + 1; 0: none */
};

struct finishing {
    uint32_t *n_waiting;     /* [n_alternatives] calls of it not known to finish */
    uint32_t *owner;         /* [n_alternatives] */
    uint32_t *first_site;    /* [n_rules] + 1 */
    struct call_site *sites; /* [n_code] */
    uint32_t *queue;         /* [n_rules] */
};

static void *carve(char **at, size_t n, size_t each)
{
    void *begin = *at;
    *at += (n * each + 7) & ~(size_t)7;
    return begin;
}

static void rule_finishes(struct finishing *f, bool *finishes, uint32_t rule,
                          uint32_t *n_queued)
{
    if (finishes[rule]) return;
    finishes[rule] = true;
    f->queue[(*n_queued)++] = rule;
}

/* Marks rules that can finish; with `without_characters`, those that can be empty. */
static bitnet_status finishing_rules(const struct view *v, bool without_characters,
                                     bool *finishes)
{
    const size_t n_bytes = (size_t)v->n_alternatives * 8 + (size_t)v->n_rules * 8 +
                           (size_t)v->n_code * sizeof(struct call_site) + 64;
    char *block = bni_calloc(1, n_bytes);
    if (block == NULL) return bitnet_last_status();
    char *at = block;
    struct finishing f;
    f.n_waiting = carve(&at, v->n_alternatives, sizeof(uint32_t));
    f.owner = carve(&at, v->n_alternatives, sizeof(uint32_t));
    f.first_site = carve(&at, v->n_rules, sizeof(uint32_t));
    f.queue = carve(&at, v->n_rules, sizeof(uint32_t));
    f.sites = carve(&at, v->n_code, sizeof(struct call_site));

    uint32_t n_sites = 0;
    uint32_t n_queued = 0;
    for (uint32_t r = 0; r < v->n_rules; r++) finishes[r] = false;
    for (uint32_t r = 0; r < v->n_rules; r++) {
        for (uint32_t i = 0; i < v->rules[r].n_alternatives; i++) {
            const uint32_t a = v->rules[r].first_alternative + i;
            f.owner[a] = r;
            for (const uint32_t *e = v->code + v->alternatives[a];
                 bni_grammar_op_of(*e) != BNI_GRAMMAR_END; e++) {
                if (bni_grammar_op_of(*e) == BNI_GRAMMAR_CALL) {
                    const uint32_t callee = bni_grammar_argument_of(*e);
                    f.sites[n_sites] = (struct call_site){a, f.first_site[callee]};
                    f.first_site[callee] = ++n_sites;
                    f.n_waiting[a]++;
                } else if (without_characters) {
                    f.n_waiting[a]++; /* for ever */
                }
            }
            if (f.n_waiting[a] == 0) rule_finishes(&f, finishes, r, &n_queued);
        }
    }
    for (uint32_t i = 0; i < n_queued; i++)
        for (uint32_t s = f.first_site[f.queue[i]]; s != 0; s = f.sites[s - 1].next)
            if (--f.n_waiting[f.sites[s - 1].alternative] == 0)
                rule_finishes(&f, finishes, f.owner[f.sites[s - 1].alternative],
                              &n_queued);
    bni_free(block);
    return BITNET_OK;
}

/* A rule that cannot finish calls another one in each alternative. Following these
 * leads into a circle, which is what to blame. */
static uint32_t endless_circle(const struct view *v, const bool *finishes,
                               uint32_t rule)
{
    for (uint32_t i = 0; i < v->n_rules; i++) {
        const uint32_t *e = v->code + v->alternatives[v->rules[rule].first_alternative];
        while (bni_grammar_op_of(*e) != BNI_GRAMMAR_CALL ||
               finishes[bni_grammar_argument_of(*e)])
            e++;
        rule = bni_grammar_argument_of(*e);
    }
    return rule;
}

/* ---- left recursion ----------------------------------------------------------------------- */

/* Walks over the calls that a rule can begin with. */
struct left_calls {
    uint32_t alternative; /* of the rule, from 0 */
    const uint32_t *element;
};

/* Gives the next call; `needs_return` if something follows it. False: no more. */
static bool next_left_call(const struct view *v, const bool *can_be_empty,
                           uint32_t rule, struct left_calls *walk, uint32_t *callee,
                           bool *needs_return)
{
    for (;;) {
        if (walk->element == NULL) {
            if (walk->alternative == v->rules[rule].n_alternatives) return false;
            walk->element =
                v->code +
                v->alternatives[v->rules[rule].first_alternative + walk->alternative++];
        }
        const uint32_t element = *walk->element;
        if (bni_grammar_op_of(element) != BNI_GRAMMAR_CALL) {
            walk->element = NULL;
            continue;
        }
        *callee = bni_grammar_argument_of(element);
        walk->element++;
        *needs_return = bni_grammar_op_of(*walk->element) != BNI_GRAMMAR_END;
        if (!can_be_empty[*callee]) walk->element = NULL;
        return true;
    }
}

struct component {
    struct left_calls walk;
    uint32_t number; /* in order of discovery, from 1; 0: not yet */
    uint32_t low;    /* least number reached */
    uint32_t id;     /* of its component, once known, from 1 */
    uint32_t caller; /* on the path */
};

/* Numbers the components; `stack` has room for every rule. */
static void find_components(const struct view *v, const bool *can_be_empty,
                            struct component *c, uint32_t *stack)
{
    uint32_t n_numbered = 0;
    uint32_t n_components = 0;
    uint32_t n_stack = 0;
    for (uint32_t start = 0; start < v->n_rules; start++) {
        if (c[start].number != 0) continue;
        uint32_t at = start;
        c[at].number = c[at].low = ++n_numbered;
        c[at].caller = UINT32_MAX;
        stack[n_stack++] = at;
        while (at != UINT32_MAX) {
            uint32_t callee;
            bool needs_return;
            if (next_left_call(v, can_be_empty, at, &c[at].walk, &callee,
                               &needs_return)) {
                if (c[callee].number == 0) {
                    c[callee].number = c[callee].low = ++n_numbered;
                    c[callee].caller = at;
                    stack[n_stack++] = callee;
                    at = callee;
                } else if (c[callee].id == 0 && c[callee].number < c[at].low) {
                    c[at].low = c[callee].number;
                }
                continue;
            }
            if (c[at].low == c[at].number) {
                n_components++;
                uint32_t member;
                do {
                    member = stack[--n_stack];
                    c[member].id = n_components;
                } while (member != at);
            }
            const uint32_t caller = c[at].caller;
            if (caller != UINT32_MAX && c[at].low < c[caller].low)
                c[caller].low = c[at].low;
            at = caller;
        }
    }
}

static bool find_left_recursion(const struct view *v, const bool *can_be_empty,
                                const struct component *c, uint32_t *rule)
{
    for (uint32_t r = 0; r < v->n_rules; r++) {
        struct left_calls walk = {0, NULL};
        uint32_t callee;
        bool needs_return;
        while (next_left_call(v, can_be_empty, r, &walk, &callee, &needs_return)) {
            if (needs_return && c[callee].id == c[r].id) {
                *rule = r;
                return true;
            }
        }
    }
    return false;
}

bitnet_status bni_grammar_check(const struct bni_grammar_builder *builder,
                                enum bni_grammar_fault *fault, uint32_t *rule)
{
    const struct view v = {
        .rules = builder->rules.items,
        .alternatives = builder->alternatives.items,
        .code = builder->code.items,
        .n_rules = (uint32_t)builder->rules.n,
        .n_alternatives = (uint32_t)builder->alternatives.n,
        .n_code = (uint32_t)builder->code.n,
    };
    *fault = BNI_GRAMMAR_FAULT_NONE;
    struct component *components = bni_calloc(v.n_rules, sizeof(*components));
    uint32_t *stack = bni_calloc(v.n_rules, sizeof(*stack));
    bool *finishes = bni_calloc(v.n_rules, sizeof(*finishes));
    bitnet_status status = BITNET_OK;
    if (components == NULL || stack == NULL || finishes == NULL)
        status = bitnet_last_status();

    if (status == BITNET_OK) status = finishing_rules(&v, false, finishes);
    for (uint32_t r = 0; r < v.n_rules && status == BITNET_OK; r++) {
        if (finishes[r]) continue;
        *fault = BNI_GRAMMAR_FAULT_ENDLESS;
        *rule = endless_circle(&v, finishes, r);
        break;
    }
    if (status == BITNET_OK && *fault == BNI_GRAMMAR_FAULT_NONE) {
        status = finishing_rules(&v, true, finishes);
        if (status == BITNET_OK) {
            find_components(&v, finishes, components, stack);
            if (find_left_recursion(&v, finishes, components, rule))
                *fault = BNI_GRAMMAR_FAULT_LEFT_RECURSION;
        }
    }
    bni_free(finishes);
    bni_free(stack);
    bni_free(components);
    return status;
}
