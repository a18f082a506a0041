// kwok with the stages of this bed: `kwok print-stages` writes them, everything else is kwok's own command.
// Annotations of a pod that they know: bed.test/hold (leave it alone), pod-ip (this address), ready-delay, term-delay, crashloop, unready.
package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"

	nodefast "sigs.k8s.io/kwok/kustomize/stage/node/fast"
	nodehb "sigs.k8s.io/kwok/kustomize/stage/node/heartbeat-with-lease"
	podfast "sigs.k8s.io/kwok/kustomize/stage/pod/fast"
	"sigs.k8s.io/kwok/pkg/config"
	"sigs.k8s.io/kwok/pkg/kwok/cmd"
	"sigs.k8s.io/kwok/pkg/log"
	"sigs.k8s.io/kwok/pkg/utils/signals"
)

func expr(key, op string) string {
	return fmt.Sprintf("    - key: '.metadata.annotations[\"bed.test/%s\"]'\n      operator: '%s'\n", key, op)
}

func delay(key string) string {
	return fmt.Sprintf("  delay:\n    durationMilliseconds: 0\n    durationFrom:\n      expressionFrom: '.metadata.annotations[\"bed.test/%s\"]'\n", key)
}

func before(s, mark, ins string) string {
	i := strings.Index(s, mark)
	if i < 0 {
		panic("stage without " + mark)
	}
	return s[:i] + ins + s[i:]
}

func stages() string {
	// meshgate's own pods are real processes, run by the bed's kubelet
	notOurs := "    - key: '.metadata.labels[\"app.kubernetes.io/part-of\"]'\n      operator: 'NotIn'\n      values: ['meshgate']\n"
	ready := before(podfast.DefaultPodReady, "  next:", expr("hold", "DoesNotExist")+expr("crashloop", "DoesNotExist")+notOurs)
	pool := before(ready, "  next:", expr("pod-ip", "DoesNotExist")+delay("ready-delay"))
	fixed := strings.Replace(ready, "name: pod-ready", "name: pod-ready-fixed-ip", 1)
	fixed = before(fixed, "  next:", expr("pod-ip", "Exists"))
	a, b := strings.Index(fixed, "      {{ $podIPs :="), strings.Index(fixed, "      phase: Running")
	fixed = fixed[:a] + "      podIP: {{ index .metadata.annotations \"bed.test/pod-ip\" | Quote }}\n      podIPs:\n      - ip: {{ index .metadata.annotations \"bed.test/pod-ip\" | Quote }}\n" + fixed[b:]
	del := before(podfast.DefaultPodDelete, "  next:", delay("term-delay"))
	cond := func(name, sel, want string) string {
		return `apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata:
  name: ` + name + `
spec:
  resourceRef: {apiGroup: v1, kind: Pod}
  selector:
    matchExpressions:
    - key: '.metadata.deletionTimestamp'
      operator: 'DoesNotExist'
    - key: '.status.phase'
      operator: 'In'
      values: ['Running']
    - key: '.status.conditions.[] | select( .type == "Ready" ) | .status'
      operator: 'NotIn'
      values: ['` + want + `']
` + sel + `  next:
    statusTemplate: |
      {{ $now := Now }}
      conditions:
      - lastTransitionTime: {{ $now | Quote }}
        status: "` + want + `"
        type: Ready
      - lastTransitionTime: {{ $now | Quote }}
        status: "` + want + `"
        type: ContainersReady
`
	}
	crash := `apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata:
  name: pod-crashloop
spec:
  resourceRef: {apiGroup: v1, kind: Pod}
  selector:
    matchExpressions:
    - key: '.metadata.deletionTimestamp'
      operator: 'DoesNotExist'
    - key: '.status.phase'
      operator: 'In'
      values: ['Pending']
` + expr("crashloop", "Exists") + `  next:
    statusTemplate: |
      {{ $now := Now }}
      conditions:
      - lastTransitionTime: {{ $now | Quote }}
        status: "False"
        reason: ContainersNotReady
        type: Ready
      - lastTransitionTime: {{ $now | Quote }}
        status: "False"
        reason: ContainersNotReady
        type: ContainersReady
      containerStatuses:
      {{ range .spec.containers }}
      - image: {{ .image | Quote }}
        name: {{ .name | Quote }}
        ready: false
        restartCount: 5
        state:
          waiting:
            reason: CrashLoopBackOff
            message: back-off 2m40s restarting failed container
      {{ end }}
      phase: Running
      startTime: {{ $now | Quote }}
`
	notHeld := expr("hold", "DoesNotExist") + notOurs
	all := []string{nodefast.DefaultNodeInit, nodehb.DefaultNodeHeartbeatWithLease, pool, fixed, podfast.DefaultPodComplete, del, crash,
		cond("pod-unready", notHeld+expr("unready", "Exists"), "False"),
		cond("pod-ready-again", notHeld+expr("unready", "DoesNotExist")+expr("crashloop", "DoesNotExist"), "True")}
	return strings.Join(all, "\n---\n")
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "print-stages" {
		fmt.Println(stages())
		return
	}
	fs := pflag.NewFlagSet("global", pflag.ContinueOnError)
	fs.ParseErrorsAllowlist.UnknownFlags = true
	fs.Usage = func() {}
	ctx := signals.SetupSignalContext()
	ctx, logger := log.InitFlags(ctx, fs)
	ctx, err := config.InitFlags(ctx, fs)
	if err != nil {
		logger.Error("Init config flags", "err", err)
		os.Exit(1)
	}
	c := cmd.NewCommand(ctx)
	c.PersistentFlags().AddFlagSet(fs)
	if err := c.ExecuteContext(ctx); err != nil {
		logger.Error("Execute exit", "err", err)
		os.Exit(1)
	}
}
