package node

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/app"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/vpc"
)

// prepare finds the container's program.
func (c *container) prepare() (app.App, error) {
	if a := c.pod.node.fleet.apps[app.Name(c.spec.Image)]; a != nil {
		return a, nil
	}
	err := fmt.Errorf("image %q is none of the lab's apps", c.spec.Image)
	c.pod.event(corev1.EventTypeWarning, "Failed", "Failed to pull image: %v", err)
	return nil, err
}

// input is what the program is given. The caller closes the output.
func (c *container) input() (*app.Container, io.Closer, error) {
	env, err := c.env()
	if err != nil {
		return nil, nil, err
	}
	object := c.pod.current()
	output := c.printer()
	in := &app.Container{
		Pod:        object.Name,
		Namespace:  object.Namespace,
		Node:       c.pod.node.spec.Name,
		Name:       c.spec.Name,
		Command:    c.localize(expandAll(c.spec.Command, env)),
		Args:       c.localize(expandAll(c.spec.Args, env)),
		Address:    c.pod.address,
		Bind:       c.pod.bind(),
		Output:     output,
		Annotation: func(key string) string { return c.pod.current().Annotations[key] },
	}
	for name, value := range env.all() {
		in.Env = append(in.Env, name+"="+value)
	}
	for _, port := range c.spec.Ports {
		in.Ports = append(in.Ports, port.ContainerPort)
	}
	return in, output, nil
}

// environment keeps the order of its variables: later ones may refer to earlier.
type environment struct {
	names  []string
	values map[string]string
}

func (e *environment) set(name, value string) {
	if _, ok := e.values[name]; !ok {
		e.names = append(e.names, name)
	}
	e.values[name] = value
}

func (e *environment) all() func(yield func(name, value string) bool) {
	return func(yield func(name, value string) bool) {
		for _, name := range e.names {
			if !yield(name, e.values[name]) {
				return
			}
		}
	}
}

// expand replaces $(NAME); unknown names stay, $$ stands for $.
func (e *environment) expand(text string) string {
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '$' || i+1 == len(text) {
			out.WriteByte(text[i])
			continue
		}
		if text[i+1] == '$' {
			out.WriteByte('$')
			i++
			continue
		}
		end := strings.IndexByte(text[i:], ')')
		if text[i+1] != '(' || end < 0 {
			out.WriteByte('$')
			continue
		}
		if value, ok := e.values[text[i+2:i+end]]; ok {
			out.WriteString(value)
		} else {
			out.WriteString(text[i : i+end+1])
		}
		i += end
	}
	return out.String()
}

func expandAll(texts []string, e *environment) []string {
	var out []string
	for _, text := range texts {
		out = append(out, e.expand(text))
	}
	return out
}

func (c *container) env() (*environment, error) {
	e := &environment{values: map[string]string{}}
	e.set("PATH", os.Getenv("PATH"))
	e.set("HOSTNAME", c.pod.current().Name)
	e.set("LAB_BIND", c.pod.bind().String()) // here, so that arguments can refer to it
	for _, from := range c.spec.EnvFrom {
		if err := c.envFrom(e, from); err != nil {
			return nil, err
		}
	}
	for _, v := range c.spec.Env {
		if v.ValueFrom == nil {
			e.set(v.Name, e.expand(v.Value))
			continue
		}
		value, ok, err := c.valueFrom(v.ValueFrom)
		if err != nil {
			return nil, fmt.Errorf("env %s: %w", v.Name, err)
		}
		if ok {
			e.set(v.Name, value)
		}
	}
	return e, nil
}

func (c *container) envFrom(e *environment, from corev1.EnvFromSource) error {
	var data map[string]string
	var err error
	switch {
	case from.ConfigMapRef != nil:
		data, err = c.configMap(from.ConfigMapRef.Name)
	case from.SecretRef != nil:
		data, err = c.secret(from.SecretRef.Name)
	}
	if err != nil {
		return fmt.Errorf("envFrom: %w", err)
	}
	for name, value := range data {
		e.set(from.Prefix+name, value)
	}
	return nil
}

func (c *container) valueFrom(from *corev1.EnvVarSource) (value string, ok bool, err error) {
	var data map[string]string
	var key string
	var optional *bool
	switch {
	case from.FieldRef != nil:
		return c.field(from.FieldRef.FieldPath)
	case from.ConfigMapKeyRef != nil:
		key, optional = from.ConfigMapKeyRef.Key, from.ConfigMapKeyRef.Optional
		data, err = c.configMap(from.ConfigMapKeyRef.Name)
	case from.SecretKeyRef != nil:
		key, optional = from.SecretKeyRef.Key, from.SecretKeyRef.Optional
		data, err = c.secret(from.SecretKeyRef.Name)
	default:
		return "", false, nil
	}
	value, ok = data[key]
	if optional != nil && *optional {
		return value, ok, nil
	}
	if err == nil && !ok {
		err = fmt.Errorf("no key %q", key)
	}
	return value, ok, err
}

func (c *container) configMap(name string) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(c.pod.life, writeLimit)
	defer cancel()
	object, err := c.pod.node.fleet.client.CoreV1().ConfigMaps(c.pod.current().Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return object.Data, nil
}

func (c *container) secret(name string) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(c.pod.life, writeLimit)
	defer cancel()
	object, err := c.pod.node.fleet.client.CoreV1().Secrets(c.pod.current().Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	data := map[string]string{}
	for key, value := range object.Data {
		data[key] = string(value)
	}
	return data, nil
}

// field is a value of the downward API.
func (c *container) field(path string) (value string, ok bool, err error) {
	object := c.pod.current()
	if key, found := subscript(path, "metadata.labels"); found {
		return object.Labels[key], true, nil
	}
	if key, found := subscript(path, "metadata.annotations"); found {
		return object.Annotations[key], true, nil
	}
	values := map[string]string{
		"metadata.name":           object.Name,
		"metadata.namespace":      object.Namespace,
		"metadata.uid":            string(object.UID),
		"spec.nodeName":           object.Spec.NodeName,
		"spec.serviceAccountName": object.Spec.ServiceAccountName,
		"status.podIP":            c.pod.address.String(),
		"status.podIPs":           join(c.pod.ips(c.pod.address)),
		"status.hostIP":           c.pod.node.address.String(),
		"status.hostIPs":          join(c.pod.ips(c.pod.node.address)),
	}
	value, ok = values[path]
	if !ok {
		return "", false, fmt.Errorf("field %q is not supported", path)
	}
	return value, true, nil
}

// subscript reads the key of a path such as metadata.labels['app'].
func subscript(path, of string) (key string, ok bool) {
	rest, ok := strings.CutPrefix(path, of+"['")
	if !ok {
		return "", false
	}
	return strings.CutSuffix(rest, "']")
}

// ips are all addresses of somebody whose first address that is.
func (p *pod) ips(first netip.Addr) []netip.Addr {
	if !p.node.fleet.options.IPv6 {
		return []netip.Addr{first}
	}
	return []netip.Addr{first, vpc.IPv6(first)}
}

func join(addresses []netip.Addr) string {
	var all []string
	for _, a := range addresses {
		all = append(all, a.String())
	}
	return strings.Join(all, ",")
}
