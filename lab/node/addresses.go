package node

import (
	"errors"
	"net/netip"
	"sync"
)

// addresses is the pool of one node: the second to the last but one address of
// its /24.
type addresses struct {
	mu    sync.Mutex
	base  [4]byte
	reuse bool
	taken map[byte]bool
	last  byte
}

const firstHost, lastHost = 2, 254

func newAddresses(of netip.Prefix, reuse bool) *addresses {
	return &addresses{base: of.Addr().As4(), reuse: reuse, taken: map[byte]bool{}, last: firstHost - 1}
}

func (a *addresses) take() (netip.Addr, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	host := a.last
	if a.reuse {
		host = firstHost - 1
	}
	for range lastHost {
		host++
		if host > lastHost {
			host = firstHost
		}
		if !a.taken[host] {
			a.taken[host], a.last = true, host
			address := a.base
			address[3] = host
			return netip.AddrFrom4(address), nil
		}
	}
	return netip.Addr{}, errors.New("the node has no free address")
}

func (a *addresses) release(address netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.taken, address.As4()[3])
}
