package trial

import (
	"io"
	"net"
	"sync"
)

// proxy stands between the controller and the API server, so that connections can
// be cut without either of them being stopped.
type proxy struct {
	listener net.Listener
	to       string

	mu   sync.Mutex
	open map[net.Conn]bool
}

func startProxy(to string) (*proxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{listener: listener, to: to, open: map[net.Conn]bool{}}
	go p.serve()
	return p, nil
}

func (p *proxy) address() string { return p.listener.Addr().String() }

func (p *proxy) serve() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return // stopped
		}
		go p.connect(conn)
	}
}

func (p *proxy) connect(from net.Conn) {
	to, err := net.Dial("tcp", p.to)
	if err != nil {
		from.Close()
		return
	}
	p.mu.Lock()
	p.open[from], p.open[to] = true, true
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { pipe(to, from) })
	both.Go(func() { pipe(from, to) })
	both.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, from)
	delete(p.open, to)
}

// pipe copies until either end is gone, and then closes both.
func pipe(to, from net.Conn) {
	_, _ = io.Copy(to, from) // however it ends, it ends
	to.Close()
	from.Close()
}

// cut ends all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.open {
		conn.Close()
	}
}

func (p *proxy) stop() {
	p.listener.Close()
	p.cut()
}
