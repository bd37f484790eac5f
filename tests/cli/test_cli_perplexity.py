#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""test_cli_perplexity.py - `bitnet perplexity` on the shipped model.

The numbers are worked out again here from the log-probabilities it prints.
"""
import json
import math
import unittest

from support import CliTest

TEXT = ("Once upon a time there was a little girl named Lily. She had a red ball. "
        "One day the ball went into the big tree. Lily was sad. Her friend Tom came "
        "and said, \"Do not be sad. I can help you.\" He got the ball, and they played "
        "all day long.\n") * 2


class PerplexityTest(CliTest):
    def setUp(self):
        super().setUp()
        self.text = self.file("story.txt", TEXT.encode())

    def measure(self, *options):
        out, err = self.run_program("perplexity", "--file", self.text, "--json",
                                    "--logprobs", *options)
        self.assertEqual(err, "")
        return json.loads(out)

    def assert_adds_up(self, found):
        losses = [-p for p in found["logprobs"] if p is not None]
        self.assertEqual(len(losses), found["n_scored"])
        mean = math.fsum(losses) / len(losses)
        variance = math.fsum((x - mean) ** 2 for x in losses) / (len(losses) - 1)
        error = math.sqrt(variance / len(losses))
        self.assertAlmostEqual(found["loss"], mean, places=9)
        self.assertAlmostEqual(found["loss_error"], error, places=9)
        self.assertAlmostEqual(found["perplexity"], math.exp(mean), places=6)
        self.assertAlmostEqual(found["perplexity_error"], math.exp(mean) * error,
                               places=6)

    def test_the_perplexity_is_that_of_the_log_probabilities(self):
        found = self.measure()
        self.assert_adds_up(found)
        self.assertEqual(found["n_windows"], 1)
        self.assertEqual(found["n_scored"], found["n_tokens"] - 1)
        self.assertEqual(found["n_computed"], found["n_tokens"] - 1)
        self.assertIsNone(found["logprobs"][0])
        # A story that a model of stories finds likely, and far from certain.
        self.assertLess(found["perplexity"], 30)
        self.assertGreater(found["perplexity"], 1.5)

    def test_the_tokens_are_those_of_tokenize(self):
        out, _ = self.run_program("tokenize", "--json", TEXT)
        self.assertEqual(self.measure()["tokens"],
                         [token["id"] for token in json.loads(out)[0]["tokens"]])

    def test_windows_leave_out_their_first_tokens_only(self):
        found = self.measure("--ctx", "32")
        self.assert_adds_up(found)
        left_out = [i for i, p in enumerate(found["logprobs"]) if p is None]
        self.assertEqual(left_out, list(range(0, found["n_tokens"], 32)))

    def test_a_shorter_stride_scores_every_token_once(self):
        found = self.measure("--ctx", "32", "--stride", "8")
        self.assert_adds_up(found)
        self.assertEqual([i for i, p in enumerate(found["logprobs"]) if p is None], [0])
        whole = self.measure()
        # The first window has the same context, so the same numbers.
        self.assertEqual(found["logprobs"][:32], whole["logprobs"][:32])

    def test_threads_change_no_number(self):
        one, three = (self.measure("--ctx", "48", "--stride", "40", "--threads", n)
                      for n in (1, 3))
        self.assertEqual(one["logprobs"], three["logprobs"])
        self.assertEqual(one["loss"], three["loss"])

    def test_a_cache_in_int8_gives_other_numbers_near_by(self):
        usual, half, int8 = (self.measure(*options) for options in
                             ((), ("--kv-type", "f16"), ("--kv-type", "int8")))
        self.assertEqual(usual["logprobs"], half["logprobs"])
        self.assertNotEqual(half["logprobs"], int8["logprobs"])
        self.assertAlmostEqual(half["loss"], int8["loss"], delta=0.02)

    def test_lines_tell_the_same(self):
        found = self.measure()
        out, err = self.run_program("perplexity", stdin=TEXT.encode())
        self.assertEqual(err, "")
        self.assertIn(f"perplexity  {found['perplexity']:.4f} +- ", out)
        self.assertIn(f"loss        {found['loss']:.5f} +- ", out)
        self.assertIn("tokens/s", out)

    def test_wrong_usage_and_texts_are_one_line(self):
        for options, part in ((("--ctx", "1"), "--ctx"), (("--stride", "600"), "--stride"),
                              (("--logprobs",), "--json"), (("story.txt",), "--file")):
            _, err = self.run_program("perplexity", "--file", self.text, *options,
                                      expect=2)
            self.assert_one_line(err, part)
        for text, part in ((b"", "needs two"), (b"ab\xff", "byte 3")):
            _, err = self.run_program("perplexity", stdin=text, expect=1)
            self.assert_one_line(err, part)


if __name__ == "__main__":
    unittest.main()
