package load

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// maxLine is how long a line of the raw protocol may be.
const maxLine = 1 << 10

// raw makes an exchange of [Echo]'s protocol. It ends with ctx, provided that the
// dialer does.
func (o Options) raw(ctx context.Context, a arrival) answer {
	conn, err := o.Dial(ctx, schemeTCP, a.target.url.Host)
	if err != nil {
		return answer{class: classify(ctx, err), err: err}
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	result := rawOn(ctx, conn, a)
	result.from = conn.LocalAddr().String()
	return result
}

// rawOn makes the exchange on a connection.
func rawOn(ctx context.Context, conn net.Conn, a arrival) answer {
	if _, err := io.WriteString(conn, a.id+"\n"); err != nil {
		return answer{class: classify(ctx, err), err: err}
	}
	line, err := readLine(conn)
	if err != nil {
		return answer{class: classify(ctx, err), err: err}
	}
	id, pod, found := strings.Cut(line, " ")
	if !found {
		return lost(Garbled, "", "the answer is %q", line)
	}
	return witness{Pod: pod, Request: id}.judge(a.id)
}

var errLongLine = errors.New("a line that does not end")

func readLine(r io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, maxLine)).ReadString('\n')
	if err == io.EOF && len(line) == maxLine {
		err = errLongLine
	}
	return strings.TrimSuffix(line, "\n"), err
}

// patience of [Echo] with connections that do not say anything.
const patience = 10 * time.Second

// Echo is the server of the protocol of [Raw] requests. The client connects and
// sends its id and a newline; the server sends the id, a space, the name of its
// pod and a newline, and closes the connection.
type Echo struct {
	// Pod is the name to answer with.
	Pod string
	// Latency is how long it takes for each answer.
	Latency time.Duration
	// Collector hears of each request; may be nil.
	Collector *Collector
}

// Serve answers on a listener until it is closed, finishes what it has accepted,
// and returns why the listener ended. It never returns nil.
func (e *Echo) Serve(l net.Listener) error {
	var open sync.WaitGroup
	defer open.Wait()
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		open.Go(func() { e.answer(conn) })
	}
}

func (e *Echo) answer(conn net.Conn) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	id, err := readLine(conn)
	if err != nil {
		return
	}
	if e.Collector != nil {
		e.Collector.Reached(id, e.Pod)
	}
	time.Sleep(e.Latency)
	conn.SetDeadline(time.Now().Add(patience))
	io.WriteString(conn, id+" "+e.Pod+"\n")
}
