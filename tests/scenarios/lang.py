"""The scenario language in real time: parser and interpreter (grammar: README.md beside this file).

    statements = lang.parse("healthy.scn")
    lang.run(world, statements, log=print)

`world` says how actions are done and how objects are read; what a condition means is in observe.py, so that a
scenario means the same wherever it runs. Python standard library only.
"""

import json
import re
import time

from observe import UPGRADES, Observer, ScenarioFailed


class ScenarioError(Exception):
    """The file cannot be read."""


class World:
    """What run() needs of the place where a scenario runs."""

    patience = 1  # limits of `expect within` are this many times longer; what must hold is not touched

    def do(self, action):
        """Do one action (README.md). Raise ScenarioFailed with a sentence when it cannot be done."""
        raise NotImplementedError

    def get(self, path):
        """GET on the API server; the JSON value, None for 404."""
        raise NotImplementedError

    def create(self, path, obj):
        """POST on the API server; an exception with the server's text when it refuses."""
        raise NotImplementedError

    def now(self):
        return time.monotonic()

    def sleep(self, seconds):
        time.sleep(seconds)


class Statement:
    def __init__(self, kind, line, **fields):
        self.kind, self.line = kind, line
        self.__dict__.update(fields)

    def __repr__(self):
        return "line %d: %s" % (self.line, self.kind)


_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PHASES = ("Hold", "AwaitingApproval", "Moving", "Soaking", "Paused", "Completed")
_VERDICTS = ("Unknown", "Wait", "Fail", "Pass")
_STATES = ("Pending", "AwaitingApproval", "Moving", "Soaking", "Done")


def seconds(text):
    """"1m30s" -> 90.0; None when it is no duration."""
    if not re.fullmatch(r"(\d+(ms|s|m|h))+", text or ""):
        return None
    return sum(int(n) * _UNITS[u] for n, u in re.findall(r"(\d+)(ms|s|m|h)", text))


def words(text):
    """Split at blanks; a text in double quotes is one word and keeps its quotes."""
    return re.findall(r'"[^"]*"|\S+', text)


def _uncomment(line):
    quoted = False
    for i, c in enumerate(line):
        if c == '"':
            quoted = not quoted
        elif c == "#" and not quoted:
            return line[:i]
    return line


# --- parsing ---

def _condition(tokens):
    """A list of terms (name, arguments...); several are joined by `all ... and ...`."""
    if not tokens:
        raise ScenarioError("a condition is missing")
    if tokens[0] == "all":
        terms, part = [], []
        for token in tokens[1:] + ["and"]:
            if token == "and":
                terms += _condition(part)
                part = []
            else:
                part.append(token)
        return terms
    return [_term(tokens)]


def _one_of(value, allowed):
    if value not in allowed:
        raise ScenarioError("%s is none of %s" % (value, " ".join(allowed)))
    return value


def _term(tokens):
    name, args = tokens[0], tokens[1:]
    count = {"phase": 1, "verdict": 1, "wave": 3, "noreason": 1, "text": 1, "moved": 1, "untouched": 1, "restarted-once": 0,
             "label": 2, "nolabel": 2}
    if name == "reason":
        if len(args) == 3 and args[1] == "about":
            return (name, args[0], args[2])
        if len(args) == 1:
            return (name, args[0], None)
        raise ScenarioError("write: reason R [about X]")
    if name not in count:
        raise ScenarioError("no condition is called %s" % name)
    if len(args) != count[name]:
        raise ScenarioError("condition %s takes %d words, not %d" % (name, count[name], len(args)))
    if name == "phase":
        _one_of(args[0], _PHASES)
    elif name == "verdict":
        _one_of(args[0], _VERDICTS)
    elif name == "wave":
        if args[1] != "state":
            raise ScenarioError("write: wave W state S")
        args = [args[0], _one_of(args[2], _STATES)]
    elif name == "text":
        args = [args[0].strip('"')]
    elif name == "moved":
        if not re.fullmatch(r"\d+%", args[0]):
            raise ScenarioError("write: moved N%")
        args = [int(args[0][:-1])]
    elif name == "label" and "=" not in args[1]:
        raise ScenarioError("write: label NS K=V")
    return (name, *args)


def _duration(text):
    value = seconds(text)
    if value is None:
        raise ScenarioError("%s is no duration such as 10s or 2m" % text)
    return value


def _line(text, number):
    tokens = words(text)
    head = tokens[0]
    if head == "runs":
        return Statement("runs", number, where=tokens[1:])
    if head == "mesh":
        pairs = [t.partition("=") for t in tokens[1:]]
        if not all(sep and value.isdigit() for _, sep, value in pairs):
            raise ScenarioError("write: mesh nodes=N namespaces=N pods=N replicas=N")
        return Statement("mesh", number, values={key: int(value) for key, _, value in pairs})
    if head == "do" and len(tokens) > 1:
        return Statement("do", number, action=text.split(None, 1)[1].strip())
    if head == "on" and "do" in tokens[2:]:
        at = tokens.index("do", 2)
        return Statement("on", number, text=" ".join(tokens[1:at]), terms=_condition(tokens[1:at]),
                         action=" ".join(tokens[at + 1:]))
    if head == "wait" and len(tokens) == 2:
        return Statement("wait", number, seconds=_duration(tokens[1]))
    if head == "expect" and len(tokens) > 1:
        if tokens[1] in ("within", "for") and len(tokens) > 3:
            return Statement("expect-" + tokens[1], number, seconds=_duration(tokens[2]), text=" ".join(tokens[3:]),
                             terms=_condition(tokens[3:]))
        return Statement("expect", number, text=" ".join(tokens[1:]), terms=_condition(tokens[1:]))
    raise ScenarioError("this is no statement: %s" % text.strip())


