package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/desired"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/kube"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/plan"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/target"
)

// ByFlags tells whether flags declare bindings.
func (c *Controller) ByFlags() bool { return c.Service != "" || c.PodSelector != "" }

// Scope is what has to be watched. Where the bindings made of flags are the only ones,
// it is little more than their pods.
func (c *Controller) Scope() kube.Scope {
	scope := kube.Scope{Namespace: c.Namespace}
	if c.Bindings {
		return scope
	}
	scope.Service = c.Service
	if c.PodSelector != "" {
		scope.Pods, _ = labels.Parse(c.PodSelector) // checked before
	}
	return scope
}

// FlagBindings are the bindings made of flags: one for each target group, or one for
// all that have some tags.
func (c *Controller) FlagBindings() ([]kube.Binding, error) {
	if !c.ByFlags() {
		const needless = "--%s %v: needs --service or --pod-selector, which says whose pods are to be registered"
		return nil, errors.Join(
			unless(len(c.TargetGroupARNs) == 0, needless, "target-group-arn", c.TargetGroupARNs),
			unless(len(c.TargetGroupNames) == 0, needless, "target-group-name", c.TargetGroupNames),
			unless(len(c.TargetGroupTags) == 0, needless, "target-group-tag", c.TargetGroupTags),
			unless(c.Port == "", needless, "port", c.Port),
			unless(c.RegisterAt == "", needless, "register-at", c.RegisterAt),
		)
	}
	pods, err := c.chosen()
	if err != nil {
		return nil, err
	}
	pods.Policy.Takeover = plan.Takeover(c.Takeover)
	if pods.Policy.Takeover != plan.Guarded && pods.Policy.Takeover != plan.Confirmed {
		return nil, fmt.Errorf("--takeover %q: want Guarded or Confirmed", c.Takeover)
	}
	if len(c.TargetGroupTags) > 0 {
		pods.Tags, err = c.tags()
		return []kube.Binding{kube.FlagBinding(c.Namespace, pods)}, err
	}
	groups, err := c.groups()
	if err != nil {
		return nil, err
	}
	var bindings []kube.Binding
	for _, group := range groups {
		pods.Group = group
		bindings = append(bindings, kube.FlagBinding(c.Namespace, pods))
	}
	return bindings, nil
}

// chosen reads which pods are to be registered, and their port.
func (c *Controller) chosen() (kube.Binding, error) {
	switch {
	case c.Service != "" && c.PodSelector != "":
		return kube.Binding{}, fmt.Errorf("--service %q and --pod-selector %q are both set: remove one", c.Service, c.PodSelector)
	case c.Service != "":
		return c.service()
	}
	return c.selection()
}

func (c *Controller) service() (b kube.Binding, err error) {
	switch {
	case !serviceForm.MatchString(c.Service):
		return b, fmt.Errorf("--service %q: want 1 to 63 lower-case letters, digits and inner hyphens", c.Service)
	case c.RegisterAt != "":
		return b, fmt.Errorf("--register-at %q: needs --pod-selector; the pods of a Service are registered when they are ready", c.RegisterAt)
	}
	b.Service = types.NamespacedName{Namespace: c.Namespace, Name: c.Service}
	if c.Port != "" {
		b.Port, err = c.port()
	}
	return b, err
}

func (c *Controller) selection() (b kube.Binding, err error) {
	b.Selector, err = labels.Parse(c.PodSelector)
	b.RegisterAt = cmp.Or(desired.RegisterAt(c.RegisterAt), desired.AtReady)
	switch {
	case err != nil:
		return b, fmt.Errorf("--pod-selector %q: %w: want labels as kubectl -l takes them, such as app=web", c.PodSelector, err)
	case b.Selector.Empty():
		return b, fmt.Errorf("--pod-selector %q is empty and would choose every pod of the namespace: name at least one label", c.PodSelector)
	case b.RegisterAt != desired.AtReady && b.RegisterAt != desired.AtRunning:
		return b, fmt.Errorf("--register-at %q: want Ready or Running", c.RegisterAt)
	case c.Port == "":
		return b, fmt.Errorf("--pod-selector %q needs --port: the port of the pods by number, or by the name of a container's port", c.PodSelector)
	}
	b.Port, err = c.port()
	return b, err
}

func (c *Controller) port() (desired.PortRef, error) {
	port, err := kube.PortOf(intstr.Parse(c.Port))
	if err != nil {
		return port, fmt.Errorf("--port %q: %w", c.Port, err)
	}
	return port, nil
}

// tags reads which tags the target groups have.
func (c *Controller) tags() (map[string]string, error) {
	if given := slices.Concat(c.TargetGroupARNs, c.TargetGroupNames); len(given) > 0 {
		return nil, fmt.Errorf("--target-group-tag %v is given beside target groups, %v: remove one or the other", c.TargetGroupTags, given)
	}
	tags := map[string]string{}
	for _, text := range c.TargetGroupTags {
		key, value, found := strings.Cut(text, "=")
		if _, twice := tags[key]; !found || key == "" || twice {
			return nil, fmt.Errorf("--target-group-tag %q: want key=value, with each key once", text)
		}
		tags[key] = value
	}
	return tags, nil
}

// groups reads which target groups get the pods. The names of the bindings and of
// their gates are made of those of the groups, so that no two may be called alike.
func (c *Controller) groups() ([]target.Ref, error) {
	fields := kube.RefFields{ARN: "--target-group-arn", Name: "--target-group-name"}
	given := len(c.TargetGroupARNs) + len(c.TargetGroupNames)
	switch {
	case given == 0:
		_, err := fields.Ref("", "")
		return nil, err
	case given > 1 && c.Service != "":
		return nil, fmt.Errorf("--service %q has %d target groups, --target-group-arn %v and --target-group-name %v: remove all but one, or choose the pods by --pod-selector",
			c.Service, given, c.TargetGroupARNs, c.TargetGroupNames)
	}
	var groups []target.Ref
	var wrong []error
	called := map[string]bool{}
	read := func(arn, name string) {
		ref, err := fields.Ref(arn, name)
		known := cmp.Or(ref.Name, ref.ARN.Name)
		if err == nil && called[known] {
			err = fmt.Errorf("two target groups are called %q: name each once; two of one name need a TargetGroupBinding each", known)
		}
		called[known] = true
		groups, wrong = append(groups, ref), append(wrong, err)
	}
	for _, arn := range c.TargetGroupARNs {
		read(arn, "")
	}
	for _, name := range c.TargetGroupNames {
		read("", name)
	}
	return groups, errors.Join(wrong...)
}
