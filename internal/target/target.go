// Package target is the vocabulary that every other package speaks: what a
// target is, what state a load balancer gives it, which group it belongs to.
//
// All types are plain values. Nothing here does I/O, reads a clock or logs, and
// the package imports only the standard library.
package target

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
)

// Key identifies a target within its group. ELBv2 keys targets by id and port;
// the zone is an attribute that AWS fills in by itself and never compares.
type Key struct {
	// Addr is the target id: for groups of type ip, an address.
	Addr netip.Addr
	// Port is the port the target serves on, 1 to 65535.
	Port uint16
}

// ParseKey reads the form that Key.String writes.
func ParseKey(s string) (Key, error) {
	ap, err := netip.ParseAddrPort(s)
	if err != nil {
		return Key{}, fmt.Errorf("target %q is not of the form address:port: %w", s, err)
	}
	if ap.Port() == 0 || ap.Addr().Zone() != "" {
		return Key{}, fmt.Errorf("target %q: want a port from 1 to 65535 and an address without a zone", s)
	}
	return Key{Addr: ap.Addr().Unmap(), Port: ap.Port()}, nil
}

// String is the key as address:port, with an IPv6 address in brackets.
func (k Key) String() string {
	if !k.Addr.IsValid() {
		return ":" + strconv.Itoa(int(k.Port))
	}
	return netip.AddrPortFrom(k.Addr, k.Port).String()
}

// Compare orders keys by address, then by port.
func (k Key) Compare(other Key) int {
	if c := k.Addr.Compare(other.Addr); c != 0 {
		return c
	}
	return cmp.Compare(k.Port, other.Port)
}

// ZoneAll is the zone under which an address outside the group's VPC is registered.
const ZoneAll = "all"

// Target is what is registered: a key, and the zone where AWS asks for one.
type Target struct {
	Key
	// Zone is empty inside the group's VPC, ZoneAll or the name of an
	// availability zone outside it. It takes no part in identity.
	Zone string
}

// State is the state of a target as DescribeTargetHealth tells it.
type State string

// The states of ELBv2.
const (
	Initial           State = "initial"
	Healthy           State = "healthy"
	Unhealthy         State = "unhealthy"
	UnhealthyDraining State = "unhealthy.draining" // Network Load Balancers only
	Unused            State = "unused"
	Draining          State = "draining"
	Unavailable       State = "unavailable"
)

// Leaving tells whether a target in this state was deregistered and is on its
// way out: it is still listed but no longer counts as registered.
func (s State) Leaving() bool { return s == Draining }

// Health is the state of a target with AWS's own reason and words for it.
type Health struct {
	State State
	// Reason is AWS's code, such as Target.FailedHealthChecks; empty when healthy.
	Reason string
	// Description is AWS's sentence for people.
	Description string
}

// Observed is a target as the load balancer lists it.
type Observed struct {
	Target
	Health Health
}

// Set is an ordered set of keys. The zero value is empty and ready to use.
// Sets are values: no method changes its receiver.
type Set struct{ keys []Key }

// SetOf makes a set of keys given in any order, with or without repetition.
func SetOf(keys ...Key) Set {
	sorted := slices.Clone(keys)
	slices.SortFunc(sorted, Key.Compare)
	return Set{keys: slices.Compact(sorted)}
}

// Has tells whether k is in the set.
func (s Set) Has(k Key) bool {
	_, found := slices.BinarySearchFunc(s.keys, k, Key.Compare)
	return found
}

// Len is the number of keys.
func (s Set) Len() int { return len(s.keys) }

// Keys lists the set in order. The caller owns the result.
func (s Set) Keys() []Key { return slices.Clone(s.keys) }

// Union is the set of keys that are in s, in other, or in both.
func (s Set) Union(other Set) Set { return SetOf(append(s.Keys(), other.keys...)...) }

// Minus is the set of keys of s that are not in other.
func (s Set) Minus(other Set) Set {
	return Set{keys: slices.DeleteFunc(s.Keys(), other.Has)}
}
