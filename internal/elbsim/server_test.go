package elbsim

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/dataplane"
)

// One face that fails brings the whole down, and the error says why.
func TestServeEndsWhenAFaceFails(t *testing.T) {
	sim := must(New(Options{}))(t)
	server := must(sim.Listen(t.Context(), "127.0.0.1:0", "127.0.0.1:0"))(t)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(t.Context()) }()
	server.faces[1].listener.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
	if _, err := server.faces[0].listener.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the other face still listens: %v", err)
	}
}

func TestListenClosesWhatItOpenedBeforeItFailed(t *testing.T) {
	sim := must(New(Options{}))(t)
	free := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	address := free.Addr().String()
	free.Close()
	if _, err := sim.Listen(t.Context(), address, address); err == nil || !strings.Contains(err.Error(), "the admin API cannot be served") {
		t.Errorf("got %v", err)
	}
	must(net.Listen("tcp", address))(t).Close()
}

func TestSilentConnectionsAreClosed(t *testing.T) {
	var silent silentConns
	ours, theirs := net.Pipe()
	busy, _ := net.Pipe()
	late, latePeer := net.Pipe()
	silent.note(ours, http.StateNew)
	silent.note(busy, http.StateNew)
	silent.note(busy, http.StateActive)
	if len(silent.conns) != 1 {
		t.Errorf("got %v", silent.conns)
	}
	silent.close()
	silent.note(late, http.StateNew)
	for _, peer := range []net.Conn{theirs, latePeer} {
		if _, err := peer.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("got %v", err)
		}
	}
}

// What was read is spelt in a form that is read again.
func FuzzSetDelay(f *testing.F) {
	f.Add("alb.deregister=500ms-5s+5%-40s")
	f.Add("nlb.health=0s-0s")
	f.Add("alb.register=1s-2s+100%-2s")
	f.Add("=+%-")
	f.Fuzz(func(t *testing.T, text string) {
		options := dataplane.DefaultOptions()
		if err := SetDelay(&options, text); err != nil {
			return
		}
		spelt := map[string]string{
			"alb.register": options.ALB.Register.String(), "alb.deregister": options.ALB.Deregister.String(), "alb.health": options.ALB.Health.String(),
			"nlb.register": options.NLB.Register.String(), "nlb.deregister": options.NLB.Deregister.String(), "nlb.health": options.NLB.Health.String(),
		}
		name, _, _ := strings.Cut(text, "=")
		if err := SetDelay(&options, name+"="+spelt[name]); err != nil {
			t.Errorf("%q was read and spelt %s, which is refused: %v", text, spelt[name], err)
		}
	})
}
