#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""test_cli_usage.py - options, help, and every way to be misused."""
import os
import unittest

from support import MODEL, PROMPTS, CliTest, start


class HelpTest(CliTest):
    def test_help_names_every_command_and_exit_code(self):
        out, err = self.run_program("--help")
        for word in ("run", "info", "tokenize", "synth", "130 interrupted"):
            self.assertIn(word, out)
        self.assertEqual(err, "")

    def test_each_command_has_help_with_examples(self):
        for command in ("run", "info", "tokenize", "synth"):
            out, _ = self.run_program(command, "--help")
            self.assertTrue(out.startswith(f"usage: bitnet {command} "))
            self.assertIn("\nexamples:\n  bitnet " + command, out)

    def test_help_fits_a_terminal_of_100_columns(self):
        for command in ("run", "info", "tokenize", "synth"):
            out, _ = self.run_program(command, "--help")
            self.assertLessEqual(max(map(len, out.splitlines())), 100)

    def test_version_is_the_library_version(self):
        header = (MODEL.parent.parent / "include/bitnet/version.h").read_text()
        out, _ = self.run_program("--version")
        name, version = out.split()
        self.assertEqual(name, "bitnet")
        self.assertIn(f'#define BITNET_VERSION "{version}"', header)

    def test_no_command_shows_the_help_as_an_error(self):
        out, err = self.run_program(expect=2)
        self.assertEqual(out, "")
        self.assertIn("usage: bitnet COMMAND", err)


class MisuseTest(CliTest):
    def refused(self, *arguments, expect=2, stdin=b""):
        out, err = self.run_program(*arguments, expect=expect, stdin=stdin)
        self.assertEqual(out, "")
        self.assert_one_line(err)
        return err

    def test_an_unknown_command_gets_a_hint(self):
        self.assertIn("did you mean 'run'?", self.refused("rum"))
        self.assertIn("'bitnet --help' lists them", self.refused("frobnicate"))

    def test_an_unknown_option_gets_a_hint(self):
        err = self.refused("run", "--max-token", "3", "x")
        self.assertIn("no option --max-token; did you mean --max-tokens?", err)
        self.assertIn("did you mean --temperature?", self.refused("run", "--temp=1", "x"))
        self.assertIn("--help' lists them", self.refused("run", "--frobnicate", "x"))
        self.assertIn("no option -q", self.refused("run", "-q"))

    def test_an_option_without_its_value_is_refused(self):
        self.assertIn("--seed needs a value: --seed N", self.refused("run", "--seed"))

    def test_a_flag_with_a_value_is_refused(self):
        self.assertIn("--json takes no value", self.refused("run", "--json=yes", "x"))

    def test_numbers_are_read_to_their_last_character(self):
        for text in ("", "x", "3x", " 3", "-1", "+3", "0x10", "1e3", "3.0",
                     "99999999999999999999999"):
            err = self.refused("run", "--max-tokens", text, "x")
            self.assertIn(f"--max-tokens: '{text}' is not a whole number from 0 to "
                          "1000000", err)
        for text in ("", "warm", "nan", "inf", "-0.1", "0x1p3", " 1", "1 ", "101", "1e999"):
            err = self.refused("run", f"--temperature={text}", "x")
            self.assertIn(f"--temperature: '{text}' is not a number from 0 to 100", err)

    def test_each_bound_is_held(self):
        for option, text in (("--top-p", "0"), ("--top-p", "1.1"), ("--min-p", "2"),
                             ("--repeat-penalty", "0"), ("--repeat-penalty", "11"),
                             ("--callers", "1025"), ("--threads", "257"),
                             ("--top-k", "1000001"), ("--seed", "9007199254740994")):
            self.assertIn(f"{option}: '{text}' is not a", self.refused("run", option, text))

    def test_a_type_of_cache_that_is_none_is_refused(self):
        for command in (("run", "x"), ("perplexity",)):
            for text in ("", "f32", "INT8", "int8 "):
                self.assertIn(f"{command[0]}: --kv-type: '{text}' is neither f16 nor int8",
                              self.refused(*command, f"--kv-type={text}"))

    def test_arguments_and_a_file_are_refused(self):
        self.assertIn("one or the other", self.refused("run", "-f", PROMPTS, "x"))
        self.assertIn("one or the other", self.refused("tokenize", "-f", PROMPTS, "x"))

    def test_two_models_are_refused(self):
        self.assertIn("one model at a time", self.refused("info", "a.gguf", "b.gguf"))

    def test_an_empty_prompt_is_refused(self):
        self.assertIn("prompt 2: is empty", self.refused("run", "a", ""))

    def test_a_prompt_that_is_not_utf8_is_refused_with_its_place(self):
        err = self.refused("run", b"ab\xff".decode("utf-8", "surrogateescape"))
        self.assertIn("prompt 1: byte 3 (0xff) is not UTF-8", err)
        for broken in (b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82",
                       b"\x80", b"\xf8\x88\x80\x80\x80"):
            path = self.file("p.txt", b"fine\n\nx" + broken + b"\n")
            err = self.refused("run", "--file", path)
            self.assertIn(f"{path}: line 3: byte 2 (0x{broken[0]:02x}) is not UTF-8", err)

    def test_a_file_without_prompts_is_refused(self):
        for content in (b"", b"\n\n", b" \t\r\n"):
            path = self.file("empty.txt", content)
            self.assertIn(f"{path}: holds no prompt", self.refused("run", "-f", path))

    def test_a_binary_file_is_no_file_of_prompts(self):
        path = self.file("p.bin", b"one\ntw\0o\n")
        self.assertIn("line 2: has a NUL byte at 3", self.refused("run", "-f", path))

    def test_too_many_prompts_are_refused(self):
        path = self.file("many.txt", b"x\n" * 10001)
        self.assertIn("more than 10000 prompts", self.refused("run", "-f", path))

    def test_a_file_of_prompts_that_cannot_be_read_is_a_failure(self):
        missing = self.folder / "none.txt"
        err = self.refused("run", "--file", missing, expect=1)
        self.assertIn(f"{missing}: cannot open it: No such file or directory", err)
        err = self.refused("run", "--file", self.folder, expect=1)
        self.assertIn("Is a directory", err)

    def test_a_line_break_in_a_name_stays_out_of_the_message(self):
        self.refused("run", "--file", self.folder / "a\nb\x1b[31m", expect=1)

    def test_empty_standard_input_is_refused(self):
        self.assertIn("standard input: holds no prompt", self.refused("run"))


