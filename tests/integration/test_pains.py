"""docs/pains.md promises a test for each pain: those that it names are there."""
import os
import re

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def shown(text):
    return text[:text.index("## Not shown yet")]


def test_every_cause_that_is_named_is_made():
    cases = set(re.findall(r'WATCHED\("([^"]+)"|\{SCENE_\w+, "([^"]+)"', re.sub(r"\n\s+", " ", read("tests/causes/cases.h"))))
    cases = {a or b for a, b in cases}
    named = set(re.findall(r'`(?:causes\.confusion: )?"([^"…]+)"`', shown(read("docs/pains.md"))))
    assert len(named) > 10
    assert named <= cases, named - cases


def test_every_test_that_is_named_is_there():
    text = shown(read("docs/pains.md"))
    for name in re.findall(r"`scenario\.([\w-]+)`", text):
        assert os.path.exists(os.path.join(ROOT, f"tests/scenarios/{name}.scn")), name
    for name in re.findall(r"`unit\.(\w+)`", text):
        assert os.path.exists(os.path.join(ROOT, f"tests/unit/test_{name}.c")), name
    flaps = set(re.findall(r"`causes\.flaps\.([\w-]+)`", text))
    assert flaps == set(re.findall(r'^    \{"([\w-]+)", ', read("tests/causes/flaps.c"), re.M))
