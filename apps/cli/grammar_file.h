/* SPDX-License-Identifier: MIT */
/*
 * grammar_file.h - a grammar or a JSON schema, from a file.
 */
#ifndef CLI_GRAMMAR_FILE_H
#define CLI_GRAMMAR_FILE_H

#include <bitnet/grammar.h>

/*
 * Reads one of two files, or none if both paths are NULL: `*out` is then NULL. Returns
 * an exit code; unless it is EXIT_DONE, one line on standard error has said why.
 */
int grammar_from_files(const char *grammar_path, const char *schema_path,
                       bitnet_grammar **out);

#endif
