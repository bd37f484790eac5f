/* SPDX-License-Identifier: MIT */
/*
 * bitnet/grammar.h - what a generated text must look like.
 *
 * A grammar is rules in the notation known as GBNF:
 *
 *     root   ::= "[" item ("," item)* "]"      # the text is one root
 *     item   ::= [a-z_] [a-z0-9_]{0,7} | "\"" [^"\n]* "\""
 *
 *   "text"              these characters; escapes \n \r \t \\ \" \xHH \uHHHH \UHHHHHHHH
 *   [a-z] [^a-z] .      one character of a set, one not of it, any character; escapes
 *                       as above, and \[ \] \- \^
 *   a b    a | b        one after the other, one or the other
 *   ( )    * + ?        groups; none or more, one or more, none or one
 *   {2} {2,} {2,5}      so many times
 *
 * A rule ends with its line, unless a group is open or the line ends with | or ::=.
 * Given to bitnet_generate_options.grammar, it lets only such tokens be chosen that
 * the text can still become a root, and lets the model end it exactly when it is one.
 * docs/grammar.md has the limits.
 *
 * A grammar never changes once made: share it among threads, engines and models.
 */
#ifndef BITNET_GRAMMAR_H
#define BITNET_GRAMMAR_H

#include <bitnet/export.h>
#include <bitnet/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct bitnet_grammar bitnet_grammar;

/*
 * Reads the NUL-terminated rules, and gives `*out` one reference to the grammar. The
 * message of an error says where: "line 3, column 9".
 *
 * Returns
 *   BITNET_OK
 *   BITNET_ERROR_INVALID_ARGUMENT       a NULL; a syntax error; no rule root; a rule
 *                                       that is used and not defined, or defined twice;
 *                                       text that is not UTF-8
 *   BITNET_ERROR_UNSUPPORTED_OPERATION  a rule that begins with itself (left recursion),
 *                                       or more rules or repetitions than the limits
 *   BITNET_ERROR_OUT_OF_MEMORY
 *
 * Thread safety: any thread.
 */
BITNET_API bitnet_status bitnet_grammar_parse(const char *text, bitnet_grammar **out);

/*
 * Makes a grammar of JSON texts that fit a JSON Schema: white space is at most one space
 * after ":" and ",", properties come in the order of the schema, numbers have at most
 * 16 digits before and after the point.
 *
 * Understood are: type (also a list of types), properties, required,
 * additionalProperties (taken for false where there are properties), items, minItems,
 * maxItems, enum, const, minLength, maxLength, anyOf, oneOf (read as anyOf), $ref into
 * the same document, true and {} for any value. Titles, descriptions, defaults and
 * examples are skipped. Any other keyword is refused by name.
 *
 * Returns as bitnet_grammar_parse(), UNSUPPORTED_OPERATION for such a keyword.
 *
 * Thread safety: any thread.
 */
BITNET_API bitnet_status bitnet_grammar_from_json_schema(const char *schema,
                                                         bitnet_grammar **out);

/*
 * Adds a reference, and returns `grammar`. NULL returns NULL.
 *
 * Thread safety: any thread that has a reference.
 */
BITNET_API bitnet_grammar *bitnet_grammar_retain(bitnet_grammar *grammar);

/*
 * Gives back a reference; a request holds one of its own while it needs it. NULL does
 * nothing.
 *
 * Thread safety: any thread, once for each reference.
 */
BITNET_API void bitnet_grammar_release(bitnet_grammar *grammar);

#ifdef __cplusplus
}
#endif

#endif
