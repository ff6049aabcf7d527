package gen

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// crd is what the page tells of a CustomResourceDefinition.
type crd struct {
	Spec struct {
		Group string
		Names struct {
			Kind string
			// ShortNames are ours alone. The others may be taken by another group: with
			// AWS Load Balancer Controller, kubectl takes them for its.
			ShortNames []string
		}
		Versions []version
	}
}

type version struct {
	Name                     string
	AdditionalPrinterColumns []column
	Schema                   struct{ OpenAPIV3Schema schema }
}

type column struct {
	Name, Description string
	Priority          int
}

// schema is a field, or a type.
type schema struct {
	Type        string
	Format      string
	Description string
	Default     any
	Enum        []any
	Pattern     string
	MinLength   *int
	MaxLength   *int
	Minimum     *int
	Maximum     *int
	Required    []string
	Properties  map[string]schema
	Items       *schema
	IntOrString bool   `json:"x-kubernetes-int-or-string"`
	Rules       []rule `json:"x-kubernetes-validations"`
}

type rule struct{ Rule, Message, FieldPath string }

// Resource is the page about the resource that a CRD defines, given as YAML. What
// the objects of a list hold, such as conditions, is not told: those of ours are
// Kubernetes' own types.
func Resource(definition []byte) (string, error) {
	var c crd
	if err := yaml.Unmarshal(definition, &c); err != nil {
		return "", err
	}
	names := c.Spec.Names
	if len(names.ShortNames) == 0 {
		return "", fmt.Errorf("spec.names.shortNames of %s is empty: give it one, which users call it by", names.Kind)
	}
	p := newPage(names.Kind, fmt.Sprintf("The fields of `%s` objects, as `kubectl explain %s` tells them too, with the rules by which the API server accepts or refuses them.",
		names.Kind, names.ShortNames[0]))
	for _, v := range c.Spec.Versions {
		p.heading(2, c.Spec.Group+"/"+v.Name)
		top := v.Schema.OpenAPIV3Schema
		p.text(plain(top.Description))
		p.columns(v.AdditionalPrinterColumns)
		for _, part := range []string{"spec", "status"} {
			p.heading(2, part)
			described := top.Properties[part]
			p.text(plain(described.Description))
			p.fields(part, described)
		}
	}
	return p.String(), nil
}

func (p *page) columns(columns []column) {
	var rows [][]string
	for _, c := range columns {
		if c.Description == "" { // Age, as everywhere
			continue
		}
		wide := ""
		if c.Priority > 0 {
			wide = "only with `-o wide`"
		}
		rows = append(rows, []string{c.Name, plain(c.Description), wide})
	}
	p.text("`kubectl get` shows these columns:")
	p.table([]string{"Column", "Meaning", ""}, rows)
}

// fields describes the fields of an object, those that must be set first.
func (p *page) fields(path string, object schema) {
	names := slices.Sorted(slices.Values(object.Required))
	for _, name := range slices.Sorted(maps.Keys(object.Properties)) {
		if !slices.Contains(object.Required, name) {
			names = append(names, name)
		}
	}
	for _, name := range names {
		field := object.Properties[name]
		p.heading(3, path+"."+name)
		p.text(field.kind(slices.Contains(object.Required, name)))
		p.text(plain(field.Description))
		p.list(rulesOf(object, name, field))
		p.fields(path+"."+name, field)
	}
}

// kind says in a line what a field holds.
func (s schema) kind(required bool) string {
	parts := []string{s.typeName()}
	if s.Default != nil {
		parts = append(parts, "default "+code(fmt.Sprint(s.Default)))
	}
	if required {
		parts = append(parts, "required")
	}
	return "*" + strings.Join(parts, ", ") + "*"
}

func (s schema) typeName() string {
	switch {
	case s.IntOrString:
		return "integer or string"
	case s.Items != nil:
		return "list of " + s.Items.typeName() + "s"
	}
	return s.Type
}

// rulesOf lists what values a field may have: its bounds, its own rules, and
// those of the object around it that concern it.
func rulesOf(object schema, name string, field schema) []string {
	list := field.bounds()
	for _, r := range field.Rules {
		list = append(list, r.String())
	}
	for _, r := range object.Rules {
		if r.FieldPath == "."+name {
			list = append(list, r.String())
		}
	}
	return list
}

func (s schema) bounds() []string {
	var list []string
	if len(s.Enum) > 0 {
		values := make([]string, len(s.Enum))
		for i, value := range s.Enum {
			values[i] = code(fmt.Sprint(value))
		}
		list = append(list, "One of "+strings.Join(values, ", "))
	}
	for _, bound := range []struct {
		text  string
		value *int
	}{
		{"At least %d characters", s.MinLength},
		{"At most %d characters", s.MaxLength},
		{"At least %d", s.Minimum},
		{"At most %d", s.Maximum},
	} {
		if bound.value != nil {
			list = append(list, fmt.Sprintf(bound.text, *bound.value))
		}
	}
	if s.Pattern != "" {
		list = append(list, "Matches "+code(s.Pattern))
	}
	return list
}

// String is the rule in the words of its refusal, and in the language of its check.
func (r rule) String() string {
	return fmt.Sprintf("Refused unless %s:\n  “%s”", code(strings.Join(strings.Fields(r.Rule), " ")), plain(r.Message))
}
