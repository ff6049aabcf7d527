package dataplane

import (
	"net/http"
	"strings"
)

// asksForWebSocket tells whether the client wants to go on in the protocol
// WebSocket, the only one that an Application Load Balancer switches to. Such a
// request has no body.
func asksForWebSocket(r *http.Request) bool {
	if r.ContentLength != 0 {
		return false
	}
	for _, line := range r.Header["Connection"] {
		for token := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(token), "upgrade") {
				return strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
			}
		}
	}
	return false
}

// upgrade passes the target's consent on and splices the two connections from
// then on.
func (d *door) upgrade(w http.ResponseWriter, x *exchange, consent *http.Response) {
	defer x.drop(x.conn)
	client, ahead, err := http.NewResponseController(w).Hijack()
	if err != nil { // HTTP/1.1 always can, unless the client is gone
		x.entry.Outcome = ClientGone
		return
	}
	d.admit(client)
	defer d.dismiss(client)
	consent.Body = nil
	if err := consent.Write(client); err != nil {
		x.entry.Outcome = ClientGone
		return
	}
	x.entry.Outcome = splice(end{client, ahead}, end{x.conn.Conn, x.conn.reader}, x.conn.limit)
	if x.ended(x.conn) != running {
		x.entry.Outcome = Cut
	}
}
