#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""test_cli_run.py - `bitnet run` on the shipped model."""
import json
import os
import pty
import re
import signal
import struct
import subprocess
import tempfile
import termios
import unittest
from fcntl import ioctl

from support import PROMPTS, TIMEOUT_S, CliTest, start

LINES = PROMPTS.read_text().splitlines()


def blocks_of(out, n):
    """The texts of output for `n` prompts, which begin with [1], [2], ..."""
    parts = re.split(r"(?:^|\n)\[(\d+)\] ", out)
    assert [int(number) for number in parts[1::2]] == list(range(1, n + 1)), out
    return parts[2::2]


class TextTest(CliTest):
    def test_one_prompt_gives_its_text_and_nothing_else(self):
        out, err = self.run_program("run", "-n", "16", "Once upon a time")
        self.assertTrue(out.startswith("Once upon a time"))
        self.assertTrue(out.endswith("\n"))
        self.assertGreater(len(out), len("Once upon a time\n"))
        self.assertIn("tokens/s", err)
        self.assertNotIn("gain", err)

    def test_several_prompts_come_in_their_order(self):
        out, err = self.run_program("run", "-n", "24", "--file", PROMPTS)
        texts = blocks_of(out, len(LINES))
        for prompt, text in zip(LINES, texts):
            self.assertTrue(text.startswith(prompt))
        self.assertIn(f"{len(LINES)} prompts from {len(LINES)} caller threads", err)
        self.assertRegex(err, r"prompt \d once more, alone: \d+ tokens in ")
        self.assertRegex(err, r"gain over one at a time +\d+\.\d\dx")

    def test_a_cache_in_int8_gives_one_answer_too(self):
        outs = {self.run_program("run", "-n", "24", "--kv-type", "int8", "--callers",
                                 callers, "--threads", threads, *LINES[:4])[0]
                for callers, threads in ((1, 1), (4, 2), (32, 3))}
        self.assertEqual(len(outs), 1)

    def test_texts_depend_on_neither_callers_nor_threads(self):
        outs = {self.run_program("run", "-n", "24", "--callers", callers, "--threads",
                                 threads, *LINES[:4])[0]
                for callers, threads in ((1, 1), (2, 2), (4, 1), (4, 2), (32, 3))}
        self.assertEqual(len(outs), 1)

    def test_the_seed_names_the_text(self):
        def text(*options):
            return self.run_program("run", "-n", "32", *options, LINES[0])[0]
        self.assertEqual(text("--seed", "7"), text("--seed=7"))
        self.assertNotEqual(text("--seed", "7"), text("--seed", "8"))

    def test_each_prompt_has_the_next_seed(self):
        out, _ = self.run_program("run", "-n", "32", "--json", "-s", "7", *[LINES[0]] * 3)
        requests = json.loads(out)["requests"]
        self.assertEqual([request["seed"] for request in requests], [7, 8, 9])
        self.assertEqual(len({request["text"] for request in requests}), 3)

    def test_temperature_0_does_not_draw(self):
        outs = {self.run_program("run", "-n", "16", "--temperature", "0", "--seed", seed,
                                 LINES[0])[0] for seed in (1, 2)}
        self.assertEqual(len(outs), 1)

    def test_prompts_come_from_a_pipe(self):
        by_pipe, _ = self.run_program("run", "-n", "8", stdin=b"\nThe cat\r\n\nThe dog")
        by_argument, _ = self.run_program("run", "-n", "8", "The cat", "The dog")
        self.assertEqual(by_pipe, by_argument)

    def test_without_prompts_the_examples_are_used(self):
        with start("run", "-n", "4") as process: # standard input is /dev/null
            out, err = process.communicate(timeout=TIMEOUT_S)
        self.assertEqual(process.returncode, 0)
        self.assertIn(b"using the examples", err)
        self.assertEqual(len(blocks_of(out.decode(), len(LINES))), len(LINES))

    def test_every_character_of_a_prompt_comes_back(self):
        prompt = "“Tom”\tsaid: 日本 🐱\nand"
        out, _ = self.run_program("run", "-n", "4", prompt)
        self.assertTrue(out.startswith(prompt))

    def test_the_table_has_whole_characters_in_its_columns(self):
        _, err = self.run_program("run", "-n", "2", "é" * 100, "日" * 100, "a\nb\x1b[31m")
        self.assertIn("é" * 35 + "…", err)
        self.assertIn("日" * 17 + "…", err)
        self.assertNotIn("\x1b", err)

    def test_a_stop_text_ends_the_text_before_it(self):
        out, _ = self.run_program("run", "-n", "60", "--temperature", "0", LINES[0])
        word = out[len(LINES[0]):].split()[5]
        stopped, err = self.run_program("run", "-n", "60", "--temperature", "0",
                                        "--stop", "#never#", "--stop", word, LINES[0])
        end = out.index(word, len(LINES[0]))
        self.assertEqual(stopped, out[:end] + "\n")
        self.assertIn("stop", err)

    def test_a_grammar_and_a_schema_are_kept_to(self):
        with tempfile.TemporaryDirectory() as folder:
            rules = os.path.join(folder, "rules.gbnf")
            with open(rules, "w") as file:
                file.write('root ::= " yes" | " no"\n')
            out, _ = self.run_program("run", "--grammar", rules, "Is it red?")
            self.assertIn(out, ("Is it red? yes\n", "Is it red? no\n"))
            schema = os.path.join(folder, "schema.json")
            with open(schema, "w") as file:
                json.dump({"type": "array", "items": {"enum": [1, 2]}, "minItems": 2,
                           "maxItems": 3}, file)
            out, _ = self.run_program("run", "--json-schema", schema, "Numbers:")
            self.assertIn(len(json.loads(out[len("Numbers:"):])), (2, 3))


