"""What a process of istiod spends and is asked for between two moments."""

import glob
import http.client
import subprocess
import time

XDS_PORT = 15012
AGENTS = "10.246.0.0/16"  # agents have addresses of their own; whatever istiod sends there is their share


def cpu_ms(pid):
    """Of all threads, finer than the ticks of /proc/PID/stat."""
    total = 0
    for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
        try:
            with open(path, encoding="ascii") as f:
                total += int(f.read().split()[0])
        except OSError:  # a thread has just ended
            pass
    return total / 1e6


def metric(address, name, **labels):
    c = http.client.HTTPConnection(address, 15014, timeout=10)
    c.request("GET", "/metrics")
    lines = c.getresponse().read().decode().splitlines()
    c.close()
    wanted = [f'{k}="{v}"' for k, v in labels.items()]
    return sum(float(x.split()[-1]) for x in lines if x.split("{")[0] == name and all(w in x for w in wanted))


class Istiod:
    """One real istiod of the bed, watched."""

    def __init__(self, cluster, revision):
        name = cluster.istio.istiods[revision, 0].name
        self.pid, self.address = cluster.bed.processes[name].pid, cluster.istio.address(revision, 0)
        for where in (["-d", AGENTS], ["--sport", str(XDS_PORT), "-d", self.address]):
            rule = ["iptables", "-A", "OUTPUT", "-p", "tcp", "-s", self.address, *where]
            subprocess.run(rule, check=True)

    def sent(self):
        """Bytes to agents, and to whoever asks from the address of istiod itself (istioctl)."""
        text = subprocess.run(["iptables", "-nvxL", "OUTPUT"], capture_output=True, text=True, check=True).stdout
        rows = [x.split() for x in text.splitlines() if self.address in x]
        return int(rows[0][1]), int(rows[1][1])

    def streams(self):
        """ADS streams that were begun, whoever began them."""
        return metric(self.address, "grpc_server_started_total", grpc_method="StreamAggregatedResources")

    def during(self, seconds=0, work=None):
        """{cpu_ms, to_agents, to_istioctl, streams, seconds} of a stretch of time, or of what work() takes."""
        streams, sent, cpu, began = self.streams(), self.sent(), cpu_ms(self.pid), time.monotonic()
        if work:
            work()
        else:
            time.sleep(seconds)
        used, lasted, now = cpu_ms(self.pid) - cpu, time.monotonic() - began, self.sent()
        return {
            "cpu_ms": used,
            "seconds": lasted,
            "to_agents": now[0] - sent[0],
            "to_istioctl": now[1] - sent[1],
            "streams": self.streams() - streams,
        }
