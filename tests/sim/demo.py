#!/usr/bin/env python3
"""Plays a story on the embedded mesh with the real programs and shows how it goes.

demo.py --story healthy --build build/dev
"""
import argparse
import glob
import os
import signal
import sys
import time

import stand
from stand import lang

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
STORIES = os.path.join(ROOT, "tests", "scenarios")
LIMIT_S = 175
WIDTH = 30


class Timeout(Exception):
    pass


def stories():
    out = []
    for path in sorted(glob.glob(os.path.join(STORIES, "*.scn"))):
        if lang.runs_in(lang.parse(path), "demo"):
            out.append(os.path.basename(path)[:-len(".scn")])
    return out


def bar(part, whole):
    full = WIDTH * part // whole if whole else 0
    return "#" * full + "." * (WIDTH - full)


def lines_of(observer):
    s = observer.status()
    n = s.get("summary") or {}
    out = ["  %-9s %-8s moved %s of %s proxies" % (s.get("phase", "-"), s.get("verdict", "-"), n.get("moved", 0), n.get("expected", "?"))]
    for w in s.get("waves") or []:
        out.append("  %-8s [%s] %3d/%-3d proxies  %2d/%-2d namespaces  %s" % (
            w.get("name"), bar(w.get("moved", 0), w.get("expected", 0)), w.get("moved", 0), w.get("expected", 0),
            w.get("relabelled", 0), w.get("namespaces", 0), w.get("state", "")))
    for r in (s.get("reasons") or [])[:3]:
        objects = r.get("objects") or []
        first = objects[0] if objects else {}
        out.append("  %s: %s%s %s" % (r.get("reason"), first.get("name", ""), " and %d more" % (r["count"] - 1) if r.get("count", 0) > 1 else "",
                                      first.get("message") or r.get("sentence", "")))
    return out


class Screen:
    """A block of lines that is drawn again in place on a terminal; elsewhere a line whenever something changed."""

    def __init__(self, out):
        self.out, self.live, self.drawn, self.last, self.start = out, out.isatty(), 0, None, time.monotonic()
        self.next = 0.0

    def stamp(self):
        return "%6.1fs" % (time.monotonic() - self.start)

    def erase(self):
        if self.drawn:
            self.out.write("\x1b[%dA\x1b[J" % self.drawn)
            self.drawn = 0

    def log(self, text):
        self.erase()
        self.out.write("%s  %s\n" % (self.stamp(), text))
        self.out.flush()

    def progress(self, observer):
        if observer.cr is None:
            return
        lines = lines_of(observer)
        if self.live:
            width = os.get_terminal_size(self.out.fileno()).columns
            self.erase()
            self.out.write("".join(line.replace("\n", " ")[:width - 1] + "\n" for line in lines))
            self.drawn = len(lines)
        elif lines != self.last and time.monotonic() >= self.next:
            waves = " ".join("%s=%s" % (w.get("name"), w.get("state")) for w in observer.status().get("waves") or [])
            self.out.write("%s %s  %s\n" % (self.stamp(), lines[0], waves))
            self.next = time.monotonic() + 2
        self.last = lines
        self.out.flush()


def restarts(observer):
    observer.watch_templates()
    changed = sum(len(seen) > 1 for seen in observer.templates.values())
    return changed, max((len(seen) - 1 for seen in observer.templates.values()), default=0)


def summary(story, place, screen, observer, met, failure):
    screen.erase()
    truth, n = place.truth(), observer.status().get("summary") or {}
    changed, most = restarts(observer)
    agents = [place.rss_mb(name) for name in place.processes if name.startswith("agent-")]
    print()
    print("Story      %s: %s" % (story, "as it should be" if failure is None else "FAILED"))
    print("Mesh       %(namespaces)d namespaces, %(pods)d pods, %(nodes)d nodes, 2 revisions with %(replicas)d istiods each" % place.mesh)
    print("Gate       phase %s, %s of %s proxies moved; killed %d times" % (
        observer.status().get("phase", "-"), n.get("moved", 0), n.get("expected", 0), place.gate_kills))
    print("Truth      %(onCanary)d proxies on the canary, %(onOld)d on the old revision, %(detached)d on none, %(rejecting)d reject" % truth)
    print("Restarts   %d workloads restarted, none more than %s" % (changed, "once" if most <= 1 else "%d TIMES" % most))
    print("Memory     gate %.0f MB, agent %.0f MB" % (place.rss_mb("gate"), max(agents, default=0)))
    print("Result     %d expectations met in %.0f s" % (met, time.monotonic() - screen.start))
    if failure is not None:
        print("           %s" % failure)
        for name in ("gate", "mesh"):
            print("--- end of %s.log\n%s" % (name, place.log_of(name, 8)), end="")


def play(args, path):
    statements = lang.parse(path)
    screen = Screen(sys.stdout)
    failure, met = None, 0
    place = stand.Stand(args.build, keep=args.keep, **lang.mesh_of(statements))
    place.take_place(screen.log)
    screen.start = time.monotonic()
    signal.alarm(LIMIT_S)
    screen.log("setting up the mesh, the gate and its agents")
    with place:
        if args.keep:
            screen.log("files are in %s" % place.dir)
        runner = lang.Runner(place, screen.log, screen.progress, 0.25)
        try:
            met = runner.run(statements)
        except (lang.ScenarioFailed, stand.ApiError, OSError, Timeout) as e:
            failure = e
        signal.alarm(0)
        summary(args.story, place, screen, runner.observer, met if failure is None else runner.met, failure)
    return 1 if failure is not None else 0


def on_signal(number, frame):
    raise KeyboardInterrupt


def on_alarm(number, frame):
    raise Timeout("the story took longer than %d s" % LIMIT_S)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--story", default="healthy", help="one of: " + " ".join(stories()))
    parser.add_argument("--build", default=os.path.join(ROOT, "build", "dev"), help="build folder")
    parser.add_argument("--keep", action="store_true", help="leave logs and files behind")
    args = parser.parse_args()
    if args.story not in stories():
        parser.error("no story is called %s; there is: %s" % (args.story, " ".join(stories())))
    for program in ("meshgate-sim", "meshgate", "meshgate-agent", "kubectl-meshgate"):
        if not os.path.exists(os.path.join(args.build, "bin", program)):
            parser.error("%s/bin/%s is not there: build first (make build)" % (args.build, program))
    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGALRM, on_alarm)
    try:
        return play(args, os.path.join(STORIES, args.story + ".scn"))
    except (lang.ScenarioFailed, stand.ApiError, OSError, Timeout) as e:
        print("the story could not begin: %s" % e)
        return 1
    except KeyboardInterrupt:
        print("\nstopped")
        return 130


if __name__ == "__main__":
    sys.exit(main())
