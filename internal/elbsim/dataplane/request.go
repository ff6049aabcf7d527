package dataplane

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// statusOf is what an Application Load Balancer answers in the target's place.
func statusOf(o Outcome) int {
	switch o {
	case NoTarget:
		return http.StatusServiceUnavailable
	case ConnectTimeout, ResponseTimeout:
		return http.StatusGatewayTimeout
	case ClientTimeout:
		return http.StatusRequestTimeout
	case ClientGone:
		return statusClientGone
	case Rejected:
		return http.StatusBadRequest
	}
	return http.StatusBadGateway
}

func timedOut(err error) bool {
	timeout, is := errors.AsType[net.Error](err)
	return is && timeout.Timeout() || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}

// failure names what went wrong with a target, before or after it was connected.
func failure(err error, connected bool) Outcome {
	switch {
	case timedOut(err) && connected:
		return ResponseTimeout
	case timedOut(err):
		return ConnectTimeout
	case connected:
		return Reset
	}
	return Refused
}

// serveRequest forwards one request, once.
func (d *door) serveRequest(w http.ResponseWriter, r *http.Request) {
	if !d.begin() {
		panic(http.ErrAbortHandler)
	}
	defer d.under.Done()
	e := d.entry()
	e.Client, e.Method, e.Path, e.RequestID = r.RemoteAddr, r.Method, r.URL.Path, r.Header.Get("X-Request-Id")
	defer d.record(&e)
	d.hurry(w)
	if d.outlived(r) {
		w.Header().Set("Connection", "close")
	}
	if status := faultOf(r); status != 0 {
		e.Outcome, e.Status = Rejected, status
		d.refuse(w, &e)
		return
	}
	e.Group = d.group()
	u, group, found := d.node.pick(e.Group, d.plane.clock.Now(), flow{})
	if !found {
		e.Outcome = NoTarget
		d.refuse(w, &e)
		return
	}
	defer d.node.release(u)
	e.Target = u.key.String()
	c, err := d.connect(r.Context(), u, group)
	if err != nil {
		e.Outcome = failure(err, false)
		if c != nil {
			e.Outcome = Cut
		} else if r.Context().Err() != nil {
			e.Outcome = ClientGone
		}
		d.refuse(w, &e)
		return
	}
	e.Reused = c.reused
	d.exchange(w, r, &exchange{upstream: u, conn: c, entry: &e})
}

// exchange is one request on its way to the target and back.
type exchange struct {
	*upstream
	conn  *conn
	entry *Entry
	body  *body     // nil if there is none
	sent  chan bool // the end of sending the request: whether all of it was sent
}

// exchange sends the request and passes the answer on. The connection is kept
// for another request if both came to their proper end.
func (d *door) exchange(w http.ResponseWriter, r *http.Request, x *exchange) {
	stop := context.AfterFunc(r.Context(), func() { x.conn.Close() })
	defer stop()
	response, err := x.ask(w, d.outgoing(r)) //nolint:bodyclose // closing would read on: the connection is closed in its place
	if err != nil {
		x.entry.Outcome = x.failure(r, err)
		x.drop(x.conn)
		x.settle(w)
		d.refuse(w, x.entry)
		return
	}
	x.entry.Status = response.StatusCode
	if response.StatusCode == http.StatusSwitchingProtocols {
		d.upgrade(w, x, response)
		return
	}
	begun, err := d.pass(w, response, x.conn.reader.Buffered() > 0)
	if err != nil {
		x.entry.Outcome = x.failure(r, err)
	}
	reusable := err == nil && !response.Close && x.conn.reader.Buffered() == 0 && x.settled() && stop()
	if reusable {
		x.put(x.conn)
		return
	}
	x.drop(x.conn)
	x.settle(w)
	if err != nil && begun {
		panic(http.ErrAbortHandler) // cuts the client off: its answer is not whole
	}
	if err != nil {
		x.entry.Status = 0
		d.refuse(w, x.entry)
	}
}

// failure names what ended the exchange.
func (x *exchange) failure(r *http.Request, err error) Outcome {
	switch {
	case x.ended(x.conn) != running:
		return Cut
	case r.Context().Err() != nil || errors.Is(err, errNotTaken):
		return ClientGone
	case x.body != nil && x.body.failure() != nil:
		return bodyOutcome(x.body.failure())
	case x.body != nil && timedOut(err) && x.body.awaited.Load():
		return ClientTimeout
	}
	return failure(err, true)
}

// maxHead is how large the head of an answer may be, with those of the interim
// answers before it.
const maxHead = 32 << 10

// ask sends the request and reads the head of the answer. The target may answer
// before it has read everything.
func (x *exchange) ask(w http.ResponseWriter, out *http.Request) (*http.Response, error) {
	x.sent = make(chan bool, 1)
	x.conn.allow = maxHead
	if out.Body == nil {
		x.sent <- send(x.conn, out) == nil
	} else {
		// Sending may go on while the answer is passed on.
		_ = http.NewResponseController(w).EnableFullDuplex() // HTTP/1.1 always can
		x.body = &body{ReadCloser: out.Body, failed: func() { x.conn.Close() }}
		out.Body = x.body
		go func() { x.sent <- send(x.conn, out) == nil }()
	}
	for {
		response, err := http.ReadResponse(x.conn.reader, out)
		if err != nil {
			return nil, err
		}
		if response.StatusCode == http.StatusSwitchingProtocols && out.Header.Get("Upgrade") == "" {
			return nil, errors.New("the target switches protocols, which nobody asked for")
		}
		if response.StatusCode >= 200 || response.StatusCode == http.StatusSwitchingProtocols {
			x.conn.allow = -1
			return response, nil
		}
	}
}

