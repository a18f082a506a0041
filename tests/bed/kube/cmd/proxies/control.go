package main

import (
	"encoding/json"
	"log"
	"net/http"
	"slices"
	"strings"
)

const (
	healthy = iota
	nacking // rejects listeners
	silent  // does not answer updates
	away    // no attempt to reach an istiod succeeds
	astray  // hangs on the revision that the rule's text names
	unsent  // also subscribes to a type for which istiod has nothing to send
)

var modeNames = []string{"healthy", "nack", "withhold", "away", "astray", "unsent"}

// rejoins: the mode is about the connection, a change of it begins a new one.
func rejoins(mode int) bool { return mode == away || mode == astray || mode == unsent }

// rule says how the proxies whose NAMESPACE/POD begins with Match behave; those that come later too. The newest rule counts.
type rule struct {
	Match, Rev, Mode, Text string
}

func (m *mesh) modeOf(p *proxy) (int, string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range slices.Backward(m.rules) {
		if strings.HasPrefix(p.ns+"/"+p.name, r.Match) && (r.Rev == "" || r.Rev == p.rev) {
			return slices.Index(modeNames, r.Mode), r.Text
		}
	}
	return healthy, ""
}

func (m *mesh) setRule(w http.ResponseWriter, q *http.Request) {
	var r rule
	if json.NewDecoder(q.Body).Decode(&r) != nil || slices.Index(modeNames, r.Mode) <= 0 {
		http.Error(w, `want {"match": "NS/", "rev": "", "mode": "nack|withhold|away|astray|unsent", "text": ""}`, http.StatusBadRequest)
		return
	}
	m.mu.Lock()
	m.rules = append(m.rules, r)
	m.mu.Unlock()
	if mode := slices.Index(modeNames, r.Mode); rejoins(mode) {
		m.matching(r.Match, r.Rev, (*proxy).rejoin)
	} else if mode == nacking {
		m.matching(r.Match, r.Rev, (*proxy).again)
	}
}

func (m *mesh) dropRule(w http.ResponseWriter, q *http.Request) {
	var r rule
	if json.NewDecoder(q.Body).Decode(&r) != nil {
		http.Error(w, `want {"match": "NS/"}`, http.StatusBadRequest)
		return
	}
	after := (*proxy).again
	m.mu.Lock()
	m.rules = slices.DeleteFunc(m.rules, func(x rule) bool {
		if x.Match == r.Match && rejoins(slices.Index(modeNames, x.Mode)) {
			after = (*proxy).rejoin
		}
		return x.Match == r.Match
	})
	m.mu.Unlock()
	m.matching(r.Match, "", after)
}

type shown struct {
	Namespace, Pod, Node, Revision, IP string
	Online, Sotw                       bool
	Accepted                           map[string]string
	Rejected                           map[string]int
}

func (m *mesh) list(w http.ResponseWriter, _ *http.Request) {
	out := []shown{}
	m.matching("", "", func(p *proxy) {
		p.mu.Lock()
		defer p.mu.Unlock()
		s := shown{p.ns, p.name, p.node, p.rev, p.ip, p.online, p.sotw, map[string]string{}, map[string]int{}}
		for _, t := range []struct{ short, long string }{{"CDS", tCDS}, {"LDS", tLDS}} {
			s.Accepted[t.short], s.Rejected[t.short] = p.accepted[t.long], p.rejected[t.long]
		}
		out = append(out, s)
	})
	json.NewEncoder(w).Encode(out)
}

func (m *mesh) serveControl(addr string) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /list", m.list)
	mux.HandleFunc("POST /rule", m.setRule)
	mux.HandleFunc("POST /unrule", m.dropRule)
	log.Fatal(http.ListenAndServe(addr, mux))
}