def parse_text(text, name="scenario"):
    """The statements of a scenario. ScenarioError names file and line."""
    out, block = [], None
    for number, raw in enumerate(text.splitlines(), 1):
        try:
            if block is not None:
                if raw.rstrip() == "}":
                    block.spec = json.loads("{" + "\n".join(block.lines) + "}")
                    out.append(block)
                    block = None
                else:
                    block.lines.append(raw)
                continue
            line = _uncomment(raw)
            if not line.strip():
                continue
            tokens = words(line)
            if tokens[0] == "upgrade":
                if len(tokens) != 3 or tokens[2] != "{":
                    raise ScenarioError("write: upgrade NAME {")
                block = Statement("upgrade", number, name=tokens[1], lines=[])
            elif tokens[0] == "refused":
                if len(tokens) != 4 or tokens[3] != "{":
                    raise ScenarioError('write: refused NAME "TEXT" {')
                block = Statement("refused", number, name=tokens[1], text=tokens[2].strip('"'), lines=[])
            else:
                out.append(_line(line, number))
        except (ScenarioError, ValueError) as e:
            raise ScenarioError("%s:%d: %s" % (name, number, e)) from None
    if block is not None:
        raise ScenarioError("%s:%d: the upgrade's spec does not end with a line }" % (name, block.line))
    return out


def parse(path):
    with open(path, encoding="utf-8") as f:
        return parse_text(f.read(), str(path))


def runs_in(statements, where):
    """May this scenario run there ("virtual", "demo", "e2e")?"""
    for s in statements:
        if s.kind == "runs":
            return where in s.where
    return where in ("virtual", "demo")


def mesh_of(statements):
    """Values of the `mesh` line over the defaults."""
    values = {"nodes": 24, "namespaces": 40, "pods": 400, "replicas": 2}
    for s in statements:
        if s.kind == "mesh":
            values.update(s.values)
    return values


# --- running ---

class Runner:
    def __init__(self, world, log, progress, poll):
        self.world, self.log, self.progress, self.poll = world, log, progress, poll
        self.observer = Observer(world)
        self.rules = []
        self.met = 0
        self.next_templates = 0.0

    def look(self):
        """One look at the cluster: rules that fire, templates that changed."""
        o = self.observer
        o.refresh()
        for rule in list(self.rules):
            if o.all_hold(rule.terms):
                self.rules.remove(rule)
                self.log("on %s: %s" % (rule.text, rule.action))
                self.world.do(rule.action)
                o.refresh()
        if o.name and self.world.now() >= self.next_templates:
            self.next_templates = self.world.now() + 2.0
            o.watch_templates()
        if self.progress:
            self.progress(o)

    def fail(self, s, what):
        raise ScenarioFailed("line %d: %s: %s (%s)" % (s.line, what, s.text, self.observer.describe()))

    def within(self, s):
        limit = s.seconds * self.world.patience
        end = self.world.now() + limit
        while True:
            self.look()
            if self.observer.all_hold(s.terms):
                return
            if self.world.now() >= end:
                self.fail(s, "did not become true within %gs" % limit)
            self.world.sleep(self.poll)

    def during(self, duration, s=None):
        end = self.world.now() + duration
        while True:
            self.look()
            if s and not self.observer.all_hold(s.terms):
                self.fail(s, "did not stay true for %gs" % duration)
            left = end - self.world.now()
            if left <= 0:
                return
            self.world.sleep(min(self.poll, left))

    def create(self, s):
        self.world.create(UPGRADES, {"apiVersion": "meshgate.io/v1alpha1", "kind": "MeshUpgrade",
                                     "metadata": {"name": s.name}, "spec": s.spec})

    def refused(self, s):
        try:
            self.create(s)
        except Exception as e:  # whatever the world raises carries the server's text
            if s.text not in str(e):
                raise ScenarioFailed("refused %s: the answer does not contain \"%s\": %s" % (s.name, s.text, e)) from None
            self.log("ok: %s is refused: %s" % (s.name, s.text))
        else:
            raise ScenarioFailed("refused %s: the API server took it" % s.name)

    def step(self, s):
        if s.kind == "upgrade":
            self.observer.begin(s.name, s.spec)
            self.log("upgrade %s" % s.name)
            self.create(s)
        elif s.kind == "refused":
            self.refused(s)
        elif s.kind == "do":
            self.log("do %s" % s.action)
            self.world.do(s.action)
        elif s.kind == "on":
            self.rules.append(s)
        elif s.kind == "wait":
            self.log("wait %gs" % s.seconds)
            self.during(s.seconds)
        elif s.kind == "expect":
            self.look()
            if not self.observer.all_hold(s.terms):
                self.fail(s, "is not true")
            self.log("ok: %s" % s.text)
        elif s.kind == "expect-within":
            self.within(s)
            self.log("ok: %s" % s.text)
        elif s.kind == "expect-for":
            self.during(s.seconds, s)
            self.log("ok for %gs: %s" % (s.seconds, s.text))

    def run(self, statements):
        for s in statements:
            if s.kind in ("runs", "mesh"):
                continue
            try:
                self.step(s)
            except ScenarioFailed as e:
                raise ScenarioFailed(str(e) if str(e).startswith("line ") else "line %d: %s" % (s.line, e)) from None
            self.met += s.kind.startswith("expect") or s.kind == "refused"
        for rule in self.rules:
            raise ScenarioFailed("line %d: never became true: %s" % (rule.line, rule.text))
        return self.met


def run(world, statements, log=print, progress=None, poll=0.3):
    """Run to the end. Returns the number of expectations that were met; raises ScenarioFailed at the first that was not.

    progress(observer), if given, is called after each look at the cluster.
    """
    return Runner(world, log, progress, poll).run(statements)
