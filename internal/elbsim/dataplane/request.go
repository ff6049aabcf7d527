package dataplane

import (
	"bufio"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
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
	case ClientGone:
		return 460
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
	e.Group = d.group()
	u, group, found := d.node.pick(e.Group, d.plane.clock.Now(), flow{})
	if !found {
		e.Outcome = NoTarget
		refuse(w, &e)
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
		refuse(w, &e)
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
		refuse(w, x.entry)
		return
	}
	x.entry.Status = response.StatusCode
	err = pass(w, response)
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
	if err != nil {
		panic(http.ErrAbortHandler) // cuts the client off: its answer is not whole
	}
}

// failure names what ended the exchange.
func (x *exchange) failure(r *http.Request, err error) Outcome {
	switch {
	case x.wasCut(x.conn):
		return Cut
	case r.Context().Err() != nil:
		return ClientGone
	}
	return failure(err, true)
}

// ask sends the request and reads the head of the answer. The target may answer
// before it has read everything.
func (x *exchange) ask(w http.ResponseWriter, out *http.Request) (*http.Response, error) {
	x.sent = make(chan bool, 1)
	if out.ContentLength == 0 {
		x.sent <- send(x.conn, out) == nil
	} else {
		// Sending may go on while the answer is passed on.
		_ = http.NewResponseController(w).EnableFullDuplex() // HTTP/1.1 always can
		go func() { x.sent <- send(x.conn, out) == nil }()
	}
	for {
		response, err := http.ReadResponse(x.conn.reader, out)
		if err != nil {
			return nil, err
		}
		if response.StatusCode >= 200 {
			return response, nil
		}
	}
}

func send(c *conn, out *http.Request) error {
	w := bufio.NewWriter(c)
	if err := out.Write(w); err != nil {
		return err
	}
	return w.Flush()
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

// refuse answers in the target's place.
func refuse(w http.ResponseWriter, e *Entry) {
	e.Status = statusOf(e.Outcome)
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

// pass copies an answer to the client as it comes.
func pass(w http.ResponseWriter, response *http.Response) error {
	removeHops(response.Header)
	for name, values := range response.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(response.StatusCode)
	flush := http.NewResponseController(w).Flush
	buffer := make([]byte, 16<<10)
	for {
		n, err := response.Body.Read(buffer)
		if n > 0 {
			if _, err := w.Write(buffer[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := flush(); err != nil {
			return err
		}
	}
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
	out.URL.Host = cmp.Or(out.Host, d.listener.Addr().String())
	return out
}

// traceID makes X-Amzn-Trace-Id: a Root where there is none, else a Self beside it.
func traceID(before string, now time.Time) string {
	var random [12]byte
	_, _ = rand.Read(random[:]) // never fails
	id := fmt.Sprintf("1-%08x-%x", now.Unix(), random)
	switch {
	case before == "":
		return "Root=" + id
	case strings.Contains(before, "Root="):
		return "Self=" + id + ";" + before
	}
	return before + ";Root=" + id
}