class ModelFileTest(CliTest):
    """What is wrong with a model is told by the library; here it must arrive."""

    def refused(self, path):
        messages = set()
        for arguments in (("info", path), ("run", "--model", path, "x"),
                          ("tokenize", "--model", path, "x")):
            out, err = self.run_program(*arguments, expect=1)
            self.assertEqual(out, "")
            self.assert_one_line(err, str(path))
            messages.add(err)
        return messages.pop()

    def test_a_missing_file(self):
        self.refused(self.folder / "none.gguf")

    def test_a_directory(self):
        self.refused(self.folder)

    def test_an_empty_file(self):
        self.refused(self.file("empty.gguf", b""))

    def test_a_file_of_another_kind(self):
        self.refused(self.file("text.gguf", b"Once upon a time\n" * 100))

    def test_a_truncated_model(self):
        whole = MODEL.read_bytes()
        for n_bytes in (3, 4, 20, 1000, len(whole) // 2, len(whole) - 1):
            self.refused(self.file("cut.gguf", whole[:n_bytes]))

    @unittest.skipIf(os.geteuid() == 0, "root may read everything")
    def test_a_file_that_may_not_be_read(self):
        path = self.file("secret.gguf", b"GGUF")
        path.chmod(0)
        self.refused(path)


class OutputTest(CliTest):
    def test_a_full_disk_is_a_failure(self):
        for arguments in (("--version",), ("info",), ("info", "--json"),
                          ("tokenize", "x"), ("run", "-n", "4", "Once"),
                          ("run", "-n", "4", "--json", "Once")):
            with open("/dev/full", "wb") as full:
                _, err = self.run_program(*arguments, expect=1, stdout=full)
            self.assertIn("bitnet: cannot write to standard output: "
                          "No space left on device\n", err, arguments)

    def test_a_closed_standard_output_is_a_failure(self):
        # As `>&-` in a shell: the number 1 is free when the program starts.
        with start("info", stdout=None, preexec_fn=lambda: os.close(1)) as process:
            _, err = process.communicate()
        self.assertEqual(process.returncode, 1)
        self.assert_one_line(err.decode(), "cannot write to standard output")


if __name__ == "__main__":
    unittest.main()
