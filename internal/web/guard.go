package web

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// policy lets a page load what this package serves, send forms back to it, and
// nothing else. A script that got into the page as data would not run.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; " +
	"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// guarded sets the headers that bind browsers and refuses what other sites' pages
// make them send.
func guarded(next http.Handler) http.Handler {
	next = http.NewCrossOriginProtection().Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", policy)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Referrer-Policy", "no-referrer")
		next.ServeHTTP(w, r)
	})
}

// OwnHost answers 403 to requests whose Host header is neither a loopback name or
// address nor the address on which the connection came in. This is against DNS
// rebinding: the owner of a name can make it point to 127.0.0.1 once a browser has
// opened a page under that name, and to the browser all that is served there is
// then of the same origin as that page, whose scripts may read it and post to it.
// Such requests still bear the name.
func OwnHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
		if !ownHost(r.Host, local) {
			message := fmt.Sprintf("Host %q is refused, since any site could use such a name to act here. Use the address instead", r.Host)
			if local != nil {
				message += ": http://" + local.String()
			}
			http.Error(w, message, http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// ownHost tells whether a Host header names loopback or local, whatever the port:
// forwarded ports differ from the one listened on.
func ownHost(host string, local net.Addr) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if name := strings.ToLower(strings.TrimSuffix(host, ".")); name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true // browsers resolve these by themselves
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	tcp, isTCP := local.(*net.TCPAddr)
	return addr.IsLoopback() || isTCP && tcp.AddrPort().Addr().Unmap() == addr.Unmap()
}
