package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log"
	"math/rand"
	"strings"
	"sync"
	"time"

	authv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
	"k8s.io/client-go/tools/cache"
)

type token struct {
	text string
	ends time.Time
}

// mesh owns the proxies, the rules that they follow and what they need to know of the cluster.
type mesh struct {
	ctx    context.Context
	client kubernetes.Interface
	slices discoverylisters.EndpointSliceNamespaceLister
	svcs   corelisters.ServiceNamespaceLister
	nodes  corelisters.NodeLister
	proc   procTree

	mu     sync.Mutex
	byUID  map[string]*proxy
	byIP   map[string]*proxy
	rules  []rule
	tokens map[string]token
	count  int
}

func newMesh(ctx context.Context, client kubernetes.Interface) *mesh {
	return &mesh{ctx: ctx, client: client, proc: procTree{dir: *procDir, next: 1000}, byUID: map[string]*proxy{},
		byIP: map[string]*proxy{}, tokens: map[string]token{}}
}

// follow starts and ends proxies as the pods of the cluster come and go.
func (m *mesh) follow(ctx context.Context) {
	istio := informers.NewSharedInformerFactoryWithOptions(m.client, 0, informers.WithNamespace(*istioNS))
	m.slices = istio.Discovery().V1().EndpointSlices().Lister().EndpointSlices(*istioNS)
	m.svcs = istio.Core().V1().Services().Lister().Services(*istioNS)
	all := informers.NewSharedInformerFactory(m.client, 0)
	m.nodes = all.Core().V1().Nodes().Lister()
	istio.Start(ctx.Done())
	all.Start(ctx.Done())
	istio.WaitForCacheSync(ctx.Done())
	all.WaitForCacheSync(ctx.Done())
	pods := informers.NewSharedInformerFactoryWithOptions(m.client, 0, informers.WithTweakListOptions(func(o *metav1.ListOptions) {
		o.LabelSelector = "security.istio.io/tlsMode"
	}))
	pods.Core().V1().Pods().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { m.seen(o.(*corev1.Pod)) },
		UpdateFunc: func(_, o any) { m.seen(o.(*corev1.Pod)) },
		DeleteFunc: func(o any) {
			if t, ok := o.(cache.DeletedFinalStateUnknown); ok {
				o = t.Obj
			}
			m.drop(string(o.(*corev1.Pod).UID))
		},
	})
	pods.Start(ctx.Done())
}

// injectedBy is the revision that the injector wrote down; "" without a sidecar.
func injectedBy(pod *corev1.Pod) string {
	if r := pod.Annotations["istio.io/rev"]; r != "" {
		return r
	}
	var st struct{ Revision string }
	json.Unmarshal([]byte(pod.Annotations["sidecar.istio.io/status"]), &st)
	return st.Revision
}

func isReady(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func (m *mesh) seen(pod *corev1.Pod) {
	uid := string(pod.UID)
	if pod.DeletionTimestamp != nil || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		m.drop(uid)
		return
	}
	rev := injectedBy(pod)
	if rev == "" || !isReady(pod) || pod.Status.PodIP == "" {
		return
	}
	node, err := m.nodes.Get(pod.Spec.NodeName)
	if err != nil || node.Labels["type"] != *nodeType {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.byUID[uid] != nil {
		return
	}
	p := newProxy(m, pod, rev)
	m.count++
	p.sotw = m.count%2 == 0
	m.byUID[uid], m.byIP[p.ip] = p, p
	p.pid = m.proc.add(p)
	ctx, cancel := context.WithCancel(m.ctx)
	p.cancel = cancel
	go p.run(ctx)
}

func (m *mesh) drop(uid string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.byUID[uid]
	if p == nil {
		return
	}
	p.cancel()
	delete(m.byUID, uid)
	if m.byIP[p.ip] == p {
		delete(m.byIP, p.ip)
	}
	m.proc.remove(p)
}

// token of a ServiceAccount for istiod, asked for once and kept.
func (m *mesh) token(ctx context.Context, ns, sa string) (string, error) {
	m.mu.Lock()
	t, ok := m.tokens[ns+"/"+sa]
	m.mu.Unlock()
	if ok && time.Until(t.ends) > 5*time.Minute {
		return t.text, nil
	}
	sec := int64(12 * 3600)
	r, err := m.client.CoreV1().ServiceAccounts(ns).CreateToken(ctx, sa, &authv1.TokenRequest{
		Spec: authv1.TokenRequestSpec{Audiences: []string{"istio-ca"}, ExpirationSeconds: &sec}}, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	m.mu.Lock()
	m.tokens[ns+"/"+sa] = token{r.Status.Token, r.Status.ExpirationTimestamp.Time}
	m.mu.Unlock()
	return r.Status.Token, nil
}

// roots reads the mesh's root of trust as the namespace has it.
func (m *mesh) roots(ctx context.Context, ns string) (*x509.CertPool, error) {
	cm, err := m.client.CoreV1().ConfigMaps(ns).Get(ctx, "istio-ca-root-cert", metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(cm.Data["root-cert.pem"])) {
		return nil, fmt.Errorf("no certificate in ConfigMap %s/istio-ca-root-cert", ns)
	}
	return pool, nil
}

// replica is the address of a ready istiod of the revision, as kube-proxy would choose it.
func (m *mesh) replica(rev string) (string, error) {
	list, err := m.slices.List(labels.SelectorFromSet(labels.Set{discoveryv1.LabelServiceName: "istiod-" + rev}))
	if err != nil {
		return "", err
	}
	var ips []string
	for _, s := range list {
		for _, e := range s.Endpoints {
			if e.Conditions.Ready != nil && *e.Conditions.Ready {
				ips = append(ips, e.Addresses...)
			}
		}
	}
	if len(ips) == 0 {
		return "", fmt.Errorf("no endpoints for service istiod-%s", rev)
	}
	return ips[rand.Intn(len(ips))], nil
}

func (m *mesh) clusterIP(rev string) string {
	s, err := m.svcs.Get("istiod-" + rev)
	if err != nil {
		log.Printf("Service istiod-%s: %v", rev, err)
		return "0.0.0.0"
	}
	return s.Spec.ClusterIP
}

// matching calls fn for each proxy whose NAMESPACE/POD begins with match.
func (m *mesh) matching(match, rev string, fn func(*proxy)) {
	m.mu.Lock()
	var found []*proxy
	for _, p := range m.byUID {
		if strings.HasPrefix(p.ns+"/"+p.name, match) && (rev == "" || rev == p.rev) {
			found = append(found, p)
		}
	}
	m.mu.Unlock()
	for _, p := range found {
		fn(p)
	}
}
