from tests.audit import judge

GOOD = {"name": "pillow", "version": "13.0", "vulns": []}
BAD = {"name": "pillow", "version": "9.0", "vulns": [{"id": "CVE-2023-50447", "fix_versions": ["10.2.0"]}]}
UNKNOWN = {"name": "pillow", "skip_reason": "not found"}


def test_a_known_vulnerability_fails_and_is_named_with_its_fix() -> None:
    assert judge([GOOD, BAD, UNKNOWN]) == (1, ["pillow 9.0: CVE-2023-50447, fixed in 10.2.0"])


def test_what_could_not_be_looked_up_is_said_and_does_not_fail() -> None:
    status, lines = judge([GOOD, UNKNOWN])
    assert status == 0
    assert "NOT AUDITED: 1 of 2" in lines[0]


def test_all_known_and_none_vulnerable_is_good_news() -> None:
    assert judge([GOOD]) == (0, ["1 packages, no known vulnerability"])
