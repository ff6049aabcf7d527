package v1beta1_test

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation"
	"pgregory.net/rapid"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
)

func TestBehaviour29_GateOfABinding(t *testing.T) {
	long := strings.Repeat("a", 62)
	for _, c := range []struct{ binding, want string }{
		{"web", "web"},
		{"service-web", "service-web"},
		{"service/web", "service_web"},
		{"shop.web", "shop.web"},
		{long + "b", long + "b"},
		{long + "bc", strings.Repeat("a", 52) + "-4cf663674e"},
		{long + "bd", strings.Repeat("a", 52) + "-1f5747d2ff"},
	} {
		if got := v1beta1.ReadinessGateOf(c.binding); string(got) != v1beta1.ReadinessGatePrefix+c.want {
			t.Errorf("%s: got %s, want %s", c.binding, got, c.want)
		}
	}
}

// Whatever an object may be called, and however long, its gate is valid, its own
// and known as ours.
func TestBehaviour29_EveryGateIsValidAndItsOwn(t *testing.T) {
	label := rapid.StringMatching(`[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?`)
	anyName := rapid.Custom(func(t *rapid.T) string {
		name := strings.Join(rapid.SliceOfN(label, 1, 6).Draw(t, "labels"), ".")
		return strings.TrimRight(name[:min(len(name), 253)], ".-")
	})
	rapid.Check(t, func(t *rapid.T) {
		one, other := anyName.Draw(t, "one"), anyName.Draw(t, "other")
		gate := v1beta1.ReadinessGateOf(one)
		if wrong := validation.IsQualifiedName(string(gate)); len(wrong) > 0 {
			t.Errorf("%s of %s: %v", gate, one, wrong)
		}
		if !v1beta1.IsReadinessGate(gate) || !v1beta1.IsObjectReadinessGate(gate) {
			t.Errorf("%s is not known as a gate of an object", gate)
		}
		if one != other && gate == v1beta1.ReadinessGateOf(other) {
			t.Errorf("%s and %s share the gate %s", one, other, gate)
		}
		service := v1beta1.ReadinessGateOf("service/" + label.Draw(t, "service"))
		if wrong := validation.IsQualifiedName(string(service)); len(wrong) > 0 || v1beta1.IsObjectReadinessGate(service) || !v1beta1.IsReadinessGate(service) {
			t.Errorf("%s of flags: %v", service, wrong)
		}
	})
}
