package integration

import (
	"fmt"
	"os"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/targetgroupcontroller/targetgroupcontroller/api/v1beta1"
)

// validationCase is a case of api/v1beta1/testdata/validation.yaml, which tells
// what it means.
type validationCase struct {
	Name   string         `json:"name"`
	Before map[string]any `json:"before"`
	Spec   map[string]any `json:"spec"`
	Want   []string       `json:"want"`
}

func TestBehaviour35_Validation(t *testing.T) {
	e := newEnv(t)
	raw, err := os.ReadFile("../../api/v1beta1/testdata/validation.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var cases []validationCase
	if err := yaml.Unmarshal(raw, &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) == 0 {
		t.Fatal("there are no cases")
	}
	for i, c := range cases {
		t.Run(c.Name, func(t *testing.T) { c.check(t, e.admit(fmt.Sprintf("case-%d", i), c)) })
	}
}

func (c validationCase) check(t *testing.T, err error) {
	t.Helper()
	if len(c.Want) == 0 && err != nil {
		t.Fatalf("refused: %v", err)
	}
	if len(c.Want) > 0 && err == nil {
		t.Fatal("accepted")
	}
	for _, want := range c.Want {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the answer lacks %q: %v", want, err)
		}
	}
}

// admit creates the binding of a case, or creates it as it was before and then
// updates it. The API server is asked to be strict about unknown fields, as
// kubectl asks it.
func (e *env) admit(name string, c validationCase) error {
	strict := client.WithFieldValidation(shared.API, metav1.FieldValidationStrict)
	object := &unstructured.Unstructured{Object: map[string]any{"spec": c.Spec}}
	object.SetGroupVersionKind(v1beta1.GroupVersion.WithKind("TargetGroupBinding"))
	object.SetNamespace(e.namespace)
	object.SetName(name)
	if c.Before == nil {
		return strict.Create(e.ctx, object)
	}
	object.Object["spec"] = c.Before
	if err := strict.Create(e.ctx, object); err != nil {
		return fmt.Errorf("before the update: %w", err)
	}
	object.Object["spec"] = c.Spec
	return strict.Update(e.ctx, object)
}