func send(c *conn, out *http.Request) error {
	if err := out.Write(c.writer); err != nil {
		return err
	}
	return c.writer.Flush()
}

// patience is how long sending may go on after the whole answer came. A target
// that read everything has answered before the sender could say that it is done.
const patience = 100 * time.Millisecond

// settled tells whether the request was sent to its end.
func (x *exchange) settled() bool {
	select {
	case all := <-x.sent:
		x.sent <- all
		return all
	case <-time.After(patience):
		return false
	}
}

// settle ends sending after the connection was closed: it may wait for the client
// to say more, which interests nobody now.
func (x *exchange) settle(w http.ResponseWriter) {
	select {
	case <-x.sent:
		return
	default:
	}
	_ = http.NewResponseController(w).SetReadDeadline(longAgo)
	<-x.sent
}

// refuse answers in the target's place, with the entry's status if it has one.
func (d *door) refuse(w http.ResponseWriter, e *Entry) {
	d.hurry(w)
	e.Status = cmp.Or(e.Status, statusOf(e.Outcome))
	if e.Outcome == ClientGone {
		panic(http.ErrAbortHandler)
	}
	title := strconv.Itoa(e.Status) + " " + http.StatusText(e.Status)
	body := "<html>\r\n<head><title>" + title + "</title></head>\r\n<body>\r\n<center><h1>" + title + "</h1></center>\r\n</body>\r\n</html>\r\n"
	w.Header().Set("Server", "awselb/2.0")
	w.Header().Set("Content-Type", "text/html")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(e.Status)
	_, _ = io.WriteString(w, body) // a client that left misses nothing
}

// pass copies an answer to the client as it comes. Begun tells whether the client
// got some of it. The head waits for the body to begin if that has come with it, as
// ready says.
func (d *door) pass(w http.ResponseWriter, response *http.Response, ready bool) (begun bool, err error) {
	if !ready && response.Body != http.NoBody {
		begin(w, response)
		begun, err = true, http.NewResponseController(w).Flush()
	}
	buffer := make([]byte, 16<<10)
	for err == nil {
		var n int
		n, err = response.Body.Read(buffer)
		over := errors.Is(err, io.EOF)
		if !begun && (n > 0 || over) {
			begin(w, response)
			begun = true
		}
		d.hurry(w)
		if failed := passPiece(w, buffer[:n], over); failed != nil {
			return begun, errors.Join(errNotTaken, failed)
		}
		if over {
			return true, nil
		}
	}
	return begun, err
}

// errNotTaken says that a client left, or takes nothing for the idle timeout.
var errNotTaken = errors.New("the client does not take the answer")

// hurry gives the client the idle timeout from now on to take what is written.
func (d *door) hurry(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(d.dialer().idle)) // fails only where writing does
}

// passPiece passes on a piece of a body; the last need not hurry.
func passPiece(w http.ResponseWriter, piece []byte, last bool) error {
	if len(piece) == 0 {
		return nil
	}
	if _, err := w.Write(piece); err != nil || last {
		return err
	}
	return http.NewResponseController(w).Flush()
}

// begin passes the head of an answer on.
func begin(w http.ResponseWriter, response *http.Response) {
	removeHops(response.Header)
	for name, values := range response.Header {
		w.Header()[name] = values
	}
	if response.Header["Content-Type"] == nil {
		w.Header()["Content-Type"] = nil // else the server would guess one
	}
	w.WriteHeader(response.StatusCode)
}

// hops are the headers that concern one connection only.
func hops() []string {
	return []string{"Connection", "Proxy-Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}
}

func removeHops(h http.Header) {
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			h.Del(strings.TrimSpace(name))
		}
	}
	for _, name := range hops() {
		h.Del(name)
	}
}

// outgoing is the request as the target gets it.
func (d *door) outgoing(r *http.Request) *http.Request {
	out := r.Clone(r.Context())
	out.Close, out.Trailer = false, nil
	removeHops(out.Header)
	if asksForWebSocket(r) {
		out.Header["Connection"], out.Header["Upgrade"] = []string{"Upgrade"}, []string{"websocket"}
	}
	out.Header.Del("Expect") // the server has told the client to go on
	if out.Header["User-Agent"] == nil {
		out.Header.Set("User-Agent", "") // else Write would put in its own
	}
	client, _, _ := net.SplitHostPort(r.RemoteAddr)
	if before := strings.Join(out.Header["X-Forwarded-For"], ", "); before != "" {
		client = before + ", " + client
	}
	out.Header.Set("X-Forwarded-For", client)
	out.Header.Set("X-Forwarded-Proto", "http")
	out.Header.Set("X-Forwarded-Port", strconv.Itoa(d.port))
	out.Header.Set("X-Amzn-Trace-Id", traceID(r.Header.Get("X-Amzn-Trace-Id"), time.Now()))
	if out.ContentLength == 0 {
		out.Body = nil
	}
	out.Host = strings.ToLower(cmp.Or(r.Host, d.dnsName))
	out.URL.Scheme, out.URL.Host = "", "" // a request to a proxy names them: targets get the path
	return out
}

// traceID makes X-Amzn-Trace-Id: a Root where there is none, else a Self beside
// it, in the place of one that is there.
func traceID(before string, now time.Time) string {
	var random [12]byte
	_, _ = rand.Read(random[:]) // never fails
	id := fmt.Sprintf("1-%08x-%x", now.Unix(), random)
	if before == "" {
		return "Root=" + id
	}
	fields := slices.DeleteFunc(strings.Split(before, ";"), func(f string) bool { return strings.HasPrefix(f, "Self=") })
	if !strings.Contains(before, "Root=") {
		return strings.Join(append(fields, "Root="+id), ";")
	}
	return strings.Join(append([]string{"Self=" + id}, fields...), ";")
}
