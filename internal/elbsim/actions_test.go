package elbsim

import (
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
)

// docs/simulator.md lists the actions that are simulated, with the parameters that
// the AWS SDK knows and the simulator does not heed.
func TestActionsAreDocumented(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "simulator.md"))
	if err != nil {
		t.Fatal(err)
	}
	client := reflect.TypeFor[*elbv2.Client]()
	for _, action := range slices.Sorted(maps.Keys(operations)) {
		method, exists := client.MethodByName(action)
		if !exists {
			t.Errorf("AWS has no action %s", action)
			continue
		}
		row := "| `" + action + "` | " + strings.Join(unheeded(action, method.Type.In(2).Elem()), ", ") + " |"
		if !strings.Contains(string(page), row+"\n") {
			t.Errorf("docs/simulator.md lacks the line\n%s", row)
		}
	}
	if n := strings.Count(string(page), "\n| `Add") + strings.Count(string(page), "\n| `Create") + strings.Count(string(page), "\n| `De") +
		strings.Count(string(page), "\n| `Modify") + strings.Count(string(page), "\n| `Re"); n != len(operations) {
		t.Errorf("docs/simulator.md lists %d actions, want %d", n, len(operations))
	}
}

// unheeded lists the parameters of an action, by the SDK's type for its input, that
// make no difference when all are sent.
func unheeded(action string, input reflect.Type) []string {
	values := url.Values{}
	for _, field := range reflect.VisibleFields(input) {
		if field.IsExported() && field.Name != "noSmithyDocumentSerde" {
			values.Set(field.Name, "")
		}
	}
	f := newForm(values)
	_, _ = operations[action](f, model.New(model.DefaultConfig(DefaultRegion, DefaultAccount)), time.Now()) // what it heeds counts, not what it says
	ignored := f.ignored()
	for i, name := range ignored {
		ignored[i] = "`" + name + "`"
	}
	return ignored
}

// The scripts and patches of the page's cookbook are accepted as they stand there.
func TestCookbook(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "simulator.md"))
	if err != nil {
		t.Fatal(err)
	}
	w := newWire(t, nil)
	recipes := regexp.MustCompile("\\| `(\\{.*\\})` \\|\n").FindAllStringSubmatch(string(page), -1)
	for _, recipe := range recipes {
		method, path := http.MethodPatch, "/settings"
		if strings.Contains(recipe[1], `"kind"`) {
			method, path = http.MethodPost, "/faults"
		}
		if status := w.admin(t, method, path, recipe[1], nil); status != http.StatusOK {
			t.Errorf("%s %s: %d", path, recipe[1], status)
		}
	}
	if faults := len(w.sim.Faults()); faults < 7 || len(recipes)-faults < 6 {
		t.Errorf("the page has %d faults and %d patches", faults, len(recipes)-faults)
	}
}

func TestCallsTellWhatIsIgnored(t *testing.T) {
	w := newWire(t, nil)
	w.post(t, signed("AKID"), "Action=DescribeTargetGroups&Version=2015-12-01&Names.member.1=web&Colour.member.1=blue&Colour.member.2=red&PageSize=3")
	w.post(t, signed("AKID"), "Action=DescribeTargetGroups&Version=2015-12-01&Names.member.1=nope&Colour=blue")
	calls := w.sim.Calls()
	if !slices.Equal(calls[0].Ignored, []string{"Colour"}) || calls[1].Ignored != nil {
		t.Errorf("got %q and %q", calls[0].Ignored, calls[1].Ignored)
	}
}
