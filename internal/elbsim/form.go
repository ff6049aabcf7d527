package elbsim

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
)

// form reads the parameters of a call of the query protocol: Name=value, lists
// as Name.member.1=value, structures as Name.Field=value, and both combined. The
// first parameter that cannot be read is kept as problem, so that readers need
// not stop at each.
type form struct {
	values url.Values
	prefix string
	// The forms of a form's members share what follows.
	problem *error
	heeded  map[string]bool // parameters that were asked for, lists and structures as a whole
}

func newForm(values url.Values) form {
	return form{values: values, problem: new(error), heeded: map[string]bool{}}
}

// err is what could not be read, if anything.
func (f form) err() error { return *f.problem }

func (f form) fail(name, value, want string) {
	if *f.problem == nil {
		*f.problem = &model.Error{
			Code: "ValidationError", Status: 400,
			Message: "Value '" + value + "' at '" + f.prefix + name + "' failed to satisfy constraint: Member must be " + want,
		}
	}
}

// heed notes that a parameter makes a difference.
func (f form) heed(name string) {
	if f.prefix == "" {
		f.heeded[name] = true
	}
}

// ignored lists what was sent and nobody asked for, in order.
func (f form) ignored() []string {
	var names []string
	for key := range f.values {
		name, _, _ := strings.Cut(key, ".")
		if !f.heeded[name] {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// has tells whether a parameter was sent, be it empty.
func (f form) has(name string) bool {
	f.heed(name)
	return f.values.Has(f.prefix + name)
}

// text is a parameter, empty if it was not sent.
func (f form) text(name string) string {
	f.heed(name)
	return f.values.Get(f.prefix + name)
}

// required is a parameter that must be sent.
func (f form) required(name string) string {
	if !f.has(name) {
		f.fail(name, "null", "not null")
	}
	return f.text(name)
}

// number is a parameter that is a number, 0 if it was not sent.
func (f form) number(name string) int {
	if !f.has(name) {
		return 0
	}
	n, err := strconv.ParseInt(f.text(name), 10, 32)
	if err != nil || n < 0 {
		f.fail(name, f.text(name), "a number of at least 0")
	}
	return int(max(n, 0))
}

// list is a list of plain values in the order of their indexes.
func (f form) list(name string) []string {
	var values []string
	for _, i := range f.indexes(name) {
		values = append(values, f.values.Get(f.prefix+name+".member."+strconv.Itoa(i)))
	}
	return values
}

// members is a list of structures in the order of their indexes.
func (f form) members(name string) []form {
	var members []form
	for _, i := range f.indexes(name) {
		members = append(members, f.at(name+".member."+strconv.Itoa(i)))
	}
	return members
}

// at is a structure.
func (f form) at(name string) form {
	f.heed(name)
	return form{values: f.values, prefix: f.prefix + name + ".", problem: f.problem, heeded: f.heeded}
}

// indexes are the numbers of the members of a list that were sent, in order.
// They need not be consecutive.
func (f form) indexes(name string) []int {
	f.heed(name)
	var indexes []int
	for key := range f.values {
		rest, member := strings.CutPrefix(key, f.prefix+name+".member.")
		if !member {
			continue
		}
		digits, _, _ := strings.Cut(rest, ".")
		i, err := strconv.Atoi(digits)
		if err != nil || i < 1 || strconv.Itoa(i) != digits {
			f.fail(name+".member", digits, "a number of at least 1")
			continue
		}
		indexes = append(indexes, i)
	}
	slices.Sort(indexes)
	return slices.Compact(indexes)
}
