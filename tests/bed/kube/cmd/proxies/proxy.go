package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log"
	"math/rand"
	"net"
	"strings"
	"sync"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"
	corev1 "k8s.io/api/core/v1"
)

// proxy is one sidecar. What is under mu is also read by the stats ports and the control port.
type proxy struct {
	mesh                                *mesh
	uid, ns, name, sa, rev, version, ip string
	node, owner                         string
	labels                              map[string]string
	sotw                                bool
	pid                                 int
	cancel                              context.CancelFunc
	open                                func(context.Context) (*line, error)
	wake                                chan struct{} // cuts the wait before the next attempt

	mu        sync.Mutex
	stream    stream
	hangUp    context.CancelFunc  // of the stream
	last      map[string]*message // newest answer of each type
	names     map[string][]string // subscriptions
	accepted  map[string]string   // version of the last accepted update
	rejected  map[string]int
	online    bool
	cancelled int // streams that ended in order
	failed    int // streams that ended with an error, and attempts that failed
}

func newProxy(m *mesh, pod *corev1.Pod, rev string) *proxy {
	p := &proxy{mesh: m, uid: string(pod.UID), ns: pod.Namespace, name: pod.Name, sa: pod.Spec.ServiceAccountName, rev: rev,
		version: "unknown", ip: pod.Status.PodIP, node: pod.Spec.NodeName, labels: pod.Labels,
		owner: pod.Labels["service.istio.io/canonical-name"], accepted: map[string]string{}, rejected: map[string]int{},
		wake: make(chan struct{}, 1)}
	p.open = p.dial
	if p.sa == "" {
		p.sa = "default"
	}
	for _, c := range append(append([]corev1.Container{}, pod.Spec.InitContainers...), pod.Spec.Containers...) {
		if i := strings.LastIndex(c.Image, ":"); c.Name == "istio-proxy" && i > 0 {
			p.version = c.Image[i+1:]
		}
	}
	return p
}

func (p *proxy) self() *core.Node {
	lab := map[string]any{}
	for k, v := range p.labels {
		lab[k] = v
	}
	s, err := structpb.NewStruct(map[string]any{"ISTIO_VERSION": p.version, "CLUSTER_ID": "Kubernetes", "NAMESPACE": p.ns,
		"SERVICE_ACCOUNT": p.sa, "NAME": p.name, "LABELS": lab, "INSTANCE_IPS": p.ip, "MESH_ID": "cluster.local",
		"INTERCEPTION_MODE": "REDIRECT", "WORKLOAD_NAME": p.owner, "PROXY_CONFIG": map[string]any{}})
	if err != nil {
		log.Fatal(err)
	}
	return &core.Node{Id: fmt.Sprintf("sidecar~%s~%s.%s~%s.svc.cluster.local", p.ip, p.name, p.ns, p.ns),
		Cluster: p.owner + "." + p.ns, Metadata: s, UserAgentName: "envoy"}
}

// run keeps the proxy attached, with Envoy's kind of back-off.
func (p *proxy) run(ctx context.Context) {
	back := 500 * time.Millisecond
	for ctx.Err() == nil {
		got, err := p.attach(ctx)
		p.mu.Lock()
		p.online, p.stream = false, nil
		if err != nil && ctx.Err() == nil {
			p.failed++
		} else {
			p.cancelled++
		}
		p.mu.Unlock()
		if ctx.Err() != nil {
			return
		}
		p.mesh.proc.connected(p, "", 0)
		if got {
			back = 500 * time.Millisecond
		}
		log.Printf("%s/%s %s: %s", p.ns, p.name, p.rev, status.Convert(err).Message())
		select {
		case <-ctx.Done():
		case <-p.wake:
		case <-time.After(time.Duration(rand.Float64() * float64(back))):
		}
		back = min(2*back, *maxBackoff)
	}
}

// line is a connection to an istiod, and what proves to it who calls.
type line struct {
	conn  *grpc.ClientConn
	token string // "" none is shown
	own   bool   // no other proxy has it
}

