package cluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// ports that the processes listen on, all of 127.0.0.1.
type ports struct {
	etcd, peer, apiserver, controllers, scheduler int
}

// freePorts chooses ports that nobody listens on at present. They are below the
// range from which Linux takes the local ports of outgoing connections, so that
// the API server finds its port still free when it is started again.
func freePorts() (p ports, err error) {
	var held []net.Listener
	defer func() {
		for _, l := range held {
			l.Close()
		}
	}()
	for _, port := range []*int{&p.etcd, &p.peer, &p.apiserver, &p.controllers, &p.scheduler} {
		l, err := listenSomewhere()
		if err != nil {
			return ports{}, err
		}
		held = append(held, l)
		*port = l.Addr().(*net.TCPAddr).Port
	}
	return p, nil
}

func listenSomewhere() (net.Listener, error) {
	const lowest, highest, attempts = 20000, 32000, 100
	var failures error
	for range attempts {
		port := lowest + rand.IntN(highest-lowest)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			return l, nil
		}
		failures = err
	}
	return nil, errors.Join(errors.New("find a free port"), failures)
}
