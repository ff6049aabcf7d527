package elbv2sim

import (
	"encoding"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/dataplane"
)

// Everything that the simulator reads and writes can be said and read here, under
// the same names.
func TestTypesAreThoseOfTheAdminAPI(t *testing.T) {
	for _, pair := range [][2]any{
		{Seed{}, elbsim.Seed{}},
		{LoadBalancer{}, elbsim.SeedBalancer{}},
		{Group{}, elbsim.SeedGroup{}},
		{GroupState{}, elbsim.GroupState{}},
		{Call{}, elbsim.Call{}},
		{callList{}, elbsim.CallList{}},
		{Fault{}, elbsim.Fault{}},
		{Settings{}, elbsim.Settings{}},
		{ScopeBudget{}, elbsim.ScopeBudget{}},
		{LoadBalancerState{}, dataplane.BalancerView{}},
		{Traffic{}, dataplane.Entry{}},
		{TrafficCount{}, elbsim.TrafficCount{}},
	} {
		ours, theirs := reflect.TypeOf(pair[0]), reflect.TypeOf(pair[1])
		sameForm(t, ours.Name(), ours, theirs)
	}
}

// sameForm compares what two types look like in JSON.
func sameForm(t *testing.T, path string, ours, theirs reflect.Type) {
	t.Helper()
	text := reflect.TypeFor[encoding.TextMarshaler]()
	switch {
	case ours == theirs:
	case ours.Kind() != theirs.Kind() || ours.Implements(text) != theirs.Implements(text):
		t.Errorf("%s is %v here and %v in the simulator", path, ours, theirs)
	case ours.Kind() == reflect.Map:
		sameForm(t, path+" key", ours.Key(), theirs.Key())
		sameForm(t, path+" value", ours.Elem(), theirs.Elem())
	case ours.Kind() == reflect.Slice:
		sameForm(t, path+" element", ours.Elem(), theirs.Elem())
	case ours.Kind() == reflect.Struct:
		sameFields(t, path, fieldsOf(ours), fieldsOf(theirs))
	}
}

func sameFields(t *testing.T, path string, ours, theirs map[string]reflect.StructField) {
	t.Helper()
	for name, field := range theirs {
		if _, has := ours[name]; !has {
			t.Errorf("%s lacks %s, which the simulator has as %s", path, name, field.Name)
		}
	}
	for name, field := range ours {
		other, has := theirs[name]
		if !has {
			t.Errorf("%s has %s, which the simulator does not know", path, name)
			continue
		}
		if field.Tag.Get("json") != other.Tag.Get("json") || field.Name != other.Name {
			t.Errorf("%s.%s is %s %s here and %s %s in the simulator", path, name, field.Name, field.Tag, other.Name, other.Tag)
		}
		sameForm(t, path+"."+name, field.Type, other.Type)
	}
}

// fieldsOf lists the fields of a struct by their names in JSON, those of embedded
// structs among them.
func fieldsOf(of reflect.Type) map[string]reflect.StructField {
	fields := map[string]reflect.StructField{}
	for _, field := range reflect.VisibleFields(of) {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if !field.Anonymous {
			fields[name] = field
		}
	}
	return fields
}

// The words of the simulator that users compare with.
func TestWordsAreThoseOfTheSimulator(t *testing.T) {
	ours := []FaultKind{Fail, Throttle, Hang, Drop, Lose}
	theirs := []elbsim.FaultKind{elbsim.FaultFail, elbsim.FaultThrottle, elbsim.FaultHang, elbsim.FaultDrop, elbsim.FaultLose}
	if !slices.EqualFunc(ours, theirs, func(a FaultKind, b elbsim.FaultKind) bool { return string(a) == string(b) }) {
		t.Errorf("got %v and %v", ours, theirs)
	}
	outcomes := []Outcome{Forwarded, NoTarget, Refused, ConnectTimeout, Reset, ResponseTimeout, Cut, ClientGone}
	wants := []dataplane.Outcome{dataplane.Forwarded, dataplane.NoTarget, dataplane.Refused, dataplane.ConnectTimeout, dataplane.Reset, dataplane.ResponseTimeout, dataplane.Cut, dataplane.ClientGone}
	if !slices.EqualFunc(outcomes, wants, func(a Outcome, b dataplane.Outcome) bool { return string(a) == string(b) }) {
		t.Errorf("got %v and %v", outcomes, wants)
	}
	if CodeOK != elbsim.CodeOK || CodeNoReply != elbsim.CodeNoReply || DefaultRegion != elbsim.DefaultRegion || DefaultAccount != elbsim.DefaultAccount {
		t.Error("a constant is not the simulator's")
	}
	for _, class := range []Class{ClassRegistration, ClassDescribe, ClassMutating, ClassTotal} {
		var settings Settings
		if err := convert(elbsim.DefaultSettings(), &settings); err != nil || settings.Buckets[class].Capacity == 0 || len(settings.Buckets) != 4 {
			t.Errorf("class %s: %v, %v", class, settings.Buckets, err)
		}
	}
}

// Users can make and read all that the package gives them: no internal type is in
// what it exports.
func TestNothingInternalIsExported(t *testing.T) {
	seen := map[reflect.Type]bool{}
	for _, root := range []any{New, Start, Connect, &Server{}} {
		reaches(t, seen, reflect.TypeOf(root).String(), reflect.TypeOf(root))
	}
	if len(seen) < 40 || !seen[reflect.TypeFor[Quotas]()] {
		t.Errorf("only %d types were looked at", len(seen))
	}
}

func reaches(t *testing.T, seen map[reflect.Type]bool, path string, of reflect.Type) {
	t.Helper()
	if strings.HasPrefix(of.PkgPath(), "github.com/targetgroupcontroller/targetgroupcontroller/internal") {
		t.Errorf("%s exports %v", path, of)
	}
	if seen[of] || of.PkgPath() != "" && !strings.HasSuffix(of.PkgPath(), "/elbv2sim") {
		return
	}
	seen[of] = true
	for i := range of.NumMethod() {
		reaches(t, seen, path+"."+of.Method(i).Name, of.Method(i).Type)
	}
	switch of.Kind() {
	case reflect.Struct:
		for _, field := range reflect.VisibleFields(of) {
			if field.IsExported() {
				reaches(t, seen, path+"."+field.Name, field.Type)
			}
		}
	case reflect.Func:
		for i := range of.NumIn() {
			reaches(t, seen, path, of.In(i))
		}
		for i := range of.NumOut() {
			reaches(t, seen, path, of.Out(i))
		}
	case reflect.Map:
		reaches(t, seen, path, of.Key())
		reaches(t, seen, path, of.Elem())
	case reflect.Pointer, reflect.Slice:
		reaches(t, seen, path, of.Elem())
	}
}
