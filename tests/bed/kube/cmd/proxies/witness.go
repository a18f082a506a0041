package main

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
)

// procTree writes what the kernel would show of each pilot-agent in the host's PID namespace.
type procTree struct {
	dir  string
	mu   sync.Mutex
	next int
}

func (t *procTree) path(p *proxy) string { return filepath.Join(t.dir, p.node, fmt.Sprint(p.pid)) }

func put(path, text string) {
	if err := os.WriteFile(path+".new", []byte(text), 0o644); err == nil {
		err = os.Rename(path+".new", path)
		if err == nil {
			return
		}
	}
}

func (t *procTree) add(p *proxy) int {
	if t.dir == "" {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.next++
	p.pid = t.next
	slice := "kubepods-burstable-pod" + strings.ReplaceAll(p.uid, "-", "_") + ".slice"
	group := fmt.Sprintf("/kubepods.slice/kubepods-burstable.slice/%s/cri-containerd-%x.scope", slice, sha256.Sum256([]byte(p.uid)))
	if p.pid%2 == 1 { // as a reader in a cgroup namespace of its own sees it
		group = "/../../../kubepods-burstable.slice/" + strings.SplitN(group, "/", 4)[3]
	}
	args := []string{"/usr/local/bin/pilot-agent", "proxy", "sidecar", "--domain", p.ns + ".svc.cluster.local", "--proxyLogLevel=warning"}
	d := t.path(p)
	if err := os.MkdirAll(d+"/net", 0o755); err != nil {
		log.Fatal(err)
	}
	put(d+"/comm", "pilot-agent\n")
	put(d+"/cmdline", strings.Join(args, "\x00")+"\x00")
	put(d+"/status", fmt.Sprintf("Name:\tpilot-agent\nState:\tS (sleeping)\nTgid:\t%d\nPid:\t%d\nPPid:\t1\nUid:\t1337\t1337\t1337\t1337\nGid:\t1337\t1337\t1337\t1337\n", p.pid, p.pid))
	put(d+"/cgroup", "0::"+group+"\n")
	put(d+"/net/tcp6", tcpHead)
	put(d+"/net/fib_trie", fmt.Sprintf("Local:\n     |-- 127.0.0.1\n        /32 host LOCAL\n     |-- %s\n        /32 host LOCAL\n", p.ip))
	t.sockets(p, "", 0)
	return p.pid
}

const tcpHead = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"

func hexAddr(ip string, port int) string {
	b := net.ParseIP(ip).To4()
	if b == nil {
		b = net.IPv4zero.To4()
	}
	return fmt.Sprintf("%08X:%04X", binary.LittleEndian.Uint32(b), port)
}

func (t *procTree) sockets(p *proxy, rev string, port int) {
	var b strings.Builder
	b.WriteString(tcpHead)
	line := func(n int, local, remote string, state int) {
		fmt.Fprintf(&b, "%4d: %s %s %02X 00000000:00000000 00:00000000 00000000  1337        0 %d 1 0000000000000000 20 4 29 10 -1\n",
			n, local, remote, state, 100000+p.pid*10+n)
	}
	for i, l := range []int{15001, 15006, 15020, 15021, 15090} {
		line(i, hexAddr("0.0.0.0", l), hexAddr("0.0.0.0", 0), 0x0A)
	}
	if port > 0 {
		line(5, hexAddr(p.ip, port), hexAddr(p.mesh.clusterIP(rev), 15012), 0x01)
	}
	put(t.path(p)+"/net/tcp", b.String())
}

// connected writes the proxy's connection to a revision from this local port, 0: it has none.
func (t *procTree) connected(p *proxy, rev string, port int) {
	if t.dir == "" {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, err := os.Stat(t.path(p)); err == nil {
		t.sockets(p, rev, port)
	}
}

func (t *procTree) remove(p *proxy) {
	if t.dir == "" {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	gone := filepath.Join(t.dir, p.node, fmt.Sprintf(".gone-%d", p.pid))
	os.Rename(t.path(p), gone)
	os.RemoveAll(gone)
}

// metric is one of Envoy's: filter is matched against its dotted name.
type metric struct {
	dotted, family, kind, labels string
	value                        int
}

func (p *proxy) envoyMetrics(texts bool) []metric {
	p.mu.Lock()
	defer p.mu.Unlock()
	up := 0
	if p.online {
		up = 1
	}
	out := []metric{
		{"cluster_manager.cds.update_rejected", "envoy_cluster_manager_cds_update_rejected", "counter", "", p.rejected[tCDS]},
		{"listener_manager.lds.update_rejected", "envoy_listener_manager_lds_update_rejected", "counter", "", p.rejected[tLDS]},
		{"cluster.xds-grpc;.upstream_cx_active", "envoy_cluster_upstream_cx_active", "gauge", `cluster_name="xds-grpc"`, up},
		{"server.state", "envoy_server_state", "gauge", "", 0},
	}
	if texts {
		out = append(out,
			metric{"cluster_manager.cds.version_text", "envoy_cluster_manager_cds_version_text", "gauge", fmt.Sprintf("text_value=%q", p.accepted[tCDS]), 0},
			metric{"listener_manager.lds.version_text", "envoy_listener_manager_lds_version_text", "gauge", fmt.Sprintf("text_value=%q", p.accepted[tLDS]), 0})
	}
	return append(out, metric{"istio_build.component.proxy.tag." + p.version, "istio_build", "gauge", fmt.Sprintf(`component="proxy",tag="%s"`, p.version), 1})
}

// agentMetrics are sorted by name, as pilot-agent's registry gives them.
func (p *proxy) agentMetrics(b *strings.Builder) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b.WriteString("# HELP istio_agent_cert_expiry_seconds The time remaining, in seconds, before the certificate chain will expire.\n")
	b.WriteString("# TYPE istio_agent_cert_expiry_seconds gauge\nistio_agent_cert_expiry_seconds{resource_name=\"default\"} 86000.25\n")
	if p.cancelled+p.failed > 0 {
		b.WriteString("# TYPE istio_agent_istiod_connection_terminations counter\n")
	}
	if p.cancelled > 0 { // absent before the first event
		fmt.Fprintf(b, "istio_agent_istiod_connection_terminations{type=\"cancelled\"} %d\n", p.cancelled)
	}
	if p.failed > 0 {
		fmt.Fprintf(b, "istio_agent_istiod_connection_terminations{type=\"error\"} %d\n", p.failed)
	}
	b.WriteString("# TYPE istio_agent_scrapes_total counter\nistio_agent_scrapes_total 1\n")
}

// of is the proxy whose address a request came to.
func (m *mesh) of(r *http.Request) *proxy {
	host, _, _ := net.SplitHostPort(r.Context().Value(http.LocalAddrContextKey).(net.Addr).String())
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.byIP[host]
}

func (m *mesh) stats(agent bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p := m.of(r)
		if p == nil {
			panic(http.ErrAbortHandler)
		}
		q := r.URL.Query()
		filter, err := regexp.Compile(q.Get("filter"))
		if err != nil {
			http.Error(w, "Invalid re2 regex", http.StatusBadRequest)
			return
		}
		var b strings.Builder
		if agent {
			p.agentMetrics(&b)
		}
		for _, x := range p.envoyMetrics(q.Has("text_readouts")) {
			if filter.MatchString(x.dotted) {
				fmt.Fprintf(&b, "# TYPE %s %s\n%s{%s} %d\n", x.family, x.kind, x.family, x.labels, x.value)
			}
		}
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		w.Write([]byte(b.String()))
	}
}

// ready as Envoy's: listeners were accepted once.
func (m *mesh) ready(w http.ResponseWriter, r *http.Request) {
	p := m.of(r)
	if p == nil {
		panic(http.ErrAbortHandler)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.accepted[tCDS] == "" || p.accepted[tLDS] == "" {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

func (m *mesh) serveStats() {
	serve := func(port int, mux *http.ServeMux) {
		log.Fatal(http.ListenAndServe(fmt.Sprintf(":%d", port), mux))
	}
	agent, health, envoy := http.NewServeMux(), http.NewServeMux(), http.NewServeMux()
	agent.HandleFunc("GET /stats/prometheus", m.stats(true))
	agent.HandleFunc("GET /healthz/ready", m.ready)
	health.HandleFunc("GET /healthz/ready", m.ready)
	envoy.HandleFunc("GET /stats/prometheus", m.stats(false))
	go serve(15020, agent)
	go serve(15021, health)
	serve(15090, envoy)
}
