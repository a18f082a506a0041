package main

import (
	"context"
	"fmt"
	"log"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// Proxies without pods, for load: plaintext streams, many on a connection.

const perConnection = 100

// lone makes count proxies in as many namespaces as told, spread evenly over targets ("REV=IP,REV=IP"), perSecond at most.
func (m *mesh) lone(ctx context.Context, count, namespaces, perSecond int, targets string) {
	lines := map[string][]*line{}
	var revs []string
	for _, t := range strings.Split(targets, ",") {
		rev, ip, ok := strings.Cut(t, "=")
		if !ok {
			log.Fatalf("-lone-targets: %q is not REV=IP", t)
		}
		for i := 0; i <= count/perConnection; i++ {
			conn, err := grpc.NewClient("passthrough:///"+ip+":15010", grpc.WithTransportCredentials(insecure.NewCredentials()),
				grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
			if err != nil {
				log.Fatal(err)
			}
			lines[rev] = append(lines[rev], &line{conn: conn})
		}
		revs = append(revs, rev)
	}
	tick := time.NewTicker(time.Second / time.Duration(perSecond))
	defer tick.Stop()
	for i := 0; i < count && ctx.Err() == nil; i++ {
		<-tick.C
		m.loner(ctx, i, i%namespaces, revs[i%len(revs)], lines)
	}
}

func (m *mesh) loner(ctx context.Context, i, ns int, rev string, lines map[string][]*line) {
	p := &proxy{mesh: m, uid: fmt.Sprintf("lone-%d", i), ns: fmt.Sprintf("lone-%03d", ns), name: fmt.Sprintf("web-%05d", i), sa: "default",
		rev: rev, version: *loneVersion, ip: fmt.Sprintf("100.%d.%d.%d", 64+i>>16, i>>8&255, i&255), owner: "web", sotw: i%2 == 0,
		labels: map[string]string{"app": "web"}, accepted: map[string]string{}, rejected: map[string]int{}, wake: make(chan struct{}, 1)}
	p.open = func(context.Context) (*line, error) {
		mode, text := m.modeOf(p)
		if mode == away {
			return nil, fmt.Errorf("kept away by a rule")
		}
		to := lines[rev]
		if mode == astray && lines[text] != nil {
			to = lines[text]
		}
		return to[i/perConnection], nil
	}
	ctx, p.cancel = context.WithCancel(ctx)
	m.mu.Lock()
	m.byUID[p.uid] = p
	m.mu.Unlock()
	go p.run(ctx)
}