// dial connects from the pod's own address, with the name and root that an injected agent would check.
func (p *proxy) dial(ctx context.Context) (*line, error) {
	rev := p.rev
	mode, text := p.mesh.modeOf(p)
	if mode == away {
		return nil, fmt.Errorf("kept away by a rule")
	} else if mode == astray {
		rev = text
	}
	addr, err := p.mesh.replica(rev)
	if err != nil {
		return nil, err
	}
	roots, err := p.mesh.roots(ctx, p.ns)
	if err != nil {
		return nil, err
	}
	token, err := p.mesh.token(ctx, p.ns, p.sa)
	if err != nil {
		return nil, err
	}
	d := net.Dialer{Timeout: 10 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(p.ip)}}
	conn, err := grpc.NewClient("passthrough:///"+addr+":15012",
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: roots, ServerName: "istiod-" + rev + "." + *istioNS + ".svc"})),
		grpc.WithContextDialer(func(c context.Context, a string) (net.Conn, error) {
			conn, err := d.DialContext(c, "tcp", a)
			if err == nil {
				p.mesh.proc.connected(p, rev, conn.LocalAddr().(*net.TCPAddr).Port)
			}
			return conn, err
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
	return &line{conn, token, true}, err
}

// attach is one stream from its beginning to its end; got: istiod answered on it.
func (p *proxy) attach(parent context.Context) (got bool, err error) {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	l, err := p.open(ctx)
	if err != nil {
		return false, err
	}
	if l.own {
		defer l.conn.Close()
	}
	if l.token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+l.token)
	}
	s, err := openStream(ctx, discovery.NewAggregatedDiscoveryServiceClient(l.conn), p.self(), p.sotw)
	if err != nil {
		return false, err
	}
	p.mu.Lock()
	p.hangUp = cancel
	p.stream, p.last, p.names = s, map[string]*message{}, map[string][]string{}
	p.mu.Unlock()
	if err := s.send(request{typ: tCDS}); err != nil {
		_, err = s.recv()
		return false, err
	}
	held := map[string][]string{}
	for {
		m, err := s.recv()
		if err != nil {
			return got, err
		}
		got = true
		p.take(m, held)
	}
}

// take answers one update and subscribes to what it refers to.
func (p *proxy) take(m *message, held map[string][]string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.online = true
	p.last[m.typ] = m
	p.answer(m)
	switch m.typ {
	case tCDS:
		p.subscribe(tEDS, derive(m, held, p.sotw, edsNames), false)
		p.subscribe(tLDS, nil, true)
		if mode, _ := p.mesh.modeOf(p); mode == unsent {
			p.subscribe(tPCDS, nil, true)
		}
	case tLDS:
		p.subscribe(tRDS, derive(m, held, p.sotw, rdsNames), false)
	}
}

// answer accepts, rejects or ignores an update, as the rules of the moment say. mu is held.
func (p *proxy) answer(m *message) {
	mode, text := p.mesh.modeOf(p)
	if bad := m.unusable(*rejects); bad != "" && mode == healthy {
		mode, text = nacking, bad
	}
	names := p.names[m.typ]
	switch {
	case mode == silent:
	case mode == nacking && m.typ == tLDS:
		p.rejected[m.typ]++
		p.stream.send(request{m.typ, m.nonce, p.accepted[m.typ], names, text})
	default:
		p.accepted[m.typ] = m.version
		p.stream.send(request{m.typ, m.nonce, m.version, names, ""})
	}
}

func (p *proxy) subscribe(typ string, names []string, wildcard bool) {
	old, asked := p.names[typ]
	if (len(names) == 0 && !wildcard) || (asked && equal(old, names)) {
		return
	}
	p.names[typ] = names
	r := request{typ: typ, names: names}
	if m := p.last[typ]; m != nil {
		r.nonce, r.version = m.nonce, m.version
	}
	p.stream.send(r)
}

// again answers the newest update of each type once more, under the rules of now.
func (p *proxy) again() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stream == nil {
		return
	}
	for _, m := range p.last {
		p.answer(m)
	}
}

// rejoin ends the stream, and the wait for the next attempt.
func (p *proxy) rejoin() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stream != nil {
		p.hangUp()
	}
}
