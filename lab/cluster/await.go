package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

const (
	pollEvery = 25 * time.Millisecond
	// startLimit is far beyond what a loaded machine needs; it only keeps a
	// broken lab from hanging for ever.
	startLimit = 10 * time.Minute
)

func (c *Cluster) awaitAPIServer(ctx context.Context) error {
	return c.await(ctx, "the API server is ready", func(ctx context.Context) error {
		return c.healthy(ctx, c.server()+"/readyz")
	})
}

func (c *Cluster) awaitControllers(ctx context.Context) error {
	return c.await(ctx, "controllers and scheduler are healthy", func(ctx context.Context) error {
		return errors.Join(
			c.healthy(ctx, local("https", c.ports.controllers)+"/healthz"),
			c.healthy(ctx, local("https", c.ports.scheduler)+"/healthz"),
			c.podsAllowed(ctx, "default"),
		)
	})
}

// healthy asks a server of the control plane for a health page.
func (c *Cluster) healthy(ctx context.Context, url string) error {
	client, err := rest.HTTPClientFor(c.admin)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusOK {
		return nil
	}
	body, _ := io.ReadAll(io.LimitReader(response.Body, 2000))
	return fmt.Errorf("%s: %s: %s", url, response.Status, body)
}

// podsAllowed says whether the namespace has the ServiceAccount that pods need.
// A controller makes it, a moment after the namespace.
func (c *Cluster) podsAllowed(ctx context.Context, namespace string) error {
	_, err := c.client.CoreV1().ServiceAccounts(namespace).Get(ctx, "default", metav1.GetOptions{})
	return err
}

// Namespace makes a namespace, if there is none of that name, and returns when
// pods can be made in it.
func (c *Cluster) Namespace(ctx context.Context, name string) error {
	object := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	_, err := c.client.CoreV1().Namespaces().Create(ctx, object, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("cluster: make namespace %s: %w", name, err)
	}
	return c.await(ctx, "namespace "+name+" takes pods", func(ctx context.Context) error {
		return c.podsAllowed(ctx, name)
	})
}

// await repeats a check until it passes. It gives up when ctx ends, when a
// process of the control plane ends, or after the limit.
func (c *Cluster) await(ctx context.Context, what string, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		for _, p := range c.processes() {
			if p.ended() {
				return fmt.Errorf("wait until %s: %s ended", what, p.name)
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait until %s: %w; at last: %w", what, ctx.Err(), err)
		case <-time.After(pollEvery):
		}
	}
}

// printLogs shows the end of each log, for a start that failed: the state
// directory is about to go.
func (c *Cluster) printLogs() {
	const lines = 15
	for _, p := range c.processes() {
		text, err := os.ReadFile(p.log)
		if err != nil {
			continue
		}
		all := strings.Split(strings.TrimSpace(string(text)), "\n")
		last := all[max(0, len(all)-lines):]
		fmt.Fprintf(c.options.Progress, "--- %s\n%s\n", p.name, strings.Join(last, "\n"))
	}
}