class VerifyTest(CliTest):
    def test_each_prompt_alone_gives_the_same(self):
        _, err = self.run_program("run", "-n", "24", "--verify", "--file", PROMPTS)
        self.assertIn(f"verify: all {len(LINES)} equal", err)
        self.assertIn("the same, one at a time: ", err)

    def test_json_tells_it_too(self):
        out, err = self.run_program("run", "-n", "8", "--verify", "--json", *LINES[:3])
        self.assertEqual(err, "")
        report = json.loads(out)
        self.assertEqual(report["verify"], {"n_compared": 3, "n_equal": 3})
        self.assertEqual(report["together"]["n_callers"], 3)
        self.assertEqual(report["one_at_a_time"]["n_requests"], 3)
        self.assertEqual(report["one_at_a_time"]["n_tokens"],
                         report["together"]["n_tokens"])
        self.assertAlmostEqual(
            report["gain"], report["together"]["tokens_per_second"]
            / report["one_at_a_time"]["tokens_per_second"], places=5)
        for request in report["requests"]:
            self.assertTrue(request["equal_alone"])
            self.assertEqual(request["n_tokens"], len(request["tokens"]))
            self.assertIn(request["ended"], ("stop", "length"))
            self.assertGreater(request["time_to_first_token_ms"], 0)
            self.assertGreaterEqual(request["total_ms"], request["time_to_first_token_ms"])


class FailureTest(CliTest):
    def test_a_prompt_that_is_too_long_fails_alone(self):
        out, err = self.run_program("run", "-n", "4", "x " * 5000, "Once", expect=1)
        self.assertRegex(err, r"(?m)^bitnet: prompt 1: .+$")
        self.assertIn("refused", err)
        self.assertTrue(blocks_of(out, 2)[1].startswith("Once"))

    def test_json_carries_the_sentence(self):
        out, _ = self.run_program("run", "-n", "4", "--json", "x " * 5000, expect=1)
        (request,) = json.loads(out)["requests"]
        self.assertEqual(request["status"], "CONTEXT_LENGTH_EXCEEDED")
        self.assertTrue(request["error"])

    def test_a_reader_that_leaves_is_a_failure_and_no_crash(self):
        with start("run", "-n", "200", LINES[0]) as process:
            process.stdout.read(1)
            process.stdout.close()
            _, err = process.stderr.read(), process.wait(TIMEOUT_S)
            self.assertEqual(err, 1)


