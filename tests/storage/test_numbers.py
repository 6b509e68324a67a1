"""What may be known of a phone number outside the database."""

from agent.storage.numbers import last_digits, number_hash


def test_equal_numbers_have_equal_hashes_under_one_key_only() -> None:
    one = number_hash("+15550001234", b"key")
    assert one == number_hash("+15550001234", b"key")
    assert one != number_hash("+15550001235", b"key")
    assert one != number_hash("+15550001234", b"another")
    assert len(one) == 16
    assert "1234" not in one


def test_people_see_two_digits() -> None:
    assert last_digits("+15550001234") == "…34"
    assert last_digits(None) == last_digits("") == ""
