#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""test_cli_inspect.py - `bitnet info` and `bitnet tokenize` on the shipped model."""
import json
import shutil
import unittest

from support import MODEL, PROGRAM, CliTest


class InfoTest(CliTest):
    def test_lines_tell_what_the_model_is(self):
        out, _ = self.run_program("info", MODEL)
        fields = dict(line.split(None, 1) for line in out.splitlines()
                      if not line.startswith(("bos", "eos", "norm", "rope", "adds",
                                              "chat")))
        self.assertEqual(fields["file"], str(MODEL))
        self.assertEqual(fields["architecture"], "bitnet-b1.58")
        self.assertEqual(fields["weights"], "I2_S")
        self.assertEqual(fields["vocabulary"], "2048 tokens")

    def test_json_has_the_same_and_the_file_size(self):
        out, _ = self.run_program("info", "--json", MODEL)
        info = json.loads(out)
        self.assertEqual(info["path"], str(MODEL))
        self.assertEqual(info["mapped_bytes"], MODEL.stat().st_size)
        self.assertEqual(info["n_vocab"], 2048)
        self.assertGreater(info["n_parameters"], 3_000_000)

    def test_the_default_is_the_shipped_model(self):
        out, _ = self.run_program("info", "--json", cwd="/")
        self.assertEqual(json.loads(out)["mapped_bytes"], MODEL.stat().st_size)

    def test_a_program_without_its_model_says_where_it_looked(self):
        lonely = self.folder / "bitnet"
        shutil.copy(PROGRAM, lonely)
        out, err = self.run_program("info", expect=1, executable=lonely)
        self.assertEqual(out, "")
        self.assert_one_line(err, f"{self.folder}/../share/bitnet/models")


class TokenizeTest(CliTest):
    def test_tokens_put_together_are_the_text(self):
        text = "Once upon a time, there was a “cat” 🐱 and 日本."
        out, _ = self.run_program("tokenize", "--json", "--no-bos", text)
        (entry,) = json.loads(out)
        self.assertEqual(entry["text"], text)
        pieces = b"".join(bytes(token["bytes"]) for token in entry["tokens"])
        self.assertEqual(pieces.decode("utf-8"), text)

    def test_lines_show_ids_and_bytes(self):
        out, _ = self.run_program("tokenize", "--no-bos", 'say "a\\b"\x01')
        for line in out.splitlines():
            self.assertRegex(line, r'^ *\d+  ".+"$')
        self.assertIn('\\"', out)
        self.assertIn("\\u0001", out)

    def test_the_first_token_is_bos_if_the_model_wants_it(self):
        info = json.loads(self.run_program("info", "--json")[0])
        with_bos = json.loads(self.run_program("tokenize", "--json", "Once")[0])
        bare = json.loads(self.run_program("tokenize", "--json", "--no-bos", "Once")[0])
        ids = [token["id"] for token in with_bos[0]["tokens"]]
        bare_ids = [token["id"] for token in bare[0]["tokens"]]
        bos = [info["bos_token"]] if info["adds_bos"] else []
        self.assertEqual(ids, bos + bare_ids)

    def test_control_tokens_are_read_only_where_asked(self):
        name = "<|endoftext|>"
        asked = json.loads(self.run_program("tokenize", "--json", "--no-bos", "--special",
                                            name)[0])
        plain = json.loads(self.run_program("tokenize", "--json", "--no-bos", name)[0])
        self.assertEqual(len(asked[0]["tokens"]), 1)
        self.assertGreater(len(plain[0]["tokens"]), 1)

    def test_standard_input_has_one_text_per_line(self):
        out, _ = self.run_program("tokenize", "--json", stdin=b"one\n\ntwo\r\nthree")
        self.assertEqual([entry["text"] for entry in json.loads(out)],
                         ["one", "two", "three"])


if __name__ == "__main__":
    unittest.main()
