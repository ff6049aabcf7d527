package v1beta1_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// validationCase is a case of testdata/validation.yaml, which tells what it means.
type validationCase struct {
	Name   string         `json:"name"`
	Before map[string]any `json:"before"`
	Spec   map[string]any `json:"spec"`
	Want   []string       `json:"want"`
}

func validationCases(t *testing.T) []validationCase {
	t.Helper()
	raw, err := os.ReadFile("testdata/validation.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var cases []validationCase
	if err := yaml.UnmarshalStrict(raw, &cases); err != nil {
		t.Fatal(err)
	}
	return cases
}

// What the API server accepts must fit the Go type: a field that is in the
// schema only would be lost on the way through the controller.
func TestAcceptedSpecsFitTheGoType(t *testing.T) {
	for _, c := range validationCases(t) {
		if len(c.Want) > 0 {
			continue
		}
		raw, err := yaml.Marshal(c.Spec)
		if err != nil {
			t.Fatal(err)
		}
		var spec v1beta1.TargetGroupBindingSpec
		if err := yaml.UnmarshalStrict(raw, &spec); err != nil {
			t.Errorf("%s: %v", c.Name, err)
		}
	}
}

// The CEL rule for ARNs repeats what the parser asks for. An ARN that passes
// admission and then fails in the controller would be answered too late.
func TestARNRuleAgreesWithParser(t *testing.T) {
	for _, c := range validationCases(t) {
		arn, set := c.Spec["targetGroupARN"].(string)
		if !set {
			continue
		}
		refused := slices.ContainsFunc(c.Want, func(want string) bool {
			return strings.Contains(want, "is not the ARN")
		})
		if _, err := target.ParseARN(arn); (err != nil) != refused {
			t.Errorf("%s: refused by the rule: %t, by the parser: %v", c.Name, refused, err)
		}
	}
}

func TestSchemeKnowsTheKinds(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := v1beta1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"TargetGroupBinding", "TargetGroupBindingList"} {
		if !scheme.Recognizes(v1beta1.GroupVersion.WithKind(kind)) {
			t.Errorf("scheme does not know %s", kind)
		}
	}
}
