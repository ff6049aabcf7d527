package elbsim

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// DialMap says where addresses are really to be found: an address in From is
// dialled at the address in To that has the same host bits. It lets targets bear
// addresses that AWS accepts while what they stand for listens on loopback.
type DialMap []DialRule

// DialRule maps one range onto another of the same size.
type DialRule struct{ From, To netip.Prefix }

// ParseDialMap reads rules such as 10.0.0.0/8=127.0.0.0/8.
func ParseDialMap(rules []string) (DialMap, error) {
	var m DialMap
	for _, text := range rules {
		rule, err := parseDialRule(text)
		if err != nil {
			return nil, fmt.Errorf("dial map %q: want RANGE=RANGE, such as 10.0.0.0/8=127.0.0.0/8: %w", text, err)
		}
		m = append(m, rule)
	}
	return m, nil
}

func parseDialRule(text string) (DialRule, error) {
	left, right, _ := strings.Cut(text, "=")
	from, err := netip.ParsePrefix(left)
	if err != nil {
		return DialRule{}, err
	}
	to, err := netip.ParsePrefix(right)
	if err != nil {
		return DialRule{}, err
	}
	if from.Addr().BitLen()-from.Bits() > to.Addr().BitLen()-to.Bits() {
		return DialRule{}, fmt.Errorf("%s has more addresses than %s", from, to)
	}
	return DialRule{From: from.Masked(), To: to.Masked()}, nil
}

// Resolve is where to dial addr: by the first rule that covers it, else itself.
func (m DialMap) Resolve(addr netip.Addr) netip.Addr {
	for _, rule := range m {
		if rule.From.Contains(addr) {
			return rule.move(addr)
		}
	}
	return addr
}

// Dial connects over TCP to where an address is really to be found.
func (m DialMap) Dial(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	var dialer net.Dialer
	return dialer.DialContext(ctx, "tcp", netip.AddrPortFrom(m.Resolve(to.Addr()), to.Port()).String())
}

// move puts the host bits of addr, counted from the end, into the range To.
func (r DialRule) move(addr netip.Addr) netip.Addr {
	source, moved := addr.AsSlice(), r.To.Addr().AsSlice()
	hostBits := len(source)*8 - r.From.Bits()
	for i := 1; hostBits > 0; i++ {
		mask := byte(0xff)
		if hostBits < 8 {
			mask = 1<<hostBits - 1
		}
		moved[len(moved)-i] |= source[len(source)-i] & mask
		hostBits -= 8
	}
	result, _ := netip.AddrFromSlice(moved)
	return result
}
