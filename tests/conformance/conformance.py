"""Runs the questions against one target and compares with what real servers were recorded to answer."""
import json
import os
import traceback

import questions_api
import questions_xds

HERE = os.path.dirname(os.path.abspath(__file__))
RECORDED = os.path.join(HERE, "recorded")


def ask_api(target):
    room = questions_api.Room(target)
    answers = {}
    try:
        for q in questions_api.QUESTIONS:
            answers[q.__name__] = _ask(lambda: room.plain(q(room)))
    finally:
        room.close()
    return answers


def ask_xds(target, revision):
    target.asked = revision
    return {q.__name__: _ask(lambda: q(target)) for q in questions_xds.QUESTIONS}


def _ask(fn):
    """An answer that the question does not understand is an answer too: it will not be equal."""
    try:
        return json.loads(json.dumps(fn()))
    except Exception as e:  # pylint: disable=broad-except
        return {"exception": f"{type(e).__name__}: {e}"[:300], "where": traceback.format_exc().splitlines()[-3].strip()}


def recorded(name):
    with open(os.path.join(RECORDED, name + ".json"), encoding="utf-8") as f:
        return json.load(f)


def record(name, answers):
    bad = {k: v for k, v in answers.items() if isinstance(v, dict) and "exception" in v}
    if bad:
        raise SystemExit(f"not recorded, these questions broke: {json.dumps(bad, indent=1)}")
    os.makedirs(RECORDED, exist_ok=True)
    with open(os.path.join(RECORDED, name + ".json"), "w", encoding="utf-8") as f:
        json.dump(answers, f, indent=1, sort_keys=True)
        f.write("\n")


def listed(name):
    """Differences that docs/conformance.md explains: {question: reason}."""
    with open(os.path.join(RECORDED, "differences.json"), encoding="utf-8") as f:
        return json.load(f).get(name, {})


def differences(name, answers):
    """(question, expected, got) for every answer that differs and is not listed; a listed one that no longer differs counts."""
    want, excused = recorded(name), listed(name)
    for question in sorted(set(want) | set(answers)):
        same = want.get(question) == answers.get(question)
        if same == (question in excused):
            yield question, want.get(question), answers.get(question)
