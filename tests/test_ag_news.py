"""AG News: csv as it is published, the leftovers in it, what must be refused, the real sets."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from toy_sets import need_real, write_set

from nolr.data import AG_NEWS_CLASSES, Vocabulary, load_ag_news
from nolr.data.ag_news import plain_text, read_ag_news, read_derived, read_official
from nolr.errors import BadInput

OFFICIAL = (
    b'"3","Fears for T N pension","Workers are ""sad"", they say."\n'
    b'"4","A race, at last","a second\\team of US\\$5 million"\n'
    b'"1","","Caf\xc3\xa9 #39;s &lt;b&gt;...&lt;/b&gt;\n on two lines"\n'
    b"2,bare,columns\r\n"
)
RAW = [
    ('Fears for T N pension Workers are "sad", they say.', 2),
    (r"A race, at last a second\team of US\$5 million", 3),
    (" Café #39;s &lt;b&gt;...&lt;/b&gt;\n on two lines", 0),
    ("bare columns", 1),
]
PLAIN = [
    'Fears for T N pension Workers are "sad", they say.',
    "A race, at last a second team of US$5 million",
    "Café's ... on two lines",
    "bare columns",
]
DERIVED = (
    b"text,label\r\n"
    b'"Fears for T N pension Workers are ""sad"", they say.",2.0\r\n'  # in OFFICIAL as well
    b"New one #39;s,0.0\r\n"
)
TEST = b'"1","t","d"\n'


def test_columns_are_read_as_they_are_quoted():
    assert read_official(OFFICIAL, "f") == RAW
    assert read_derived(DERIVED, "f") == [(RAW[0][0], 2), ("New one #39;s", 0)]


ROWS = st.lists(
    st.tuples(
        st.integers(1, 4),
        st.text(st.characters(exclude_categories=["Cs"])),
        st.text(st.characters(exclude_categories=["Cs"])),
    ),
    min_size=1,
    max_size=5,
)


@given(ROWS)
@example([(1, 'quo"te', "new\nline\r\n,"), (4, "", '""')])
def test_what_csv_writes_is_read(rows):
    stream = io.StringIO(newline="")
    csv.writer(stream, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    found = read_official(stream.getvalue().encode(), "f")
    assert found == [(f"{title} {text}", index - 1) for index, title, text in rows]


@pytest.mark.parametrize(
    ("raw", "plain"),
    [
        (r"a second\team", "a second team"),
        (r"the\next line", "the next line"),  # the n is the word's
        (r"one.\nTwo\n\nthree\n", "one. Two nthree"),
        (r"\\one\\" "two", "one two"),
        (r"US\$5 and \$6", "US$5 and $6"),
        ("the world #39;s news", "the world's news"),
        ("the  #36;10 million", "the $10 million"),
        (" quot;Yes, quot; he said", '"Yes," he said'),
        ("quot;Yes", '"Yes'),
        ("Marsh  amp; Co", "Marsh & Co"),
        ("Q&amp;A", "Q&A"),
        ("a #151; b", "a— b"),  # what &#151; is to browsers
        ("wait hellip; no", "wait… no"),
        ("soft nbsp; space", "soft space"),
        ("&lt;b&gt;...&lt;/b&gt;", "..."),
        ("one&lt;br /&gt;two&lt;BR&gt;three", "one two three"),
        ('see &lt;A HREF="http://x.y/?a=b"&gt;GOOG.O&lt;/A&gt; now', "see GOOG.O now"),
        ("cut off &lt;FONT face=verdana size=2", "cut off"),
        ("shares &lt;KMRT.O&gt; rose", "shares <KMRT.O> rose"),
        ("3 &lt; 4", "3 < 4"),
        ("a #1 song; this and; that", "a #1 song; this and; that"),
        ("clamp; damp;", "clamp; damp;"),
        ("  many \t spaces \n", "many spaces"),
        ("", ""),
    ],
)
def test_leftovers_are_taken_out(raw, plain):
    assert plain_text(raw) == plain


@given(st.text("ab \\n$&;#39ltgquo<>/.\u00a0\u2028", max_size=40))
def test_plain_texts_have_no_line_breaks_and_no_leftovers(raw):
    text = plain_text(raw)
    assert text == " ".join(text.split())
    assert "\\" not in text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "line 1: expected a row, got none"),
        (b'"1","t"\n', "line 1: expected 3 columns, got 2"),
        (OFFICIAL + b'"1","t","d","more"\n', "line 6: expected 3 columns, got 4"),
        (b'"5","t","d"\n', "line 1: expected a class index from 1 to 4, got '5'"),
        (b'"0","t","d"\n', "line 1: expected a class index from 1 to 4, got '0'"),
        (b'"1.0","t","d"\n', "line 1: expected a class index from 1 to 4, got '1.0'"),
        (b'class,title,description\n"1","t","d"\n', "line 1: expected a class index"),
        (b'"1","t","d"\n\n', "line 2: expected 3 columns, got 0"),
        (OFFICIAL + b'"1","t","caf\xe9"\n', "line 6: expected UTF-8, got byte e9"),
        (b'\xef\xbb\xbf"1","t","d"\n', "line 1: expected a class index"),
        (OFFICIAL[:-30], "expected csv with quoted columns, got unexpected end of data"),
        (b'"1","t"x,"d"\n', "line 1: expected csv with quoted columns"),
        (b'"1","t","' + b"x" * 200_000 + b'"\n', "line 1: expected csv with quoted columns"),
    ],
)
def test_files_of_another_form_are_refused_with_the_line(content, words):
    with pytest.raises(BadInput, match=words) as caught:
        read_official(content, "train.csv")
    assert "'train.csv', line" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "line 1: expected the header text,label, got ''"),
        (b"a text,1.0\n", "line 1: expected the header text,label, got 'a text,1.0'"),
        (b"text,label\na,1.0\nb\n", "line 3: expected 2 columns, got 1"),
        (b"text,label\na,4.0\n", "line 2: expected a label from 0.0 to 3.0, got '4.0'"),
        (b"text,label\na,1\n", "line 2: expected a label from 0.0 to 3.0, got '1'"),
        (b"text,label\na,nan\n", "line 2: expected a label from 0.0 to 3.0, got 'nan'"),
        (b"text,label\n\xff,1.0\n", "line 2: expected UTF-8, got byte ff"),
    ],
)
def test_samples_of_another_form_are_refused_with_the_line(content, words):
    with pytest.raises(BadInput, match=words):
        read_derived(content, "sample.csv")


def test_the_whole_set_has_two_files(tmp_path):
    source = write_set(tmp_path, {"train.csv": OFFICIAL, "test.csv": TEST}, name="toy news")
    for _ in range(2):  # the second time from the cache
        train, test = read_ag_news(source, tmp_path)
        assert list(train.texts) == PLAIN
        np.testing.assert_array_equal(train.labels, np.array([2, 3, 0, 1]), strict=True)
        assert test.texts == ("t d",)
        assert test.labels.tolist() == [0]


def test_texts_that_are_empty_stay_where_they_are(tmp_path):
    content = b'"1","",""\n"2","a","b"\n"3","",""\n"4","",""\n'
    source = write_set(
        tmp_path, {"train.csv": content, "test.csv": b'"4","",""\n'}, name="toy empty"
    )
    for _ in range(2):
        train, test = read_ag_news(source, tmp_path)
        assert train.texts == ("", "a b", "", "")
        assert train.labels.tolist() == [0, 1, 2, 3]
        assert test.texts == ("",)


def test_the_part_has_every_text_once(tmp_path):
    files = {
        "train.first2000.csv": OFFICIAL,
        "train.sample5000.text-label.csv": DERIVED,
        "test.csv": TEST,
    }
    train, _ = read_ag_news(write_set(tmp_path, files, name="toy part"), tmp_path)
    assert list(train.texts) == [*PLAIN, "New one's"]
    assert train.labels.tolist() == [2, 3, 0, 1, 0]


def test_altered_files_are_refused(tmp_path):
    source = write_set(tmp_path, {"train.csv": OFFICIAL, "test.csv": TEST}, name="toy altered")
    (tmp_path / "toy" / "train.csv").write_bytes(OFFICIAL.replace(b"3", b"2"))
    with pytest.raises(BadInput, match=r"train\.csv.*altered"):
        read_ag_news(source, tmp_path)


def test_missing_sets_say_what_to_do(tmp_path):
    with pytest.raises(BadInput, match="nolr data fetch ag-news"):
        load_ag_news(tmp_path)
    with pytest.raises(BadInput, match="ag-news-part cannot be downloaded: its training rows are"):
        load_ag_news(tmp_path, variant="ag-news-part")
    with pytest.raises(BadInput, match="no variant 'ag-news-par'; did you mean 'ag-news-part'"):
        load_ag_news(tmp_path, variant="ag-news-par")


@pytest.mark.parametrize(
    ("variant", "counts"),
    [("ag-news", [30_000] * 4), ("ag-news-part", [1675, 1639, 1614, 1987])],
)
def test_the_real_sets(variant, counts):
    need_real(variant)
    train, test = load_ag_news(variant=variant)
    assert np.bincount(train.labels).tolist() == counts
    assert np.bincount(test.labels).tolist() == [1900] * 4
    assert train.texts[0].startswith("Wall St. Bears Claw Back Into the Black (Reuters) Reuters - ")
    assert test.texts[0] == (
        "Fears for T N pension after talks Unions representing workers at Turner Newall say they "
        "are 'disappointed' after talks with stricken parent firm Federal Mogul."
    )
    assert AG_NEWS_CLASSES[train.labels[0]] == AG_NEWS_CLASSES[test.labels[0]] == "Business"
    if variant == "ag-news-part":
        # Nine of the first 2000 official rows are there twice, but for spaces and leftovers.
        assert len(set(train.texts)) == len(train) - 9
        assert not set(train.texts) & set(test.texts)
    together = " ".join(train.texts + test.texts)
    assert "\\" not in together
    assert "#39;" not in together
    assert "quot;" not in together
    assert "<b>" not in together


def test_most_words_of_the_real_test_set_are_known():
    need_real("ag-news-part")
    train, test = load_ag_news(variant="ag-news-part")
    vocabulary = Vocabulary.build(train.texts, size=10_000)
    assert vocabulary.words[:3] == ("the", "to", "a")
    assert len(vocabulary) == 10_000
    encoded = vocabulary.encode(test.texts, 40)
    assert np.all(encoded[:, -1] != 0)
    assert np.mean(encoded[encoded > 0] == 1) < 0.15
