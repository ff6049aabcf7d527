// Package lawtest keeps the import law: which package may know which. Imports
// that stay in line are what lets decisions be tested as tables, one package
// speak to AWS, and other programs use the API types alone.
//
// The linter says the same about single import lines while one types. This test
// follows the imports to their end.
package lawtest

import (
	"slices"
	"strings"
	"testing"
)

const module = "github.com/targetgroupcontroller/targetgroupcontroller/"

// laws bounds what a package may know, with the reason. Every package named
// here must exist.
var laws = []struct {
	pkg string
	// imports may be imported by the package itself, besides the standard
	// library. A name with a slash at its end stands for all below it.
	imports []string
	reason  string
}{
	{
		pkg:    "internal/target",
		reason: "the vocabulary is spoken by all and so can depend on nobody",
	},
	{
		pkg:     "internal/desired",
		imports: []string{module + "internal/target"},
		reason:  "who should be in is decided from plain facts, so that every case is a line in a table",
	},
	{
		pkg:     "internal/plan",
		imports: []string{module + "internal/target", module + "internal/desired"},
		reason:  "a plan is a value: whoever makes one, applies one or prints one gets the same",
	},
	{
		pkg:     "internal/report",
		imports: []string{module + "internal/target", module + "internal/desired", module + "internal/plan"},
		reason:  "what people are told follows from what was decided, and from nothing else",
	},
	{
		pkg:     "internal/drain/wait",
		imports: []string{module + "internal/drain"},
		reason:  "it runs in the containers of others, within their memory limits",
	},
	{
		pkg:     "internal/elbsim/model",
		imports: []string{module + "internal/target"},
		reason:  "AWS's side shares our words and none of our thoughts, else it would confirm our mistakes",
	},
	{
		pkg:    "internal/elbsim/iam",
		reason: "what a policy allows follows from its text and the request, so that AWS's rules are lines in a table",
	},
	{
		pkg:     "internal/elbsim/routing",
		imports: []string{module + "internal/target", module + "internal/elbsim/model"},
		reason:  "what a node knows follows from the model's history and from nothing else",
	},
	{
		pkg:     "internal/drain",
		imports: []string{module + "internal/target"},
		reason:  "how long a pod is held is told by the controller and by the program in the pod, and both must say the same",
	},
	{
		pkg:     "internal/admission",
		imports: []string{module + "api/v1beta1", module + "internal/drain", module + "internal/target", "k8s.io/api/", "k8s.io/apimachinery/"},
		reason:  "what is put into a pod follows from the pod and its bindings, so that two deliveries can say the same",
	},
	{
		pkg:    "internal/elb/pace",
		reason: "a call budget counts calls: it need not know what they say",
	},
	{
		pkg: "internal/elb",
		imports: []string{
			module + "internal/target", module + "internal/desired", module + "internal/plan",
			module + "internal/elb/pace",
		},
		reason: "carrying out a plan takes neither the AWS SDK nor Kubernetes, so the sidecar and the simulator share it",
	},
	{
		pkg:    "internal/web",
		reason: "how pages are shown has nothing to do with what they show, and needs no library",
	},
	{
		pkg:    "internal/web/plot",
		reason: "a plot is made from numbers and names",
	},
	{
		pkg:     "api/v1beta1",
		imports: []string{"k8s.io/api/", "k8s.io/apimachinery/"},
		reason:  "other programs import the types and should not get a controller with them",
	},
}

func TestPackagesImportWhatTheyMay(t *testing.T) {
	tree := load(t)
	for _, law := range laws {
		pkg, exists := tree[module+law.pkg]
		if !exists {
			t.Errorf("%s is bound by a law here but does not exist", law.pkg)
			continue
		}
		for _, name := range pkg.Imports {
			if !tree.standard(name) && !covers(law.imports, name) {
				t.Errorf("%s imports %s: %s", law.pkg, name, law.reason)
			}
		}
	}
}

// pure lists the packages that decide and do nothing else.
var pure = []string{
	"internal/target", "internal/desired", "internal/plan", "internal/report", "internal/elbsim/model",
	"internal/elbsim/iam", "internal/elbsim/routing", "internal/drain", "internal/admission",
}

// outside is what a package would import to act, wait or look around.
var outside = []string{"context", "log", "log/slog", "math/rand", "math/rand/v2", "net", "net/http", "os", "os/exec", "sync"}

