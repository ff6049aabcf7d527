package iam

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Parse reads a policy document. The error names the element, its value and what is
// wanted there. What AWS knows and this package does not is refused as well.
func Parse(document []byte) (Policy, error) {
	if err := wellFormed(document); err != nil {
		return Policy{}, err
	}
	elements, err := members(element{value: document})
	if err != nil {
		return Policy{}, err
	}
	var policy Policy
	for _, e := range elements {
		switch e.name {
		case "Version":
			_, err = oneOf(e, "2012-10-17", "2008-10-17")
		case "Id":
			_, err = text(e)
		case "Statement":
			policy.statements, err = statements(e)
		default:
			err = e.errorf("no element of a policy: want Version, Id and Statement")
		}
		if err != nil {
			return Policy{}, err
		}
	}
	if len(policy.statements) == 0 {
		return Policy{}, errors.New("the document has no Statement: want at least one")
	}
	return policy, nil
}

// wellFormed names the line where a document stops being JSON.
func wellFormed(document []byte) error {
	var anything any
	err := json.Unmarshal(document, &anything)
	if wrong, is := errors.AsType[*json.SyntaxError](err); is {
		line := 1 + bytes.Count(document[:min(int(wrong.Offset), len(document))], []byte("\n"))
		return fmt.Errorf("line %d is not JSON: %w", line, err)
	}
	return err
}

// element is a named part of a document.
type element struct {
	place string // the way to it, such as Statement[0].Effect
	name  string
	value json.RawMessage
}

func (e element) errorf(format string, args ...any) error {
	place := e.place
	if place == "" {
		place = "the document"
	}
	return fmt.Errorf("%s: %s", place, fmt.Sprintf(format, args...))
}

// members takes an object apart. AWS refuses an element that is there twice, which
// encoding/json would not notice.
func members(of element) ([]element, error) {
	decoder := json.NewDecoder(bytes.NewReader(of.value))
	if start, err := decoder.Token(); err != nil || start != json.Delim('{') {
		return nil, of.errorf("%s is no object: want {...}", of.value)
	}
	var list []element
	for decoder.More() {
		key, err := decoder.Token()
		name, named := key.(string)
		if err != nil || !named {
			return nil, of.errorf("no object: want {...}")
		}
		e := element{place: strings.TrimPrefix(of.place+"."+name, "."), name: name}
		if err := decoder.Decode(&e.value); err != nil {
			return nil, e.errorf("%v", err)
		}
		if slices.ContainsFunc(list, func(other element) bool { return other.name == name }) {
			return nil, e.errorf("there twice: put both into one")
		}
		list = append(list, e)
	}
	return list, nil
}

// items are those of a list, or the one that stands without a list.
func items(of element) ([]element, error) {
	var values []json.RawMessage
	if err := json.Unmarshal(of.value, &values); err != nil || values == nil {
		return []element{of}, nil
	}
	if len(values) == 0 {
		return nil, of.errorf("empty: want at least one value")
	}
	list := make([]element, len(values))
	for i, value := range values {
		list[i] = element{place: fmt.Sprintf("%s[%d]", of.place, i), name: of.name, value: value}
	}
	return list, nil
}

func text(e element) (string, error) {
	var value *string
	if err := json.Unmarshal(e.value, &value); err != nil || value == nil {
		return "", e.errorf("%s is no string: want \"...\"", e.value)
	}
	if strings.Contains(*value, "${") {
		return "", e.errorf("%q has a policy variable, which is not simulated: write its value", *value)
	}
	return *value, nil
}

func oneOf(e element, valid ...string) (string, error) {
	value, err := text(e)
	if err == nil && !slices.Contains(valid, value) {
		err = e.errorf("%q: want %s", value, strings.Join(valid, " or "))
	}
	return value, err
}

// form is what the values of an element look like, and what they match.
type form struct {
	valid   *regexp.Regexp
	want    string
	pattern func(string) *regexp.Regexp
}

// The forms of values. A wildcard in the name of a service is refused by AWS, too.
var (
	sidForm    = regexp.MustCompile(`^[A-Za-z0-9]*$`)
	actionForm = form{
		regexp.MustCompile(`^(\*|[A-Za-z0-9-]+:[A-Za-z0-9*?]+)$`), "SERVICE:NAME, such as elasticloadbalancing:RegisterTargets, or *", actionLike,
	}
	resourceForm = form{
		regexp.MustCompile(`^(\*|arn:[^:]+:[^:*?]+:[^:]*:[^:]*:.+)$`), "an ARN with all its six parts, arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE, or *", resourceLike,
	}
	anyText = regexp.MustCompile(``)
	// operators are those that conditions may have.
	operators = map[string]form{"StringEquals": {anyText, "", exactly}, "StringLike": {anyText, "", like}}
)

