package wire_test

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/wire"
)

const (
	// patience is only for tests that would hang otherwise.
	patience = time.Minute
	// silent is after how long a connection counts as silent.
	silent = 300 * time.Millisecond
)

// connected returns a listener of the wire and the far end of a connection that
// it has accepted and echoes.
func connected(t *testing.T, w *wire.Wire) (string, net.Conn) {
	t.Helper()
	l, err := w.Listen(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go io.Copy(c, c)
		}
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := echo(c, patience); err != nil {
		t.Fatal(err)
	}
	return l.Addr().String(), c
}

func echo(c net.Conn, within time.Duration) (byte, error) {
	c.SetDeadline(time.Now().Add(within))
	if _, err := c.Write([]byte{7}); err != nil {
		return 0, err
	}
	b := []byte{0}
	_, err := io.ReadFull(c, b)
	return b[0], err
}

func TestResetIsSeenByPeers(t *testing.T) {
	var w wire.Wire
	address, c := connected(t, &w)
	w.Reset()
	if _, err := echo(c, patience); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		t.Errorf("got %v, want a reset", err)
	}
	if _, err := net.Dial("tcp", address); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("got %v, want a refusal", err)
	}
}

func TestSilenceUntilRestored(t *testing.T) {
	var w wire.Wire
	address, c := connected(t, &w)
	w.Silence()
	w.Close()
	if _, err := echo(c, silent); !os.IsTimeout(err) {
		t.Errorf("an open connection gives %v, want silence", err)
	}
	if _, err := net.DialTimeout("tcp", address, silent); !os.IsTimeout(err) {
		t.Errorf("a new connection gives %v, want silence", err)
	}
	w.Restore()
	if _, err := net.DialTimeout("tcp", address, patience); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("got %v, want a refusal", err)
	}
}

func TestListenAfterTheEnd(t *testing.T) {
	var w wire.Wire
	w.Close()
	if _, err := w.Listen(netip.MustParseAddrPort("127.0.0.1:0")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v, want %v", err, net.ErrClosed)
	}
}
