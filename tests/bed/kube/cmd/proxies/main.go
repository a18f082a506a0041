// proxies: one synthetic sidecar for each Ready injected pod of kwok's nodes. Each speaks ADS to a replica of the revision that
// injected it, with its own ServiceAccount's token, and shows what a node sees of a sidecar: a /proc entry and stats ports.
package main

import (
	"context"
	"flag"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

var (
	kubeconfig = flag.String("kubeconfig", os.Getenv("KUBECONFIG"), "kubeconfig of an administrator")
	ctl        = flag.String("ctl", "127.0.0.1:9100", "address of the control port: GET /list, POST /rule, POST /unrule")
	procDir    = flag.String("proc-dir", "", "folder of the nodes' /proc trees: DIR/NODE/PID/...")
	nodeType   = flag.String("node-type", "kwok", "value of the label type of the nodes whose pods are played")
	istioNS    = flag.String("istio-namespace", "istio-system", "namespace of the istiods")
	maxBackoff = flag.Duration("max-backoff", 10*time.Second, "longest wait before a reconnect")
	rejects    = flag.String("reject", "istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig",
		"a listener that holds this type is rejected, as upstream Envoy would")
	lone           = flag.Int("lone", 0, "so many proxies without pods, besides those of the pods")
	loneNamespaces = flag.Int("lone-namespaces", 100, "namespaces that they say they are in")
	lonePerSecond  = flag.Int("lone-per-second", 200, "how many of them begin in a second")
	loneTargets    = flag.String("lone-targets", "", "where they hang: REV=IP,REV=IP; over plaintext 15010")
	loneVersion    = flag.String("lone-version", "1.29.6", "proxy version that they show")
)

func main() {
	flag.Parse()
	log.SetFlags(log.Ltime | log.Lmicroseconds)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		log.Fatal(err)
	}
	config.QPS, config.Burst = 500, 1000
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		log.Fatal(err)
	}
	m := newMesh(ctx, client)
	go m.serveControl(*ctl)
	go m.serveStats()
	m.follow(ctx)
	if *lone > 0 {
		go m.lone(ctx, *lone, max(1, *loneNamespaces), max(1, *lonePerSecond), *loneTargets)
	}
	<-ctx.Done()
}