// patterns reads a string or a list of strings that all have the form wanted.
func patterns(of element, wanted form) ([]*regexp.Regexp, error) {
	list, err := items(of)
	if err != nil {
		return nil, err
	}
	var all []*regexp.Regexp
	for _, e := range list {
		value, err := text(e)
		if err != nil {
			return nil, err
		}
		if !wanted.valid.MatchString(value) {
			return nil, e.errorf("%q: want %s", value, wanted.want)
		}
		all = append(all, wanted.pattern(value))
	}
	return all, nil
}

func statements(of element) ([]statement, error) {
	list, err := items(of)
	if err != nil {
		return nil, err
	}
	var all []statement
	names := map[string]bool{}
	for _, e := range list {
		s, name, err := readStatement(e)
		if err != nil {
			return nil, err
		}
		if name != "" && names[name] {
			return nil, e.errorf("Sid %q is there twice: give each statement its own", name)
		}
		names[name] = true
		all = append(all, s)
	}
	return all, nil
}

// readStatement also gives the statement's name, if it has one.
func readStatement(of element) (s statement, name string, err error) {
	elements, err := members(of)
	if err != nil {
		return s, "", err
	}
	has := map[string]bool{}
	for _, e := range elements {
		has[e.name] = true
		if e.name == "Sid" {
			name, err = sid(e)
		} else {
			err = s.read(e)
		}
		if err != nil {
			return s, "", err
		}
	}
	switch {
	case !has["Effect"]:
		err = of.errorf("Effect is missing: want Allow or Deny")
	case has["Action"] == has["NotAction"]:
		err = of.errorf("want either Action or NotAction")
	case !has["Resource"]:
		err = of.errorf("Resource is missing: want ARNs, or * for all")
	}
	return s, name, err
}

func sid(e element) (string, error) {
	name, err := text(e)
	if err == nil && !sidForm.MatchString(name) {
		err = e.errorf("%q: want letters and digits only", name)
	}
	return name, err
}

// read reads an element of a statement.
func (s *statement) read(e element) (err error) {
	switch e.name {
	case "Effect":
		var effect string
		effect, err = oneOf(e, "Allow", "Deny")
		s.deny = effect == "Deny"
	case "Action":
		s.actions, err = patterns(e, actionForm)
	case "NotAction":
		s.except = true
		s.actions, err = patterns(e, actionForm)
	case "Resource":
		s.resources, err = patterns(e, resourceForm)
	case "Condition":
		s.conditions, err = conditions(e)
	case "Principal", "NotPrincipal":
		err = e.errorf("an identity-based policy has none: remove it, and attach the policy to the user or role")
	case "NotResource":
		err = e.errorf("not simulated: name the resources that are meant under Resource")
	default:
		err = e.errorf("no element of a statement: want Sid, Effect, Action or NotAction, Resource, Condition")
	}
	return err
}

func conditions(of element) ([]condition, error) {
	blocks, err := members(of)
	if err != nil {
		return nil, err
	}
	var all []condition
	for _, operator := range blocks {
		comparison, known := operators[operator.name]
		if !known {
			return nil, operator.errorf("this operator is not simulated: want StringEquals or StringLike")
		}
		keys, err := members(operator)
		if err != nil {
			return nil, err
		}
		for _, key := range keys {
			tag, known := tagOf(key.name)
			if !known {
				return nil, key.errorf("this key is not simulated: want aws:ResourceTag/TAG or elasticloadbalancing:ResourceTag/TAG")
			}
			values, err := patterns(key, comparison)
			if err != nil {
				return nil, err
			}
			all = append(all, condition{tag: tag, values: values})
		}
	}
	return all, nil
}

// tagOf is the tag that a condition key stands for.
func tagOf(key string) (string, bool) {
	for _, prefix := range []string{"aws:ResourceTag/", "elasticloadbalancing:ResourceTag/"} {
		if len(key) > len(prefix) && strings.EqualFold(key[:len(prefix)], prefix) {
			return key[len(prefix):], true
		}
	}
	return "", false
}
