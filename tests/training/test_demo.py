"""Tests of training/demo.py."""

import collections
import random
import tomllib

from training import demo


def test_the_same_seed_gives_the_same_rows_and_another_seed_others() -> None:
    assert demo.generate(1) == demo.generate(1) != demo.generate(2)


def test_every_intent_is_there_as_often_as_said_and_no_slot_is_left() -> None:
    for split, rows in demo.generate(3).items():
        counts = collections.Counter(intent for _, intent in rows)
        assert len(counts) == 12
        assert set(counts.values()) == {demo.ROWS_PER_INTENT[split]}
        assert not [text for text, _ in rows if set("<>[]|") & set(text)]


def test_sentences_and_frames_of_the_test_split_are_held_out() -> None:
    grammar = tomllib.loads(demo.GRAMMAR.read_text())
    for sentences in grammar["intents"].values():
        assert not set(sentences["train"]) & set(sentences["test"])
    assert not set(grammar["frame"]["train_mix"]) & set(grammar["frame"]["test_mix"])
    rows = demo.generate(3)
    assert not {text for text, _ in rows["train"]} & {text for text, _ in rows["test"]}


def test_a_slip_swaps_two_letters_and_leaves_short_texts_alone() -> None:
    source = random.Random(1)
    slipped = demo._slip("please help", source)
    assert slipped != "please help"
    assert sorted(slipped) == sorted("please help")
    assert demo._slip("a b", source) == "a b"