class InterruptTest(CliTest):
    def begin(self, *arguments):
        """Starts an endless run and returns once its first text has come."""
        process = start("run", "-n", "400", "--callers", "2", *arguments, *LINES * 40)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        first = process.stdout.read(len("[1] " + LINES[0]) + 1)
        return process, first

    def test_the_first_one_prints_what_there_is(self):
        process, first = self.begin()
        process.send_signal(signal.SIGINT)
        rest, err = process.communicate(timeout=TIMEOUT_S)
        self.assertEqual(process.returncode, 130)
        out = (first + rest).decode("utf-8")
        self.assertTrue(out.startswith("[1] " + LINES[0]))
        self.assertTrue(out.endswith("\n"))
        self.assertIn("cancelled", err.decode())
        self.assertIn("not begun", err.decode())
        self.assertIn("interrupted: this is what there is", err.decode())

    def test_one_before_the_first_text_ends_it_too(self):
        # Nothing is ready to be read while it waits for prompts or loads; with the
        # prompts coming from a pipe that stays open, it waits for them.
        with start("run", stdin=-1) as process:
            process.send_signal(signal.SIGINT)
            process.wait(TIMEOUT_S)
            self.assertIn(process.returncode, (130, -signal.SIGINT))

    def test_the_second_one_ends_at_once(self):
        # Nobody reads, and a prompt does not fit into the pipe: the first interrupt
        # can cancel the request, but the program cannot finish writing. Signals that
        # come faster than they are taken are one, so it may take more than two.
        with start("run", "-n", "1", "x" * 100000) as process:
            self.assertEqual(process.stdout.read(1), b"x") # it is writing
            for _ in range(TIMEOUT_S * 10):
                process.send_signal(signal.SIGINT)
                try:
                    process.wait(0.1)
                    break
                except subprocess.TimeoutExpired:
                    pass
            else:
                process.kill()
            self.assertEqual(process.returncode, 130)
            self.assertEqual(process.stderr.read(), b"") # no table any more


class TerminalTest(CliTest):
    def run_on_terminal(self, *arguments):
        """Runs with a terminal of 60 columns for all three streams."""
        try:
            master, slave = pty.openpty()
        except OSError as error:
            self.skipTest(f"no pseudo-terminal to be had: {error}")
        ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 20, 60, 0, 0))
        with start(*arguments, stdin=slave, stdout=slave, stderr=slave,
                   env={**os.environ, "TERM": "xterm"}) as process:
            os.close(slave)
            screen = b""
            while True:
                try:
                    part = os.read(master, 65536)
                except OSError: # the program's end of the terminal is closed
                    break
                if not part:
                    break
                screen += part
            process.wait(TIMEOUT_S)
        os.close(master)
        return process.returncode, screen.decode("utf-8").replace("\r\n", "\n")

    def test_progress_is_drawn_and_taken_away(self):
        code, screen = self.run_on_terminal("run", "-n", "24", *LINES[:4])
        self.assertEqual(code, 0)
        self.assertRegex(screen, r"\d of 4 done, \d+ tokens, \d+ tokens/s")
        self.assertRegex(screen, r"\r\x1b\[\d+A\x1b\[J")
        # What is left when every frame is erased: texts in order, then the table.
        left = re.sub(r"\n?[^\x1b]*\r\x1b\[\d+A\x1b\[J", "\n", screen)
        self.assertNotIn("\x1b", left)
        self.assertIn("tokens/s", left)
        for i, prompt in enumerate(LINES[:4]):
            self.assertIn(f"[{i + 1}] {prompt}", screen)

    def test_no_line_of_the_progress_is_wider_than_the_terminal(self):
        _, screen = self.run_on_terminal("run", "-n", "24", *LINES[:4])
        frames = re.findall(r"((?: +\d  [^\n]*\n)+\d of 4 done[^\n]*)\n", screen)
        self.assertTrue(frames)
        for frame in frames:
            for line in frame.splitlines():
                self.assertLess(len(line), 60)

    def test_a_single_prompt_streams_without_progress(self):
        code, screen = self.run_on_terminal("run", "-n", "8", LINES[0])
        self.assertEqual(code, 0)
        self.assertNotIn("\x1b", screen)
        self.assertTrue(screen.startswith(LINES[0]))

    def test_control_characters_do_not_reach_the_terminal(self):
        _, screen = self.run_on_terminal("run", "-n", "2", "a\x1b[31mb\x07")
        self.assertIn("a?[31mb?", screen)
        self.assertNotIn("\x1b", screen)


if __name__ == "__main__":
    unittest.main()
