#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""test_cli_synth.py - `bitnet synth`: what it writes loads, runs and is repeatable.

The large shapes are looked at with --dry-run, and with two layers each.
"""
import hashlib
import json
import os
import resource
import signal
import time
import unittest

from support import CliTest, start

# As published: architecture, whether the head is tied, and what `bitnet info` calls
# n_layers, n_embd, n_ff, n_heads, n_kv_heads, head_dim, n_vocab and n_ctx_train.
SHAPES = {
    "2b4t": ("bitnet-b1.58", True, 30, 2560, 6912, 20, 5, 128, 128256, 4096),
    "large": ("bitnet", True, 24, 1536, 4096, 16, 16, 96, 32002, 2048),
    "3b": ("bitnet", True, 26, 3200, 8640, 32, 32, 100, 32002, 2048),
    "8b": ("llama", False, 32, 4096, 14336, 32, 8, 128, 128256, 8192),
    "falcon3-1b": ("llama", False, 18, 2048, 8192, 8, 4, 256, 131072, 8192),
    "falcon3-3b": ("llama", False, 22, 3072, 9216, 12, 4, 256, 131072, 32768),
    "falcon3-7b": ("llama", False, 28, 3072, 23040, 12, 4, 256, 131072, 32768),
    "falcon3-10b": ("llama", False, 40, 3072, 23040, 12, 4, 256, 131072, 32768),
}

SMALL = ("--layers", 2, "--embd", 256, "--ffn", 512, "--heads", 4, "--kv-heads", 2,
         "--vocab", 700, "--ctx", 128)

# Sanitizers keep shadows of all memory, which a limit would count.
IS_SANITIZED = os.environ.get("BITNET_SANITIZE", "") != ""


class SynthTest(CliTest):
    def make(self, name, *arguments, **options):
        path = self.folder / name
        out, err = self.run_program("synth", "--json", *arguments, path, **options)
        self.assertEqual(err, "")
        return path, json.loads(out)

    def info(self, path):
        return json.loads(self.run_program("info", "--json", path)[0])

    def refused(self, *arguments, expect=2):
        out, err = self.run_program("synth", *arguments, expect=expect)
        self.assertEqual(out, "")
        self.assert_one_line(err)
        return err


class WritingTest(SynthTest):
    def test_the_file_is_a_model_of_the_sizes_asked_for(self):
        path, summary = self.make("small.gguf", *SMALL)
        info = self.info(path)
        self.assertEqual(path.stat().st_size, summary["file_bytes"])
        self.assertEqual(info["n_parameters"], summary["n_parameters"])
        sizes = {"n_layers": 2, "n_embd": 256, "n_ff": 512, "n_heads": 4, "head_dim": 64,
                 "n_kv_heads": 2, "n_vocab": 700, "n_ctx_train": 128}
        self.assertEqual({key: info[key] for key in sizes}, sizes)

    def test_the_model_writes_different_texts_for_different_prompts(self):
        path, _ = self.make("small.gguf", *SMALL, "--layers", 6)
        out, _ = self.run_program("run", "--json", "--verify", "--max-tokens", 24,
                                  "--model", path, "alpha", "omega")
        texts = [request["tokens"] for request in json.loads(out)["requests"]]
        self.assertNotEqual(texts[0], texts[1])
        # A few tokens may follow each other in circles, but not all of them.
        self.assertGreater(len(set(texts[0] + texts[1])), 12)

    def test_text_becomes_words_and_bytes_and_comes_back(self):
        path, _ = self.make("small.gguf", *SMALL)
        text = "go to the zoo, 日本\n"
        out, _ = self.run_program("tokenize", "--json", "--no-bos", "--model", path, text)
        tokens = json.loads(out)[0]["tokens"]
        back = b"".join(bytes(token["bytes"]) for token in tokens)
        self.assertEqual(back.decode(), text)
        self.assertLess(len(tokens), len(text.encode()))

    def test_equal_seeds_give_equal_bytes_and_others_do_not(self):
        first, _ = self.make("first.gguf", "--seed", 7, *SMALL)
        again, _ = self.make("again.gguf", "--seed", 7, *SMALL)
        other, _ = self.make("other.gguf", "--seed", 8, *SMALL)
        self.assertEqual(first.read_bytes(), again.read_bytes())
        self.assertNotEqual(first.read_bytes(), other.read_bytes())

    def test_a_seed_names_the_same_bytes_on_every_machine(self):
        path, _ = self.make("small.gguf", "--seed", 7, *SMALL)
        self.assertEqual(
            hashlib.sha256(path.read_bytes()).hexdigest(),
            "466eacc85f611fbe747d0ccecd8c77d66d8b11f28601420859300ae29fb5be33")

    def test_rows_that_share_blocks_are_written_and_read(self):
        path, _ = self.make("odd.gguf", *SMALL, "--embd", 96, "--heads", 3, "--kv-heads",
                            1, "--ffn", 160)
        info = self.info(path)
        # q and output, k and v, gate and up, down: rows of 96 and 160 are padded.
        self.assertEqual(info["repacked_bytes"],
                         2 * 32 * (2 * 96 + 2 * 32 + 2 * 160 + 2 * 96))
        self.run_program("run", "--verify", "--max-tokens", 8, "--model", path, "one",
                         "two", "three")

    def test_every_type_of_head_and_every_architecture_loads(self):
        for arch in ("bitnet-b1.58", "bitnet", "llama"):
            for head in ("f16", "bf16,tied", "f32", "q8_0", "q6_k"):
                with self.subTest(arch=arch, head=head):
                    path, _ = self.make("model.gguf", "--force", "--arch", arch, "--head",
                                        head, *SMALL)
                    self.run_program("run", "--max-tokens", 4, "--model", path, "word")

    def test_a_head_in_blocks_has_nearly_the_weights_of_the_plain_one(self):
        text = b"go to the zoo and be so good as to come back to me " * 4
        losses = {}
        # An odd number of rows of 272 or 210 bytes: the next tensor is aligned all the same.
        for head, row_bytes in (("f32", 1024), ("q8_0", 272), ("q6_k", 210)):
            path, summary = self.make(head + ".gguf", *SMALL, "--vocab", 701, "--head", head)
            self.assertEqual(summary["dense_bytes"], 701 * row_bytes)
            self.assertEqual(path.stat().st_size, summary["file_bytes"])
            out, _ = self.run_program("perplexity", "--json", "--model", path, stdin=text)
            losses[head] = json.loads(out)["loss"]
        self.assertNotEqual(losses["q8_0"], losses["f32"])
        self.assertAlmostEqual(losses["q8_0"], losses["f32"], delta=0.05)
        self.assertAlmostEqual(losses["q6_k"], losses["f32"], delta=0.1)

    def test_rows_must_be_whole_blocks_of_the_head(self):
        err = self.refused(*SMALL, "--embd", 96, "--heads", 3, "--kv-heads", 1, "--head",
                           "q6_k", self.folder / "x")
        self.assertIn("--embd is 96, expected a multiple of 256", err)

    def test_the_smallest_vocabulary_is_bytes_and_two_more(self):
        path, _ = self.make("small.gguf", *SMALL, "--vocab", 258)
        self.assertEqual(self.info(path)["n_vocab"], 258)
        self.assertIn("at least 258", self.refused("--vocab", 257, self.folder / "x"))

    @unittest.skipIf(IS_SANITIZED, "shadow memory counts too")
    def test_memory_does_not_grow_with_the_model(self):
        limit = 8 << 20

        def limit_memory():
            resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))

        _, summary = self.make("large.gguf", "--layers", 1, "--vocab", 4096,
                               preexec_fn=limit_memory)
        self.assertGreater(summary["file_bytes"], 4 * limit)


class NamedShapeTest(SynthTest):
    def test_sizes_of_the_2b_shape_are_those_of_the_published_file(self):
        out, _ = self.run_program("synth", "--dry-run", "--json")
        summary = json.loads(out)
        self.assertEqual(summary["n_parameters"], 2_412_820_480)
        self.assertEqual(summary["n_tensors"], 332)
        self.assertEqual(summary["ternary_bytes"], 521_017_920)
        self.assertEqual(summary["dense_bytes"], 656_670_720)
        self.assertEqual(summary["norm_bytes"], 1_761_280)

    def test_a_dry_run_tells_the_sizes_and_writes_nothing(self):
        for shape in SHAPES:
            with self.subTest(shape):
                path = self.folder / "dry.gguf"
                out, _ = self.run_program("synth", "-n", "--json", "--shape", shape, path)
                summary = json.loads(out)
                parts = ("header", "ternary", "dense", "norm")
                self.assertEqual(summary["file_bytes"],
                                 sum(summary[part + "_bytes"] for part in parts))
                self.assertFalse(path.exists())

    def test_parameters_are_counted_from_the_published_numbers(self):
        for shape, (arch, tied, n_layers, embd, ffn, heads, kv_heads, head_dim, vocab,
                    _) in SHAPES.items():
            with self.subTest(shape):
                out, _ = self.run_program("synth", "-n", "--json", "--shape", shape)
                summary = json.loads(out)
                keys = kv_heads * head_dim
                norms = 2 * embd + (embd + ffn if arch != "llama" else 0)
                layer = 2 * embd * embd + 2 * embd * keys + 3 * embd * ffn + norms
                self.assertEqual(heads * head_dim, embd)
                self.assertEqual(summary["architecture"], arch)
                self.assertEqual(summary["n_parameters"],
                                 n_layers * layer + embd +
                                 vocab * embd * (1 if tied else 2))

    def test_every_named_shape_runs_the_same_for_one_caller_and_for_four(self):
        prompts = ("alpha", "beta or gamma", "a", "omega, and no more")
        greedy = ("--json", "--temperature", 0, "--max-tokens", 5)
        n_layers = 1 if IS_SANITIZED else 2
        for shape, (arch, _, _, *sizes, _, _) in SHAPES.items():
            with self.subTest(shape):
                path, _ = self.make("two.gguf", "--force", "--shape", shape, "--layers",
                                    n_layers, "--vocab", 300, "--ctx", 64)
                info = self.info(path)
                names = ("n_embd", "n_ff", "n_heads", "n_kv_heads", "head_dim")
                self.assertEqual(info["architecture"], arch)
                self.assertEqual([info[name] for name in names], sizes)
                self.assertEqual(info["repacked_bytes"],
                                 n_layers * 3200 * 8704 // 4 if shape == "3b" else 0)
                texts = []
                for callers in 1, 4:
                    out, _ = self.run_program("run", *greedy, "--callers", callers,
                                              "--threads", (callers + 1) // 2, "--model",
                                              path, *prompts)
                    requests = json.loads(out)["requests"]
                    texts.append([request["tokens"] for request in requests])
                self.assertEqual(texts[0], texts[1])
                self.assertGreater(sum(map(len, texts[0])), 8)  # some may have ended
                self.assertGreater(len(set(map(tuple, texts[0]))), 1)


class RefusalTest(SynthTest):
    def test_a_file_that_is_there_stays_unless_forced(self):
        path = self.file("taken.gguf", b"precious")
        err = self.refused(*SMALL, path, expect=1)
        self.assertIn("--force", err)
        self.assertEqual(path.read_bytes(), b"precious")
        self.make("taken.gguf", "--force", *SMALL)
        self.assertEqual(path.read_bytes()[:4], b"GGUF")
        self.assertEqual([each.name for each in self.folder.iterdir()], ["taken.gguf"])

    def fails_within_a_limit(self, *arguments):
        """Asks for more than the system lets this process write."""
        def limit_files():
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

        out, err = self.run_program("synth", *arguments, expect=1, preexec_fn=limit_files)
        self.assertEqual(out, "")
        self.assert_one_line(err, "cannot write", "nothing is left of it")

    def test_what_was_written_of_a_failure_is_removed(self):
        self.fails_within_a_limit(*SMALL, self.folder / "model.gguf")
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_a_failed_replacement_leaves_the_old_file(self):
        path = self.file("old.gguf", b"precious")
        self.fails_within_a_limit("--force", *SMALL, path)
        self.assertEqual(path.read_bytes(), b"precious")
        self.assertEqual([each.name for each in self.folder.iterdir()], ["old.gguf"])

    def test_an_interrupt_removes_what_was_written(self):
        path = self.folder / "model.gguf"
        with start("synth", "--layers", 40, "--vocab", 300, path) as process:
            while not path.exists() and process.poll() is None:
                time.sleep(0.001)
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
        self.assertEqual(process.returncode, -signal.SIGINT)
        self.assertFalse(path.exists())

    def test_a_signal_that_is_ignored_changes_nothing(self):
        def ignore():
            signal.signal(signal.SIGHUP, signal.SIG_IGN)

        path = self.folder / "model.gguf"
        with start("synth", "--layers", 4, "--vocab", 300, path,
                   preexec_fn=ignore) as process:
            while not path.exists() and process.poll() is None:
                time.sleep(0.001)
            process.send_signal(signal.SIGHUP)
            process.communicate(timeout=60)
        self.assertEqual(process.returncode, 0)
        self.assertTrue(path.exists())

    def test_shapes_that_cannot_be_are_refused_with_the_reason(self):
        path = self.folder / "model.gguf"
        for arguments, words in (
                (("--embd", 200), "--embd is 200, expected a multiple of 32"),
                (("--ffn", 100), "--ffn is 100, expected a multiple of 32"),
                (("--embd", 96, "--heads", 16, "--kv-heads", 1),
                 "--kv-heads is 1, which makes matrices of 6 x 96 weights"),
                (("--heads", 3), "--heads is 3, expected a divisor of --embd 2560"),
                (("--kv-heads", 3), "--kv-heads is 3, expected a divisor of --heads 20"),
                (("--shape", "9b"), "there is no shape '9b'; there are 2b4t, large"),
                (("--arch", "gpt2"), "'gpt2' is not bitnet-b1.58, bitnet or llama"),
                (("--head", "q4_0"), "'q4_0' is not f16, bf16, f32, q8_0 or q6_k"),
                (("--shape", "large", "--head", "f16,untied"), "--head is untied"),
                (("--layers", 1025), "--layers: '1025' is not a whole number")):
            with self.subTest(arguments):
                self.assertIn(words, self.refused(*arguments, path))
        self.assertIn("0 files are named", self.refused())
        self.assertIn("2 files are named", self.refused("a", "b"))
        self.assertIn("cannot create", self.refused("/nowhere/x.gguf", expect=1))


if __name__ == "__main__":
    unittest.main()
