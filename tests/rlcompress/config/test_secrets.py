import pytest

from rlcompress.config.keys import leaves
from rlcompress.config.schema import RunConfig
from rlcompress.config.secrets import is_secret_name, redact, redacted


@pytest.mark.parametrize("name", ["key", "api_key", "apiKey", "OPENAI_API_KEY", "hf-token", "password", "secret"])
def test_secret_names(name):
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["max_tokens", "tokenizer", "key_field", "monkey", "keys_kept", ""])
def test_plain_names(name):
    assert not is_secret_name(name)


def test_no_key_of_the_schema_looks_like_a_secret():
    assert [leaf for leaf in leaves(RunConfig) if any(is_secret_name(part) for part in leaf)] == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:pw@host/x", "https://***@host/x"),
        ("https://host/x?token=abc&n=1", "https://host/x?token=***&n=1"),
        ("--set x.api_key=abc learner.lr=1", "--set x.api_key=*** learner.lr=1"),
        ("sk-abcdefghijklmnopqrst", "***"),
        ("Authorization: Bearer abcdefghij", "Authorization: Bearer ***"),
        ("data.min_tokens=16 https://host/a@b", "data.min_tokens=16 https://host/a@b"),
    ],
)
def test_redaction(text, shown):
    assert redact(text) == shown


def test_redaction_reaches_nested_strings():
    assert redacted({"a": ["ray://u:p@h", 1, None]}) == {"a": ["ray://***@h", 1, None]}