func TestPureRingOnlyDecides(t *testing.T) {
	tree := load(t)
	for _, name := range pure {
		for _, imported := range tree[module+name].Imports {
			if slices.Contains(outside, imported) {
				t.Errorf("%s imports %s: the pure ring decides from its arguments, so that a decision can be repeated and explained", name, imported)
			}
		}
	}
}

// reserved names dependencies that only some packages may import.
var reserved = []struct {
	dependency string
	importers  []string
	reason     string
}{
	{
		dependency: "github.com/aws/",
		importers:  []string{module + "internal/elb/awselb", module + "internal/elb/awselb/"},
		reason:     "AWS's types, retries and error codes end in one package; all others speak of targets and groups",
	},
	{
		dependency: "k8s.io/kubernetes/",
		reason:     "Kubernetes itself is not a library: only the lab, a module of its own, builds it",
	},
}

func TestReservedDependencies(t *testing.T) {
	tree := load(t)
	for _, rule := range reserved {
		for _, importer := range rule.importers {
			if _, exists := tree[importer]; !exists && !strings.HasSuffix(importer, "/") {
				t.Errorf("%s may import %s but does not exist", importer, rule.dependency)
			}
		}
	}
	for name, pkg := range tree {
		if !strings.HasPrefix(name, module) {
			continue
		}
		for _, rule := range reserved {
			for _, imported := range pkg.Imports {
				if strings.HasPrefix(imported, rule.dependency) && !covers(rule.importers, name) {
					t.Errorf("%s imports %s: %s", name, imported, rule.reason)
				}
			}
		}
	}
}

// free names packages that must not reach a dependency by any path.
var free = []struct {
	pkg        string
	dependency string
	reason     string
}{
	{"internal/elb", "k8s.io/", "target groups are kept in line without a cluster, too"},
	{"internal/elb", "github.com/aws/", "the simulator stands in for AWS without linking its SDK"},
	{"internal/elbsim", "k8s.io/", "people use the simulator without Kubernetes"},
	{"internal/elbsim", "github.com/aws/", "the simulator must not read AWS's protocol with AWS's own eyes"},
	{"elbv2sim", "k8s.io/", "people use the simulator without Kubernetes"},
	{"elbv2sim", "github.com/aws/", "people test with the SDK and the version that they have"},
	{"elbv2sim", module + "internal/elb/awselb", "people import the simulator and should not get a controller with it"},
	{"elbv2sim", module + "internal/controller", "people import the simulator and should not get a controller with it"},
	{"internal/sidecar", "k8s.io/", "a pod keeps itself registered without asking Kubernetes"},
	{"internal/sidecar", module + "internal/kube", "a pod keeps itself registered without asking Kubernetes"},
	{"internal/sidecar", "github.com/aws/", "it is tested with the simulator in its own process"},
	{"cmd/tgc-wait", "k8s.io/", "it runs in the containers of others, within their memory limits"},
	{"cmd/tgc-wait", "github.com/aws/", "it runs in the containers of others, within their memory limits"},
	{"cmd/tgc-wait", "github.com/spf13/", "it runs in the containers of others, within their memory limits"},
	{"internal/gen", module, "pages are written from what is handed in, so that a new metric or flag needs no change there"},
	{"cmd/tgc", module + "internal/gen", "the program does not carry the tools that document it"},
	{"internal/elbsim/model", module + "internal/desired", "AWS's side shares none of our thoughts"},
	{"internal/elbsim/model", module + "internal/plan", "AWS's side shares none of our thoughts"},
}

func TestPackagesStayFreeOf(t *testing.T) {
	tree := load(t)
	for _, law := range free {
		if _, exists := tree[module+law.pkg]; !exists {
			t.Errorf("%s is bound by a law here but does not exist", law.pkg)
		}
		deps := tree[module+law.pkg].Deps
		first := slices.IndexFunc(deps, func(dep string) bool { return strings.HasPrefix(dep, law.dependency) })
		if first >= 0 {
			t.Errorf("%s reaches %s: %s", law.pkg, deps[first], law.reason)
		}
	}
}

// covers tells whether name is one of names, or below one that ends in a slash.
func covers(names []string, name string) bool {
	return slices.ContainsFunc(names, func(n string) bool {
		return name == n || strings.HasSuffix(n, "/") && strings.HasPrefix(name, n)
	})
}
