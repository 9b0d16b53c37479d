"""Names and codes are texts that people can see and can tell apart."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.base.names import currency_problem, escaped, unclear
from tests.harness.searching import search

UNSEEN = ("Cc", "Cf", "Co", "Cn", "Cs", "Zl", "Zp")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("@Ana\u200b", 'U+200B ZERO WIDTH SPACE, as character 5: it reads "@Ana\\u200b"'),
        ("a\nb", 'U+000A, as character 2: it reads "a\\nb"'),
        ("\x7f", 'it reads "\\u007f"'),
        ("\x85a", "a control character, U+0085"),
        ("\u202eabc", "RIGHT-TO-LEFT OVERRIDE"),
        ("a\u2067b", "RIGHT-TO-LEFT ISOLATE"),
        ("a\u00adb", "SOFT HYPHEN"),
        ("\ufeffa", "ZERO WIDTH NO-BREAK SPACE"),
        ("a\u2060b", "WORD JOINER"),
        ("a\U000e0041", "TAG LATIN CAPITAL LETTER A"),
        ("\u2764\ufe0f", "VARIATION SELECTOR-16"),
        ("a\U000e0100", "VARIATION SELECTOR-17"),
        ("a\u034fb", "COMBINING GRAPHEME JOINER"),
        ("\u3164", "HANGUL FILLER"),
        ("a\u2800b", "BRAILLE PATTERN BLANK"),
        ("a\u00a0b", "an unusual blank, U+00A0"),
        ("a\u3000b", "IDEOGRAPHIC SPACE"),
        ("a\u2028b", "a line break, U+2028"),
        ("a\ue000", "a private character"),
        ("a\uffff", "not in Unicode"),
        ("a\ud800", "half of a surrogate pair"),
        (" a", 'it reads " a", and "a" is right'),
        ("a ", 'it reads "a ", and "a" is right'),
        ("Cafe\u0301", 'it reads "Cafe\\u0301", and "Caf\\u00e9" is right'),
        ("\u212b", 'it reads "\\u212b", and "\\u00c5" is right'),
    ],
    ids=ascii,
)
def test_a_name_that_people_cannot_see_or_tell_from_another_is_shown_escaped(text: str, parts: str) -> None:
    problem = unclear(text)
    assert problem is not None
    assert parts in problem


@pytest.mark.parametrize(
    "text", ["", "@Ana", "a b", "Caf\u00e9", "\u65e5\u672c", "\u0418\u0432\u0430\u043d", "\U0001f600", "~", "may/1"]
)
def test_a_name_in_any_script_is_clear(text: str) -> None:
    assert unclear(text) is None


@search(300)
@given(st.text(st.characters(exclude_categories=(*UNSEEN, "Zs"), max_codepoint=0x2FFF), max_size=8), st.data())
def test_one_unseen_character_anywhere_makes_a_name_unclear(text: str, data: st.DataObject) -> None:
    unseen = data.draw(st.characters(categories=(*UNSEEN, "Zs")).filter(lambda character: character != " "))
    place = data.draw(st.integers(0, len(text)))
    problem = unclear(text[:place] + unseen + text[place:])
    assert problem is not None
    assert problem.isprintable()


@search(300)
@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=12))
def test_of_names_that_look_the_same_one_is_clear(text: str) -> None:
    if unclear(text) is None:
        assert text == unicodedata.normalize("NFC", text).strip()
        assert all(unicodedata.category(each) not in UNSEEN for each in text)
        assert escaped(text) == f'"{text}"'


@pytest.mark.parametrize("text", ["USD", "A", "9", "X.Y_Z-1", "A" * 32, "-", "1INCH"])
def test_a_currency_is_a_code_of_capitals(text: str) -> None:
    assert currency_problem(text) is None


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("usd", 'and not "usd"; did you mean USD?'),
        ("USD ", 'and not "USD "; did you mean USD?'),
        (" USD", "did you mean USD?"),
        ("Thirds", "did you mean THIRDS?"),
        ("\uff35\uff33\uff24", 'and not "\\uff35\\uff33\\uff24"; did you mean USD?'),
        ("US\u200bD", 'and not "US\\u200bD"; did you mean USD?'),
        ("USD\n", 'and not "USD\\n"; did you mean USD?'),
        ("\u0405", 'and not "\\u0405"'),
        ("U$", 'and not "U$"'),
        ("", "cannot be blank; a currency is a code of A-Z, 0-9, dot, underscore and hyphen, such as USD"),
        (" ", "cannot be blank"),
        ("A" * 33, "has more than 32 characters"),
    ],
    ids=ascii,
)
def test_another_currency_is_refused_with_what_would_be_right(text: str, parts: str) -> None:
    problem = currency_problem(text)
    assert problem is not None
    assert parts in problem
