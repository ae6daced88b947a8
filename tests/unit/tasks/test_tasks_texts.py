import gzip
import pickle
import re
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from beyondprop.errors import UserError, install
from beyondprop.tasks.texts import BytePairs, Characters, Text, text_of

TEXT = "".join(f"{number} cats sat on {number} mats, and so on.\n" for number in range(60))


def of(text: str, length: int = 8, byte_pairs: int | None = None) -> Text:
    return Text(partial(given, text), length, byte_pairs)


def given(text: str, folder: Path | None) -> tuple[str, str]:
    del folder
    return "a text", text


def test_parts_are_taken_by_position_and_windows_do_not_overlap() -> None:
    text = "abcdefghij" * 40
    data, vocabulary = of(text).made()
    assert len(vocabulary) == 10
    for part, begin, end in (
        (data.train, 0, 360),
        (data.validation, 360, 380),
        (data.test, 380, 400),
    ):
        inputs, targets = part.batch(slice(None))
        count = (end - begin - 1) // 8
        classes = torch.arange(begin, end) % 10
        assert torch.equal(inputs, classes[: count * 8].view(count, 8))
        assert torch.equal(targets, classes[1 : count * 8 + 1].view(count, 8))


def test_characters_are_those_of_the_training_part_and_all_others_one_class() -> None:
    text = "ab" * 180 + "aé\u2603b" * 10  # the last tenth has two that the first nine lack
    data, vocabulary = of(text, length=4).made()
    assert len(vocabulary) == 3
    inputs, _ = data.test.batch(slice(None))
    assert inputs[0].tolist() == [0, 2, 2, 1]
    assert data.train.batch(slice(None))[0].unique().tolist() == [0, 1]


def test_characters_are_numbered_in_the_order_of_unicode() -> None:
    found = Characters("b\U0001f600a\n", "z")
    assert len(found) == 5
    assert found.encode("\na\U0001f600bz").tolist() == [0, 1, 3, 2, 4]


def test_a_text_is_read_from_files_of_any_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.txt").write_text("first é\r\n", "utf-8", newline="")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"second"))
    (tmp_path / "note.md").write_text("no text")
    assert text_of(tmp_path / "a.txt", None) == ("a.txt", "first é\r\n")
    assert text_of(tmp_path / "b.txt.gz", None)[1] == "second"
    assert text_of(tmp_path, None) == (tmp_path.name, "first é\r\nsecond")
    with pytest.raises(UserError, match="leave out data="):
        text_of(tmp_path / "a.txt", tmp_path)
    monkeypatch.setenv("BEYONDPROP_DATA", str(tmp_path))
    assert text_of(Path("b.txt.gz"), None)[1] == "second"


def test_a_text_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no text .*nowhere\.txt: give the path"):
        text_of(tmp_path / "nowhere.txt", None)
    with pytest.raises(UserError, match="has no texts: name a file"):
        text_of(tmp_path, None)
    (tmp_path / "a.txt").write_bytes(b"latin \xe9\n")
    with pytest.raises(UserError, match=r"is not UTF-8 text \(byte 6\): convert it"):
        text_of(tmp_path / "a.txt", None)
    for text, why in (("", "is empty"), ("ab" * 20, "one of its parts has 2 tokens")):
        with pytest.raises(UserError, match=why):
            of(text).made()


def test_byte_pairs_need_room_for_one() -> None:
    with pytest.raises(UserError, match="must be 257 or more, not 256"):
        BytePairs("text", 256)


def test_byte_pairs_count_the_characters_of_the_text() -> None:
    pytest.importorskip("tokenizers")
    text = TEXT + "naïve café \u2603 \U0001f600\r\n\ttabs  spaces\x85 nel"
    found = BytePairs(text, 300)
    assert len(found) == 300
    classes = found.encode(text)
    assert found.tokenizer.decode(classes.tolist()) == text
    assert len(classes) < len(text)
    counts = torch.tensor(found.characters)
    assert counts[classes].sum() == len(text)


def test_byte_pairs_are_learned_from_the_training_part_alone_and_always_the_same() -> None:
    pytest.importorskip("tokenizers")
    begin = TEXT[: round(len(TEXT) * 0.9)]
    texts = [begin + "#" * (len(TEXT) - len(begin)), begin + "@" * (len(TEXT) - len(begin))]
    trained = [of(text, byte_pairs=300).made() for text in (*texts, texts[0])]
    tokens = [
        [vocabulary.tokenizer.id_to_token(i) for i in range(len(vocabulary))]
        for _, vocabulary in trained
        if isinstance(vocabulary, BytePairs)
    ]
    assert tokens[0] == tokens[1] == tokens[2]
    assert not any("##" in token for token in tokens[0])
    inputs = [data.train.batch(slice(None))[0] for data, _ in trained]
    assert torch.equal(inputs[0], inputs[2])


def test_without_tokenizers_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(UserError, match=re.escape(install("language"))):
        BytePairs(TEXT, 300)


def test_a_text_can_go_to_another_process() -> None:
    again = pickle.loads(pickle.dumps(of(TEXT)))
    data, expected = again(None), of(TEXT)(None)
    assert torch.equal(data.test.batch(slice(None))[1], expected.test.batch(slice(None))[1])
