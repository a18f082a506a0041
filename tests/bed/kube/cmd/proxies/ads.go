package main

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"
	"sync"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	rpc "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/anypb"
)

const (
	tCDS = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
	tLDS = "type.googleapis.com/envoy.config.listener.v3.Listener"
	tEDS = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
	tRDS = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"

	tPCDS = "type.googleapis.com/istio.mesh.v1alpha1.ProxyConfig" // nothing is sent for it where no ProxyConfig is
)

type request struct {
	typ, nonce, version string
	names               []string
	err                 string // not empty: a rejection
}

type message struct {
	typ, nonce, version string
	resources           []*anypb.Any
	names               []string // delta only
	removed             []string
}

// stream hides whether the state-of-the-world or the delta form is spoken.
type stream interface {
	send(request) error
	recv() (*message, error)
}

func openStream(ctx context.Context, ads discovery.AggregatedDiscoveryServiceClient, node *core.Node, sotw bool) (stream, error) {
	if sotw {
		s, err := ads.StreamAggregatedResources(ctx, grpc.WaitForReady(true))
		return &sotwStream{s: s, node: node}, err
	}
	s, err := ads.DeltaAggregatedResources(ctx, grpc.WaitForReady(true))
	return &deltaStream{s: s, node: node, subscribed: map[string][]string{}}, err
}

func detail(text string) *rpc.Status {
	if text == "" {
		return nil
	}
	return &rpc.Status{Code: 13, Message: text}
}

type sotwStream struct {
	mu   sync.Mutex
	s    discovery.AggregatedDiscoveryService_StreamAggregatedResourcesClient
	node *core.Node
}

func (x *sotwStream) send(r request) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	q := &discovery.DiscoveryRequest{Node: x.node, TypeUrl: r.typ, ResponseNonce: r.nonce, VersionInfo: r.version, ResourceNames: r.names,
		ErrorDetail: detail(r.err)}
	x.node = nil
	return x.s.Send(q)
}

func (x *sotwStream) recv() (*message, error) {
	r, err := x.s.Recv()
	if err != nil {
		return nil, err
	}
	return &message{typ: r.TypeUrl, nonce: r.Nonce, version: r.VersionInfo, resources: r.Resources}, nil
}

type deltaStream struct {
	mu         sync.Mutex
	s          discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesClient
	node       *core.Node
	subscribed map[string][]string
}

func (x *deltaStream) send(r request) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	q := &discovery.DeltaDiscoveryRequest{Node: x.node, TypeUrl: r.typ, ResponseNonce: r.nonce, ErrorDetail: detail(r.err)}
	x.node = nil
	if r.err == "" {
		q.ResourceNamesSubscribe = without(r.names, x.subscribed[r.typ])
		q.ResourceNamesUnsubscribe = without(x.subscribed[r.typ], r.names)
		x.subscribed[r.typ] = r.names
	}
	return x.s.Send(q)
}

func (x *deltaStream) recv() (*message, error) {
	r, err := x.s.Recv()
	if err != nil {
		return nil, err
	}
	m := &message{typ: r.TypeUrl, nonce: r.Nonce, version: r.SystemVersionInfo, removed: r.RemovedResources}
	for _, q := range r.Resources {
		m.resources = append(m.resources, q.Resource)
		m.names = append(m.names, q.Name)
	}
	return m, nil
}

func without(a, b []string) (out []string) {
	for _, s := range a {
		if !slices.Contains(b, s) {
			out = append(out, s)
		}
	}
	return out
}

func equal(a, b []string) bool { return slices.Equal(a, b) }

// unusable is Envoy's complaint about listeners that hold a type which it was not built with; "" when all can be used.
func (m *message) unusable(typ string) string {
	if m.typ != tLDS || typ == "" {
		return ""
	}
	var bad []string
	for _, r := range m.resources {
		if l := new(listener.Listener); bytes.Contains(r.Value, []byte(typ)) && r.UnmarshalTo(l) == nil {
			bad = append(bad, fmt.Sprintf("%s: Didn't find a registered implementation for 'istio.alpn' with type URL: '%s'", l.Name, typ))
		}
	}
	if len(bad) == 0 {
		return ""
	}
	return "Error adding/updating listener(s) " + strings.Join(bad, "\n") + "\n"
}

// derive collects the names that the resources of one type refer to. held keeps them by resource: a delta update is not the whole.
func derive(m *message, held map[string][]string, whole bool, refers func(*anypb.Any) []string) []string {
	prefix := m.typ + "/"
	for k := range held {
		if whole && strings.HasPrefix(k, prefix) {
			delete(held, k)
		}
	}
	for i, r := range m.resources {
		key := fmt.Sprintf("%s%d", prefix, i)
		if !whole {
			key = prefix + m.names[i]
		}
		held[key] = refers(r)
	}
	for _, r := range m.removed {
		delete(held, prefix+r)
	}
	set := map[string]bool{}
	for k, v := range held {
		if strings.HasPrefix(k, prefix) {
			for _, x := range v {
				set[x] = true
			}
		}
	}
	out := make([]string, 0, len(set))
	for k := range set {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}

func edsNames(a *anypb.Any) []string {
	c := &cluster.Cluster{}
	if a.UnmarshalTo(c) != nil || c.GetType() != cluster.Cluster_EDS {
		return nil
	}
	if s := c.GetEdsClusterConfig().GetServiceName(); s != "" {
		return []string{s}
	}
	return []string{c.Name}
}

func rdsNames(a *anypb.Any) (out []string) {
	l := &listener.Listener{}
	if a.UnmarshalTo(l) != nil {
		return nil
	}
	for _, chain := range append(l.FilterChains, l.DefaultFilterChain) {
		for _, f := range chain.GetFilters() {
			h := &hcm.HttpConnectionManager{}
			if f.GetTypedConfig().MessageIs(h) && f.GetTypedConfig().UnmarshalTo(h) == nil && h.GetRds().GetRouteConfigName() != "" {
				out = append(out, h.GetRds().GetRouteConfigName())
			}
		}
	}
	return out
}
