package access

import (
	"net"
	"net/http"

	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire/secure"
)

// HTTP lets only those through to an HTTP handler who have a right for all queues. A nil Guard lets everybody through.
func (g *Guard) HTTP(right task.Right, next http.Handler) http.Handler {
	if g == nil || right == task.RightAnybody {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if status, text := g.checkHTTP(r, right); status != http.StatusOK {
			if status == http.StatusUnauthorized {
				w.Header().Set("WWW-Authenticate", `Bearer realm="rota"`)
			}
			w.Header().Set("Cache-Control", "no-store")
			http.Error(w, text, status)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// checkHTTP returns the status of a request, and what is wrong with it.
func (g *Guard) checkHTTP(r *http.Request, right task.Right) (code int, text string) {
	if g.plain && r.TLS == nil {
		return http.StatusOK, ""
	}
	who, reason, err := &Principal{}, Reason(""), error(nil)
	if header := r.Header.Values("Authorization"); len(header) > 0 {
		who, reason, err = g.byHeader(r.Context(), header)
	} else if peer, ok := secure.PeerOf(r.TLS); ok {
		who = &Principal{Role: peer.Role, Name: peer.Name}
	}
	deny := func(code int, reason Reason, text string) (int, string) {
		from, _, _ := net.SplitHostPort(r.RemoteAddr)
		g.denied(Denial{Who: whoText(who), From: from, Call: "HTTP " + r.Pattern, Right: right, Reason: reason})
		return code, text
	}
	switch {
	case err != nil && reason == "":
		return http.StatusServiceUnavailable, err.Error()
	case err != nil:
		return deny(http.StatusUnauthorized, reason, err.Error())
	case who.Role == "":
		return deny(http.StatusUnauthorized, reasonNobody, "this needs the right "+string(right)+": show a certificate, or a token in the header Authorization (Bearer rota_...)")
	case !who.Role.Has(right):
		return deny(http.StatusForbidden, reasonRight, who.String()+" has the role "+string(who.Role)+", and this needs the right "+string(right))
	case who.Limited():
		return deny(http.StatusForbidden, reasonQueue, who.String()+" has its rights for the queues "+who.queuesText()+" only, and this is about the whole cluster")
	}
	return http.StatusOK, ""
}

// whoText is for a request whose credentials are not valid.
func whoText(p *Principal) string {
	if p == nil {
		p = &Principal{}
	}
	return p.String()
}
